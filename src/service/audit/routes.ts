// /v1/audit: the audit trail is listed and exported, and proven by checkpoints.

import { Readable } from 'node:stream';
import type { z } from 'zod';
import { toldEvent } from '../../proof/audit-event.ts';
import type { ExportStart } from '../../proof/audit-export.ts';
import { type Hash, hashText } from '../../proof/merkle-tree.ts';
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

/** Characters. */
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
        summary: 'List the audit trail',
        querystring: auditQuery,
        response: { 200: AuditPage.describe('Who did what to which object, when.'), ...problems() },
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
      // A HEAD would read the whole trail and throw it away.
      exposeHeadRoute: false,
      config: { access: 'viewer' },
      schema: {
        operationId: 'exportAuditTrail',
        tags,
        summary: 'Export the audit trail',
        description:
          'Lines of JSON: the first, an AuditExportHeader, says where the export begins and ends; each of the others is an AuditEvent, in order. ' +
          'With a checkpoint and the public key that signed it, `patchbay audit verify` checks an export without the service. An export that ends before its last event was cut short.',
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
        summary: 'Have a checkpoint signed of all events that there are',
        description:
          'The service makes one by itself every minute in which there are new events. Before it signs, it looks at the events since the last: it signs no trail but the one that it has written.',
        response: {
          200: Checkpoint.describe('There are no events since the newest, which is this.'),
          201: Checkpoint.describe('The checkpoint was made.'),
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
        summary: 'List the checkpoints of the audit trail',
        querystring: checkpointQuery,
        response: { 200: CheckpointPage.describe('Checkpoints.'), ...problems() },
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
        summary: 'Get a checkpoint of the audit trail',
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
        summary: 'Prove that a checkpoint has an event, or that it begins with an earlier checkpoint',
        description: 'With `event`, an inclusion proof, also of an event that has been pruned since; with `from`, a consistency proof.',
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

/** An event of the audit trail as the API tells it. */
export function toAuditEvent(event: AuditRecord): z.infer<typeof AuditEvent> {
  const told = exportedEvent(event);
  return { ...told, outcome: AuditEvent.shape.outcome.parse(told.outcome), detail: AuditDetail.parse(told.detail) };
}

/** In pieces of a size that a socket takes at once. */
async function* exportedBytes(start: ExportStart, events: AsyncIterable<ExportedEvent>): AsyncGenerator<Buffer, void> {
  let text = `${JSON.stringify(start)}\n`;
  for await (const event of events) {
    text += `${JSON.stringify('unreadable' in event ? event : exportedEvent(event))}\n`;
    if (text.length < pieceLength) continue;
    yield Buffer.from(text);
    text = '';
  }
  yield Buffer.from(text);
}

/** As it is in the database, whatever that is. */
const exportedEvent = (event: AuditRecord) => ({ ...toldEvent(event), hash: hashText(event.hash) });

function toCheckpoint({ size, root, at, keyId, note }: CheckpointRecord): z.infer<typeof Checkpoint> {
  return { size, root: toDigest(root), at: at.toISOString(), keyId, note };
}

function toProof({ size, root }: CheckpointRecord, proof: Proof): z.infer<typeof AuditProof> {
  const tree = { size, root: toDigest(root), hashes: proof.hashes.map(toDigest) };
  return proof.kind === 'inclusion'
    ? { kind: proof.kind, ...tree, event: proof.event, hash: toDigest(proof.hash) }
    : { kind: proof.kind, ...tree, from: proof.from, fromRoot: toDigest(proof.fromRoot) };
}

const toDigest = (hash: Hash) => Digest.parse(hashText(hash));
