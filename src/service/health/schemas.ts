// Schemas of the health endpoints.

import { z } from 'zod';
import { count } from '../http/common-schemas.ts';

export const Liveness = z.object({ status: z.literal('live') }).meta({ id: 'Liveness', examples: [{ status: 'live' }] });
export const Readiness = z
  .object({
    status: z.enum(['ready', 'not-ready']),
    reasons: z.array(z.string()).describe('Why the service is not ready. Empty if it is.'),
  })
  .meta({ id: 'Readiness', examples: [{ status: 'ready', reasons: [] }] });

export const FleetHealth = z
  .object({
    status: z.enum(['healthy', 'degraded']),
    reasons: z
      .array(z.string())
      .describe(
        'Why the fleet is degraded, for example unreachable or nearly full hosts, devices that are attaching or were not restored completely, loads that have been queued for long, and faults of the service. Empty if healthy.',
      ),
    hosts: z.object({ connected: count, unreachable: count }),
    devices: z.object({ connected: count, attaching: count, unreachable: count }),
    loads: z.object({
      queued: count,
      dispatched: count,
      completed: count,
      outcomes: z.record(z.string(), count).describe('Completed loads by outcome.'),
    }),
    accesses: z
      .object({ interrupted: count, failed: count })
      .describe('Accesses inside old versions, over all loads: how many were interrupted, and how many of those ended without a retry.'),
    unsettledOrders: count.describe('Number of orders that hosts have not reported on yet.'),
  })
  .meta({
    id: 'FleetHealth',
    examples: [
      {
        status: 'degraded',
        reasons: ['the host rack-2 with 8 devices is unreachable'],
        hosts: { connected: 1, unreachable: 1 },
        devices: { connected: 8, attaching: 0, unreachable: 8 },
        loads: { queued: 8, dispatched: 0, completed: 24, outcomes: { installed: 16, replaced: 6, 'replaced-interrupting': 2 } },
        accesses: { interrupted: 8, failed: 0 },
        unsettledOrders: 8,
      },
    ],
  });
