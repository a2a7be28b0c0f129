// Routes under /v1/audit: list and export the audit trail, and prove it with checkpoints.

import { Readable } from 'node:stream';
import type { z } from 'zod';
import { toHashedEvent } from '../../proof/audit-event.ts';
import type { ExportHeader } from '../../proof/audit-export.ts';
import { formatHash, type Hash } from '../../proof/merkle-tree.ts';
import { Digest } from '../../protocol/identifiers.ts';
import type { AuditRecord } from '../audit-events/repository.ts';
import type { DamagedRows } from '../database/damaged-rows.ts';
import { parsePageByTimeAndNumber, parseTimeRange, sendPage } from '../http/pages.ts';
import { postProblems, problems } from '../http/problem-schemas.ts';
import { type Api, sendRaw } from '../http/route.ts';
import type { AuditTrail, ExportedEvent } from './audit-trail.ts';
import type { CheckpointRecord } from './checkpoint-repository.ts';
import type { Checkpoints, Proof } from './checkpoints.ts';
import {
  AuditDetail,
  AuditEvent,
  AuditExportLine,
  AuditPage,
  AuditProof,
  auditQuery,
  Checkpoint,
  CheckpointPage,
  checkpointParameter,
  checkpointQuery,
  exportQuery,
  proofQuery,
} from './schemas.ts';

const tags = ['audit'];

/** Characters per chunk of an export. */
const pieceLength = 16_384;

type Uses = { readonly auditTrail: AuditTrail; readonly checkpoints: Checkpoints; readonly damagedRows: DamagedRows };

export function addAuditRoutes(app: Api, uses: Uses): void {
  addTrailRoutes(app, uses);
  addCheckpointRoutes(app, uses);
  addProofRoute(app, uses);
}

function addTrailRoutes(app: Api, { auditTrail, damagedRows }: Uses): void {
  app.get(
    '/v1/audit',
    {
      config: { access: 'viewer' },
      schema: {
        operationId: 'listAuditEvents',
        tags,
        summary: 'List audit events',
        querystring: auditQuery,
        response: { 200: AuditPage.describe('A page of audit events.'), ...problems() },
      },
    },
    async (request, reply) => {
      const { action, object, actor, outcome, request: requestId } = request.query;
      const filter = { action, object, actor, outcome, requestId, ...parseTimeRange(request.query) };
      const page = await auditTrail.list(filter, parsePageByTimeAndNumber(request));
      return sendPage(request, reply, page, {
        kind: 'audit event',
        schema: AuditEvent,
        idOf: ({ number }) => String(number),
        toItem: toAuditEvent,
        damagedRows,
      });
    },
  );

  app.get(
    '/v1/audit/export',
    {
      // HEAD would read the whole trail and discard it.
      exposeHeadRoute: false,
      config: { access: 'viewer' },
      schema: {
        operationId: 'exportAuditTrail',
        tags,
        summary: 'Export the audit trail',
        description:
          'Returns newline-delimited JSON. The first line is an AuditExportHeader with the first and the last event number; each other line is an AuditEvent, in order. ' +
          '`patchbay audit verify` checks an export offline with a checkpoint and its public key. An export is incomplete if it ends before the last event of its header.',
        querystring: exportQuery,
        response: {
          200: { description: 'The export.', content: { 'application/x-ndjson': { schema: AuditExportLine } } },
          ...problems('pruned'),
        },
      },
    },
    async ({ query }, reply) => {
      const { start, events } = await auditTrail.export(query.after);
      return sendRaw(reply.status(200).type('application/x-ndjson'), Readable.from(exportedBytes(start, events)));
    },
  );
}

