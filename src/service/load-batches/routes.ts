// /v1/load-batches: lists, shows, cancels and retries the loads of one request.

import { z } from 'zod';
import type { DamagedRows } from '../database/damaged-rows.ts';
import type { LoadBatchModel } from '../database/generated/models.ts';
import { scopeOf } from '../http/access.ts';
import { parsePageByTime, parseTimeRange, sendPage } from '../http/pages.ts';
import { postProblems, problems } from '../http/problem-schemas.ts';
import { type Api, getRequester, toStoredResponse } from '../http/route.ts';
import type { CreatedLoads } from '../loads/batches.ts';
import { AcceptedLoads } from '../loads/schemas.ts';
import { Policy } from '../loads/terms-schemas.ts';
import { UnreachableTargets } from '../loads/unreachable-targets.ts';
import type { LoadBatches, LoadBatchView } from './load-batches.ts';
import { LoadBatch, LoadBatchDetail, LoadBatchPage, loadBatchParameter, loadBatchQuery } from './schemas.ts';

const tags = ['loads'];

type Uses = { readonly loadBatches: LoadBatches; readonly damagedRows: DamagedRows };

export function addLoadBatchRoutes(app: Api, uses: Uses): void {
  addReadingRoutes(app, uses);
  addChangingRoutes(app, uses);
}

function addReadingRoutes(app: Api, { loadBatches, damagedRows }: Uses): void {
  app.get(
    '/v1/load-batches',
    {
      config: { access: 'viewer', scope: 'filter' },
      schema: {
        operationId: 'listLoadBatches',
        tags,
        summary: 'List load batches',
        description:
          'Lists the requests for loads on several devices, with unloads, rollbacks and retries. Batches of rollouts are left out.',
        querystring: loadBatchQuery,
        response: { 200: LoadBatchPage.describe('A page of batches, sorted by `requestedAt`.'), ...problems() },
      },
    },
    async (request, reply) => {
      const { module, version } = request.query;
      const filter = { module, version, ...parseTimeRange(request.query) };
      const page = await loadBatches.list(filter, scopeOf(request), parsePageByTime(request));
      return sendPage(request, reply, page, { kind: 'load batch', schema: LoadBatch, idOf: ({ id }) => id, toItem: toBatch, damagedRows });
    },
  );

  app.get(
    '/v1/load-batches/:batch',
    {
      config: { access: 'viewer', scope: 'path' },
      schema: {
        operationId: 'getLoadBatch',
        tags,
        summary: 'Get a load batch',
        description:
          'Returns the request with the number of its loads in each state and with each outcome. `GET /v1/loads?batch=` lists the loads. The batches of single loads and of rollouts have this too.',
        params: loadBatchParameter,
        response: { 200: LoadBatchDetail.describe('The batch.'), ...problems('not-found') },
      },
    },
    async ({ params }) => toDetail(await loadBatches.get(params.batch)),
  );
}

function addChangingRoutes(app: Api, { loadBatches }: Uses): void {
  app.post(
    '/v1/load-batches/:batch/cancel',
    {
      config: { access: 'operator', scope: 'path' },
      schema: {
        operationId: 'cancelLoadBatch',
        tags,
        summary: 'Cancel the queued loads of a batch',
        description:
          'Ends the loads that were not sent to their hosts yet as `cancelled`, up to 500 in one transaction. Other loads continue. Repeating the request has no effect on loads that have ended. If the request fails midway, repeat it to continue.',
        params: loadBatchParameter,
        response: { 200: LoadBatchDetail.describe('The batch afterwards.'), ...postProblems('not-found') },
      },
    },
    async (request) => toDetail(await loadBatches.cancel(request.params.batch, getRequester(request))),
  );

  app.post(
    '/v1/load-batches/:batch/retry',
    {
      config: { access: 'operator', scope: 'path' },
      schema: {
        operationId: 'retryLoadBatch',
        tags,
        summary: 'Retry the failed loads of a batch',
        description:
          'Creates a new batch with the same content and settings for the devices whose loads ended as `failed`, `expired` or refused, all or none. Devices that an earlier retry of the batch includes are left out: retry that batch. Loads that were cancelled or superseded are not retried.',
        params: loadBatchParameter,
        response: {
          202: AcceptedLoads.describe('The loads are accepted. `Location` is the new batch.'),
          ...postProblems('not-found', 'nothing-to-retry', 'image-pruned', 'build-yanked', 'unsupported-by-host', 'windows-closed'),
        },
      },
    },
    async (request, reply) => {
      const created = await loadBatches.retry(request.params.batch, getRequester(request), (retried) =>
        toStoredResponse(toAccepted(retried)),
      );
      const { status, location, body } = toAccepted(created);
      return reply.status(status).header('location', location).send(body);
    },
  );
}

function toAccepted({ batch, loads }: CreatedLoads) {
  return { status: 202 as const, location: `/v1/load-batches/${batch}`, body: { batch, loads: [...loads] } };
}

const StoredSelection = z.object({
  labels: z.record(z.string(), z.string()).nullable().default(null),
  selector: z.string().nullable().default(null),
  group: z.string().nullable().default(null),
  scope: z.string().nullable().default(null),
});

function toBatch({
  id,
  kind,
  module,
  version,
  selection,
  unreachable,
  loads,
  rollback,
  retryOf,
  requestedAt,
  requestedBy,
}: LoadBatchModel): z.infer<typeof LoadBatch> {
  return {
    id,
    kind: LoadBatch.shape.kind.parse(kind),
    module,
    version,
    selection: selection === null || retryOf !== null ? null : StoredSelection.parse(selection),
    loads,
    unreachableDevices: unreachable === null ? null : UnreachableTargets.parse(unreachable),
    rollback,
    retryOf,
    requestedAt: requestedAt.toISOString(),
    requestedBy,
  };
}

function toDetail({ record, load, counts }: LoadBatchView): z.infer<typeof LoadBatchDetail> {
  const inState = (state: string) => counts.reduce((total, count) => total + (count.state === state ? count.loads : 0), 0);
  const outcomes = counts.flatMap(({ outcome, loads }) => (outcome === null ? [] : [[outcome, loads] as const]));
  return {
    ...toBatch(record),
    patchSet: load.patchSetId === null ? null : { id: load.patchSetId, name: load.module, version: load.version },
    ...Policy.parse(load),
    forceReason: load.forceReason,
    rollout: load.rolloutId,
    deadlineAt: load.deadlineAt?.toISOString() ?? null,
    states: { queued: inState('queued'), dispatched: inState('dispatched'), completed: inState('completed') },
    outcomes: LoadBatchDetail.shape.outcomes.parse(Object.fromEntries(outcomes)),
  };
}
