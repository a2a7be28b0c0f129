// Audit, events and health in the API.

import { z } from 'zod';
import { eventTypes } from '../../control/events.ts';
import { auditOutcomes } from '../../proof/audit-event.ts';
import { exampleHashes, exampleRequest, exampleTimes } from '../../protocol/examples.ts';
import { exampleIdentifier } from '../../protocol/identifiers.ts';
import { count, pageOf, pageQuery, timestamp } from './common.ts';
import { orderQuery, rangeQuery } from './lists.ts';

/** What an event says beyond who, what and when, by name. */
export const AuditDetail = z.record(
  z.string(),
  z.union([z.string(), z.number(), z.boolean(), z.null(), z.array(z.string()), z.record(z.string(), z.string())]),
);

const AuditHash = z
  .string()
  .regex(/^sha256:[0-9a-f]{64}$/)
  .meta({ examples: [exampleHashes.event] });

export const AuditEvent = z
  .object({
    number: z.int().positive().describe('Rises by one.'),
    at: timestamp,
    actor: z.string(),
    action: z.string().meta({ examples: ['load.completed'] }),
    object: z.string().describe('Identifier of what was acted upon.'),
    outcome: z
      .enum(auditOutcomes)
      .describe('How it ended: `refused` is what a rule forbids, `failed` what did not work.')
      .meta({ id: 'AuditOutcome' }),
    request: z.string().nullable().describe('Identifier of the request that did it.'),
    detail: AuditDetail,
    previous: AuditHash.nullable().describe('Hash of the event before; null in the first.'),
    hash: AuditHash.describe(
      'SHA-256 of a zero byte and the canonical JSON (RFC 8785) of all the other members: a link of the chain, and a leaf of the Merkle tree (RFC 6962).',
    ),
  })
  .meta({
    id: 'AuditEvent',
    examples: [
      {
        number: 16,
        at: exampleTimes.completed,
        actor: exampleIdentifier('host'),
        action: 'load.completed',
        object: exampleIdentifier('load'),
        outcome: 'succeeded',
        request: exampleRequest,
        detail: {
          device: exampleIdentifier('device'),
          module: 'tcp',
          version: '1.1.0',
          outcome: 'replaced-interrupting',
          reason: null,
          previous: '1.0.0',
          interrupted: 4,
          retried: 4,
          failed: 0,
        },
        previous: exampleHashes.previous,
        hash: exampleHashes.event,
      },
    ],
  });
export const AuditPage = pageOf('AuditPage', AuditEvent);

export const auditQuery = z.strictObject({
  ...pageQuery,
  ...orderQuery,
  ...rangeQuery,
  action: z
    .string()
    .max(64)
    .optional()
    .describe('Only events of this action.')
    .meta({ examples: ['load.completed'] }),
  object: z
    .string()
    .max(64)
    .optional()
    .describe('Only events of what has this identifier.')
    .meta({ examples: [exampleIdentifier('load')] }),
  actor: z
    .string()
    .max(64)
    .optional()
    .describe('Only what this key or host did, or `service`.')
    .meta({ examples: [exampleIdentifier('host')] }),
  outcome: AuditEvent.shape.outcome
    .optional()
    .describe('Only what ended so.')
    .meta({ examples: ['succeeded'] }),
  // What the service does by itself is of no request, which is not the request of an empty name.
  request: z
    .string()
    .min(1)
    .max(64)
    .optional()
    .describe('Only what this request did, by its `x-request-id`.')
    .meta({ examples: [exampleRequest] }),
});

/** In a header or a query, where an empty text is no number. */
const eventNumber = z
  .string()
  .refine((text) => /^[0-9]{1,15}$/.test(text), 'must be the number of an event')
  .transform(Number)
  .optional();
/** Zod leaves the `examples` of what it transforms out of the document; these it takes. */
const eventNumberInDocument = { type: 'integer', minimum: 0, 'x-examples': { last: { value: 16 } } } as const;

const eventType = z.enum(eventTypes).meta({ id: 'EventType' });
export const eventQuery = z.strictObject({
  types: z
    .union([eventType.transform((one) => [one]), z.array(eventType).max(16)])
    .optional()
    .describe('Only events whose action begins with this and a dot; may be repeated. Without it, all of them.')
    .meta({ 'x-examples': { loads: { value: ['load'] } } }),
  after: eventNumber.describe('Only events with a greater number; 0 for all that there are.').meta(eventNumberInDocument),
});
/** Other headers are not its business. */
export const eventHeaders = z.looseObject({
  'last-event-id': eventNumber
    .describe('The `id` of the last event that the client has: the stream goes on after it, whatever `after` says.')
    .meta(eventNumberInDocument),
});

export const Live = z.object({ status: z.literal('live') }).meta({ id: 'Live', examples: [{ status: 'live' }] });
export const Readiness = z
  .object({ status: z.enum(['ready', 'not-ready']), reasons: z.array(z.string()).describe('Why it is not ready.') })
  .meta({ id: 'Readiness', examples: [{ status: 'ready', reasons: [] }] });

export const FleetHealth = z
  .object({
    status: z.enum(['healthy', 'degraded']),
    reasons: z
      .array(z.string())
      .describe(
        'Why the fleet is degraded: hosts that are unreachable or nearly full, devices that come up or were not brought back whole, loads that wait for long.',
      ),
    hosts: z.object({ connected: count, unreachable: count }),
    devices: z.object({ connected: count, attaching: count, unreachable: count }),
    loads: z.object({
      queued: count,
      dispatched: count,
      completed: count,
      outcomes: z.record(z.string(), count).describe('Completed loads by outcome.'),
    }),
    accesses: z.object({ interrupted: count, failed: count }).describe('Of all loads.'),
    ordersUnsettled: count.describe('Orders that hosts have not reported on yet.'),
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
        ordersUnsettled: 8,
      },
    ],
  });