function addCheckpointRoutes(app: Api, { checkpoints, damagedRows }: Uses): void {
  app.post(
    '/v1/audit/checkpoints',
    {
      config: { access: 'operator' },
      schema: {
        operationId: 'createCheckpoint',
        tags,
        summary: 'Create a checkpoint',
        description:
          'Signs a checkpoint over all events. The service also creates one every minute if there are new events. Before it signs, it checks the events since the last checkpoint, and refuses if the trail was altered.',
        response: {
          200: Checkpoint.describe('There are no new events; this is the newest checkpoint.'),
          201: Checkpoint.describe('The checkpoint was created.'),
          ...postProblems('trail-broken'),
        },
      },
    },
    async (_request, reply) => {
      const { checkpoint, isNew } = await checkpoints.create();
      return reply
        .status(isNew ? 201 : 200)
        .header('location', `/v1/audit/checkpoints/${checkpoint.size}`)
        .send(toCheckpoint(checkpoint));
    },
  );

  app.get(
    '/v1/audit/checkpoints',
    {
      config: { access: 'viewer' },
      schema: {
        operationId: 'listCheckpoints',
        tags,
        summary: 'List checkpoints',
        querystring: checkpointQuery,
        response: { 200: CheckpointPage.describe('A page of checkpoints.'), ...problems() },
      },
    },
    async (request, reply) => {
      const page = await checkpoints.list(parsePageByTimeAndNumber(request));
      return sendPage(request, reply, page, {
        kind: 'checkpoint',
        schema: Checkpoint,
        idOf: ({ size }) => String(size),
        toItem: toCheckpoint,
        damagedRows,
      });
    },
  );

  app.get(
    '/v1/audit/checkpoints/:size',
    {
      config: { access: 'viewer' },
      schema: {
        operationId: 'getCheckpoint',
        tags,
        summary: 'Get a checkpoint',
        params: checkpointParameter,
        response: { 200: Checkpoint.describe('The checkpoint.'), ...problems('not-found') },
      },
    },
    async ({ params }) => toCheckpoint(await checkpoints.find(params.size)),
  );
}

function addProofRoute(app: Api, { checkpoints }: Uses): void {
  app.get(
    '/v1/audit/checkpoints/:size/proof',
    {
      config: { access: 'viewer' },
      schema: {
        operationId: 'getAuditProof',
        tags,
        summary: 'Get an inclusion or consistency proof',
        description:
          'With `event`, proves that the checkpoint includes the event, even if it has been pruned. With `from`, proves that the checkpoint extends an earlier one.',
        params: checkpointParameter,
        querystring: proofQuery,
        response: { 200: AuditProof.describe('The proof.'), ...problems('not-found') },
      },
    },
    async ({ params, query }) => {
      const checkpoint = await checkpoints.find(params.size);
      const { event, from = 0 } = query;
      const proof = await (event === undefined
        ? checkpoints.proveConsistency(checkpoint, from)
        : checkpoints.proveInclusion(checkpoint, event));
      return toProof(checkpoint, proof);
    },
  );
}

/** Returns the representation of an audit event in the API. */
export function toAuditEvent(event: AuditRecord): z.infer<typeof AuditEvent> {
  const exported = exportedEvent(event);
  return { ...exported, outcome: AuditEvent.shape.outcome.parse(exported.outcome), detail: AuditDetail.parse(exported.detail) };
}

/** Yields the lines of an export in chunks of a size that suits a socket. */
async function* exportedBytes(start: ExportHeader, events: AsyncIterable<ExportedEvent>): AsyncGenerator<Buffer, void> {
  let text = `${JSON.stringify(start)}\n`;
  for await (const event of events) {
    text += `${JSON.stringify('unreadable' in event ? event : exportedEvent(event))}\n`;
    if (text.length < pieceLength) continue;
    yield Buffer.from(text);
    text = '';
  }
  yield Buffer.from(text);
}

/** Returns the event as stored, without validating it. */
const exportedEvent = (event: AuditRecord) => ({ ...toHashedEvent(event), hash: formatHash(event.hash) });

function toCheckpoint({ size, root, at, keyId, note }: CheckpointRecord): z.infer<typeof Checkpoint> {
  return { size, root: toDigest(root), at: at.toISOString(), keyId, note };
}

function toProof({ size, root }: CheckpointRecord, proof: Proof): z.infer<typeof AuditProof> {
  const tree = { size, root: toDigest(root), hashes: proof.hashes.map(toDigest) };
  return proof.kind === 'inclusion'
    ? { kind: proof.kind, ...tree, event: proof.event, hash: toDigest(proof.hash) }
    : { kind: proof.kind, ...tree, from: proof.from, fromRoot: toDigest(proof.fromRoot) };
}

const toDigest = (hash: Hash) => Digest.parse(formatHash(hash));
