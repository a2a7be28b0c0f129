// Schemas of requests to decommission devices and hosts.

import { z } from 'zod';
import { exampleIdentifier } from '../../protocol/identifiers.ts';
import { requireSelector, selectorShape } from '../devices/selection-schemas.ts';
import { count, identifier } from '../http/common-schemas.ts';

const reason = z
  .string()
  .min(1)
  .max(1_000)
  .describe('Reason for decommissioning. The device or host, its cancelled loads and the audit trail contain it.');
const exampleReason = 'the rack was scrapped';

export const DecommissionRequest = z.strictObject({ reason }).meta({ id: 'DecommissionRequest', examples: [{ reason: exampleReason }] });

export const DecommissionDevices = requireSelector(z.strictObject({ ...selectorShape, reason })).meta({
  id: 'DecommissionDevices',
  examples: [{ labels: { rack: 'seven' }, reason: exampleReason }],
});

export const DecommissionedDevices = z
  .object({
    devices: z
      .array(identifier('device'))
      .describe('The devices that this request decommissioned. Without those that were decommissioned before.'),
    cancelledLoads: count.describe('Number of open loads that ended as `cancelled`.'),
  })
  .meta({
    id: 'DecommissionedDevices',
    description: 'The result of decommissioning.',
    examples: [{ devices: [exampleIdentifier('device')], cancelledLoads: 1 }],
  });
