// Schemas of device hosts.

import { z } from 'zod';
import { agentCapabilities } from '../../protocol/agent.ts';
import { exampleTimes } from '../../protocol/examples.ts';
import { DisplayName, exampleIdentifier, isHostId } from '../../protocol/identifiers.ts';
import { count, identifier, pageQuery, pageSchema, timestamp } from '../http/common-schemas.ts';
import { orderQuery } from '../http/list-schemas.ts';
import { Decommissioned } from './decommissioning-schemas.ts';
import { hostStatuses } from './repository.ts';

export const Host = z
  .object({
    id: identifier('host'),
    name: z.string(),
    registeredName: z.string().nullable().describe('The name that it registers with, if it was renamed. Null if that is its name.'),
    status: z
      .enum(hostStatuses)
      .describe(
        '`unreachable`: the service received nothing from it within the timeout. `decommissioned`: an operator has removed it from the fleet.',
      )
      .meta({ id: 'HostStatus' }),
    unreachableSince: timestamp.nullable().describe('When the service declared the host unreachable. Null if it is connected.'),
    devices: count.describe('Number of devices on the host, without decommissioned ones.'),
    capacity: count.describe('Maximum number of devices on the host.'),
    capabilities: z
      .array(z.enum(agentCapabilities).meta({ id: 'HostCapability' }))
      .describe('The kinds of orders that the host executes besides those that every host executes.'),
    registeredAt: timestamp,
    decommissioned: Decommissioned.nullable().describe('Null if it is not decommissioned.'),
  })
  .meta({
    id: 'Host',
    description: 'A process that runs devices.',
    examples: [
      {
        id: exampleIdentifier('host'),
        name: 'rack-1',
        registeredName: null,
        status: 'connected',
        unreachableSince: null,
        devices: 1,
        capacity: 100,
        capabilities: [...agentCapabilities],
        registeredAt: exampleTimes.registered,
        decommissioned: null,
      },
    ],
  });
export const HostPage = pageSchema('HostPage', Host);

export const hostParameter = z.object({ host: identifier('host') });

const NewHostName = DisplayName.refine((name) => !isHostId(name), 'has the form of an identifier: choose another name');
export const HostChanges = z.strictObject({ name: NewHostName }).meta({ id: 'HostChanges', examples: [{ name: 'rack-north-1' }] });

export const hostQuery = z.strictObject({
  ...pageQuery,
  sort: z
    .enum(['registeredAt', 'name'])
    .default('registeredAt')
    .describe(
      'Property that the list is sorted by. A host that registers again while a list by `registeredAt` is read moves to its newest end.',
    )
    .meta({ examples: ['name'] }),
  ...orderQuery,
  status: Host.shape.status
    .optional()
    .describe('Only hosts with this status. Default: all but decommissioned ones. Lists of these are sorted by `registeredAt`.')
    .meta({ examples: ['connected'] }),
});
