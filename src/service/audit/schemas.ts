// The audit trail, its checkpoints and its proofs in the API.

import { z } from 'zod';
import { auditOutcomes } from '../../proof/audit-event.ts';
import { ExportStart } from '../../proof/audit-export.ts';
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
export const AuditPage = pageSchema('AuditPage', AuditEvent);

export const auditQuery = z.strictObject({
  ...pageQuery,
  ...orderQuery,
  ...rangeQuery,
  action: z
    .string()
    .max(64)
    .regex(/^[a-z-]+\.[a-z-]+$/, 'must be an action like load.completed: an object and what became of it, with a dot between them')
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
    .regex(/^[a-z][a-z0-9_-]*$/, 'must be the identifier of a key or host, `service`, `join-token` or `anonymous`')
    .optional()
    .describe('Only what this key or host did, or `service`.')
    .meta({ examples: [exampleIdentifier('host')] }),
  outcome: AuditEvent.shape.outcome
    .optional()
    .describe('Only what ended so.')
    .meta({ examples: ['succeeded'] }),
  // What the service does by itself is of no request, which is not the request of an empty name.
  request: RequestId.optional()
    .describe('Only what this request did, by its `x-request-id`.')
    .meta({ examples: [exampleRequest] }),
});

const AuditExportHeader = ExportStart.extend({
  endorsements: z.array(SignedStatement).describe(ExportStart.shape.endorsements.description ?? ''),
}).meta({
  id: 'AuditExportHeader',
  description: 'The first line of an export.',
  examples: [{ origin: exampleIdentity.origin, after: 0, until: 16, previous: null, endorsements: [], subtrees: [] }],
});

export const AuditExportLine = z.union([AuditExportHeader, AuditEvent]).meta({ id: 'AuditExportLine' });

const eventNumber = (text: string) => numberQuery.optional().describe(text);

export const exportQuery = z.strictObject({
  after: eventNumber('Only events with a greater number. Without it, all that have not been pruned.'),
});

const exampleNote = `${exampleIdentity.origin}
16
mx9tbeTZsfj0/Ljz9fsqC3xSp6PhsPGk0/OtjJ89THI=
${exampleTimes.faulted}

— ${exampleIdentity.origin} WoxR2rT9sQp0nXl2m4K9f7jYwq3H1cZbVtEoUgRaDxSiNvLkMhBy5G8PzCe6uJrTIfAWOdQ2Xs0lVnKb4mHpYtGw9Q8=
`;

export const Checkpoint = z
  .object({
    size: count.describe('How many events it is over: those from 1 to this number.'),
    root: Digest.describe('Root of the Merkle tree over their hashes (RFC 6962).'),
    at: timestamp,
    keyId: z.string().describe('The signing key; GET /v1/signing-keys has its public part.'),
    note: z.string().describe('The same, signed: a checkpoint as tools for transparency logs take it (c2sp.org/tlog-checkpoint).'),
  })
  .meta({
    id: 'Checkpoint',
    description: 'What the audit trail was at a time, signed by the service.',
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
    .describe('How many events the checkpoint is over.')
    .meta({ examples: [16] }),
});

export const proofQuery = z
  .strictObject({
    event: eventNumber('Number of an event: what proves that the checkpoint has it.'),
    from: eventNumber('Size of an earlier checkpoint: what proves that this one begins with it.'),
  })
  .refine(({ event, from }) => (event === undefined) !== (from === undefined), {
    path: ['event'],
    message: 'give either the number of an event, or from which size on',
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
        hash: Digest.describe('Hash of the event: the leaf.'),
        hashes: hashes.describe('The hashes beside its way to the root, the nearest to the leaf first (RFC 9162, 2.1.3).'),
      })
      .meta({ id: 'InclusionProof' }),
    z
      .object({
        kind: z.literal('consistency'),
        size: count,
        root: Digest,
        from: count,
        fromRoot: Digest.describe('Root of the tree over the first `from` events.'),
        hashes: hashes.describe('As RFC 9162, 2.1.4 has them.'),
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
