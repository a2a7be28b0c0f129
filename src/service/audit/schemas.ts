// Schemas of the audit trail, its checkpoints and its proofs.

import { z } from 'zod';
import { auditOutcomes } from '../../proof/audit-event.ts';
import { ExportHeader } from '../../proof/audit-export.ts';
import { exampleHashes, exampleIdentity, exampleRequest, exampleTimes } from '../../protocol/examples.ts';
import { Digest, exampleIdentifier, RequestId } from '../../protocol/identifiers.ts';
import { exampleServiceKey, SignedStatement } from '../../protocol/signed-statement.ts';
import { count, pageQuery, pageSchema, timestamp } from '../http/common-schemas.ts';
import { numberQuery, orderQuery, rangeQuery } from '../http/list-schemas.ts';

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
    number: z.int().positive().describe('Sequence number; increases by one with each event.'),
    at: timestamp,
    actor: z.string(),
    action: z.string().meta({ examples: ['load.completed'] }),
    object: z.string().describe('Identifier of the object that the action affected.'),
    outcome: z
      .enum(auditOutcomes)
      .describe('Result of the action. `refused`: a rule did not permit it. `failed`: it could not be completed.')
      .meta({ id: 'AuditOutcome' }),
    request: z.string().nullable().describe('Request ID of the request that caused it. Null if the service acted by itself.'),
    detail: AuditDetail,
    previous: AuditHash.nullable().describe('Hash of the previous event. Null in the first event.'),
    hash: AuditHash.describe(
      'SHA-256 of a zero byte and the canonical JSON (RFC 8785) of all other members: a link of the hash chain and a leaf of the Merkle tree (RFC 6962).',
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
export const AuditPage = pageSchema('AuditPage', AuditEvent);

export const auditQuery = z.strictObject({
  ...pageQuery,
  ...orderQuery,
  ...rangeQuery,
  action: z
    .string()
    .max(64)
    .regex(/^[a-z-]+\.[a-z-]+$/, 'must be an action such as load.completed: a kind of object, a dot, and what happened to it')
    .optional()
    .describe('Only events with this action.')
    .meta({ examples: ['load.completed'] }),
  object: z
    .string()
    .max(64)
    .optional()
    .describe('Only events of the object with this identifier.')
    .meta({ examples: [exampleIdentifier('load')] }),
  actor: z
    .string()
    .max(64)
    .regex(/^[a-z][a-z0-9_-]*$/, 'must be the identifier of a key or host, `service`, `join-token` or `anonymous`')
    .optional()
    .describe('Only events of this actor: the identifier of an API key or host, `service`, `join-token` or `anonymous`.')
    .meta({ examples: [exampleIdentifier('host')] }),
  outcome: AuditEvent.shape.outcome
    .optional()
    .describe('Only events with this outcome.')
    .meta({ examples: ['succeeded'] }),
  // What the service does by itself is of no request, which is not the request of an empty name.
  request: RequestId.optional()
    .describe('Only events of the request with this ID (`x-request-id`).')
    .meta({ examples: [exampleRequest] }),
});

const AuditExportHeader = ExportHeader.extend({
  endorsements: z.array(SignedStatement).describe(ExportHeader.shape.endorsements.description ?? ''),
}).meta({
  id: 'AuditExportHeader',
  description: 'The first line of an export.',
  examples: [{ origin: exampleIdentity.origin, after: 0, until: 16, previous: null, endorsements: [], subtrees: [] }],
});

export const AuditExportLine = z.union([AuditExportHeader, AuditEvent]).meta({ id: 'AuditExportLine' });

const eventNumber = (text: string) => numberQuery.optional().describe(text);

export const exportQuery = z.strictObject({
  after: eventNumber('Only events with a higher number. Default: all events that have not been pruned.'),
});

const exampleNote = `${exampleIdentity.origin}
16
mx9tbeTZsfj0/Ljz9fsqC3xSp6PhsPGk0/OtjJ89THI=
${exampleTimes.faulted}

— ${exampleIdentity.origin} WoxR2rT9sQp0nXl2m4K9f7jYwq3H1cZbVtEoUgRaDxSiNvLkMhBy5G8PzCe6uJrTIfAWOdQ2Xs0lVnKb4mHpYtGw9Q8=
`;

export const Checkpoint = z
  .object({
    size: count.describe('Number of events that the checkpoint covers: events 1 to this number.'),
    root: Digest.describe('Root of the Merkle tree (RFC 6962) over the hashes of these events.'),
    at: timestamp,
    keyId: z.string().describe('Key ID of the signing key. `GET /v1/signing-keys` returns its public key.'),
    note: z.string().describe('The checkpoint as a signed note for transparency log tools (c2sp.org/tlog-checkpoint).'),
  })
  .meta({
    id: 'Checkpoint',
    description: 'A signed commitment to the audit trail up to an event.',
    examples: [{ size: 16, root: exampleHashes.event, at: exampleTimes.faulted, keyId: exampleServiceKey.keyId, note: exampleNote }],
  });
export const CheckpointPage = pageSchema('CheckpointPage', Checkpoint);
export const checkpointQuery = z.strictObject({ ...pageQuery, ...orderQuery });

export const checkpointParameter = z.object({
  size: z.coerce
    .number()
    .int()
    .min(1)
    .max(Number.MAX_SAFE_INTEGER)
    .describe('Number of events that the checkpoint covers.')
    .meta({ examples: [16] }),
});

export const proofQuery = z
  .strictObject({
    event: eventNumber('Number of an event. Returns the proof that the checkpoint includes it. Give either this or `from`.'),
    from: eventNumber('Size of an earlier checkpoint. Returns the proof that this checkpoint extends it. Give either this or `event`.'),
  })
  .refine(({ event, from }) => (event === undefined) !== (from === undefined), {
    path: ['event'],
    message: 'give either event or from',
  });

const hashes = z.array(Digest);

export const AuditProof = z
  .discriminatedUnion('kind', [
    z
      .object({
        kind: z.literal('inclusion'),
        size: count,
        root: Digest,
        event: count,
        hash: Digest.describe('Hash of the event, which is the leaf.'),
        hashes: hashes.describe('Inclusion path from the leaf to the root (RFC 9162, section 2.1.3).'),
      })
      .meta({ id: 'InclusionProof' }),
    z
      .object({
        kind: z.literal('consistency'),
        size: count,
        root: Digest,
        from: count,
        fromRoot: Digest.describe('Root of the tree over the first `from` events.'),
        hashes: hashes.describe('Consistency path (RFC 9162, section 2.1.4).'),
      })
      .meta({ id: 'ConsistencyProof' }),
  ])
  .meta({
    id: 'AuditProof',
    examples: [
      { kind: 'inclusion', size: 16, root: exampleHashes.event, event: 16, hash: exampleHashes.event, hashes: [exampleHashes.previous] },
      {
        kind: 'consistency',
        size: 16,
        root: exampleHashes.event,
        from: 8,
        fromRoot: exampleHashes.previous,
        hashes: [exampleHashes.event],
      },
    ],
  });
