// Schemas of requests to move devices.

import { z } from 'zod';
import { exampleIdentifier } from '../../protocol/identifiers.ts';
import { count, identifier } from '../http/common-schemas.ts';

export const DeviceMove = z
  .strictObject({
    host: z.string().min(1).max(64).describe('Identifier or name of the host to move to.'),
    reason: z.string().min(1).max(1_000).optional().describe('Reason for the move, for the audit trail.'),
  })
  .meta({ id: 'DeviceMove', examples: [{ host: 'rack-2', reason: 'the rack died' }] });

export const MovedDevices = z
  .object({
    host: identifier('host').describe('The host to move to.'),
    devices: z.array(identifier('device')).describe('The devices that this request placed on the host.'),
    detaching: z
      .array(identifier('device'))
      .describe(
        'The devices whose host is connected: they move when it has dropped them, or when it becomes unreachable. Until then, `movingTo` of the device names the host.',
      ),
    endedLoads: count.describe('Number of open loads of `devices` that ended: those that had been sent to the host before.'),
  })
  .meta({
    id: 'MovedDevices',
    description: 'The result of a move.',
    examples: [{ host: exampleIdentifier('host'), devices: [exampleIdentifier('device')], detaching: [], endedLoads: 1 }],
  });
