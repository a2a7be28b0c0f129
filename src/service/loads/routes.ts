// /v1/loads and /v1/unloads: create, list and cancel loads.

import type { z } from 'zod';
import { LoadReport } from '../../protocol/load-report.ts';
import type { DamagedRows } from '../database/damaged-rows.ts';
import { selectorOf } from '../devices/selection-schemas.ts';
import { scopeOf } from '../http/access.ts';
import { parsePageByTime, parseTimeRange, sendPage } from '../http/pages.ts';
import { postProblems, problems } from '../http/problem-schemas.ts';
import { type Api, type CreatedResponse, getRequester, toStoredResponse } from '../http/route.ts';
import type { CreatedLoads } from './batches.ts';
import type { DrainProgress } from './drains.ts';
import { isRefused } from './forecast.ts';
import type { AcceptedRequest, Loads, PreviewedLoad } from './loads.ts';
import type { Hold } from './maintenance-holds.ts';
import type { LoadSummary } from './queries.ts';
import {
  AcceptedLoadRequest,
  type AcceptedLoads,
  Load,
  LoadDetail,
  LoadPage,
  LoadPreview,
  type LoadProgress,
  loadParameter,
  loadQuery,
  NewLoads,
  NewUnloads,
  UnloadPreview,
} from './schemas.ts';
import { Policy } from './terms-schemas.ts';
import type { UnloadPreview as PreviewedUnloads, Unloads } from './unloads.ts';

const tags = ['loads'];

type Uses = { readonly loads: Loads; readonly unloads: Unloads; readonly damagedRows: DamagedRows };

export function addLoadRoutes(app: Api, uses: Uses): void {
  addChangingRoutes(app, uses);
  addReadingRoutes(app, uses);
}

function addChangingRoutes(app: Api, { loads, unloads }: Uses): void {
  app.post(
    '/v1/loads',
    {
      config: { access: 'operator', scope: 'filter' },
      schema: {
        operationId: 'createLoads',
        tags,
        summary: 'Load a build or a patch set on devices',
        description:
          'Creates one load for each selected device, or none at all if one cannot be created. Each load runs the isolation workflow on its device and ends with one outcome. Loads of devices whose maintenance windows are closed are held until these open. With `dryRun`, returns a preview and creates nothing.',
        body: NewLoads,
        response: {
          200: LoadPreview.describe('With `dryRun`: the preview.'),
          202: AcceptedLoadRequest.describe(
            'The loads are accepted: each reaches an outcome. `Location` is the load, or the batch if there are several.',
          ),
          ...postProblems('image-pruned', 'build-yanked', 'unsupported-by-host', 'all-unreachable', 'windows-closed'),
        },
      },
    },
    async (request, reply) => {
      const {
        devices,
        labels,
        selector,
        group,
        drainMilliseconds = null,
        downgradeReason = null,
        module = '',
        version = '',
        patchSet,
        overrideMaintenanceWindow = null,
        dryRun,
        ...rest
      } = request.body;
      const wanted = patchSet === undefined ? { module, version } : { patchSet };
      const terms = { ...rest, drainMilliseconds, downgradeReason, overrideMaintenanceWindow };
      const load = { ...terms, ...wanted, selector: selectorOf({ devices, labels, selector, group }, scopeOf(request)) };
      if (dryRun) return reply.status(200).send(toPreview(await loads.preview(load)));
      const accepted = await loads.request(load, getRequester(request), (created) => toStoredResponse(toAcceptedRequest(created)));
      const { status, location, body } = toAcceptedRequest(accepted);
      return reply.status(status).header('location', location).send(body);
    },
  );

  addUnloadRoute(app, unloads);
  addEndingRoutes(app, loads);
}

function addUnloadRoute(app: Api, unloads: Unloads): void {
  app.post(
    '/v1/unloads',
    {
      config: { access: 'operator', scope: 'filter' },
      schema: {
        operationId: 'createUnloads',
        tags,
        summary: 'Unload a module from devices',
        description:
          'Creates one load of the kind `unload` for each selected device that has the module, or none at all if one cannot be created. Each removes the module from the module table of its device and ends with one outcome. Devices without the module are skipped if they are selected by labels or a selector; a named device without it is a `not-loaded` problem. With `dryRun`, returns a preview and creates nothing.',
        body: NewUnloads,
        response: {
          200: UnloadPreview.describe('With `dryRun`: the preview.'),
          202: AcceptedLoadRequest.describe(
            'The loads are accepted: each reaches an outcome. `Location` is the load, or the batch if there are several.',
          ),
          ...postProblems('not-loaded', 'unsupported-by-host', 'windows-closed', 'all-unreachable'),
        },
      },
    },
    async (request, reply) => {
      const { devices, labels, selector, group, dryRun, ...rest } = request.body;
      const { drainMilliseconds = null, forceReason = null, overrideMaintenanceWindow = null } = rest;
      const selected = selectorOf({ devices, labels, selector, group }, scopeOf(request));
      const unload = { ...rest, drainMilliseconds, forceReason, overrideMaintenanceWindow, selector: selected };
      if (dryRun) return reply.status(200).send(toUnloadPreview(await unloads.preview(unload)));
      const accepted = await unloads.request(unload, getRequester(request), (created) => toStoredResponse(toAcceptedRequest(created)));
      const { status, location, body } = toAcceptedRequest(accepted);
      return reply.status(status).header('location', location).send(body);
    },
  );
}

function addEndingRoutes(app: Api, loads: Loads): void {
  app.post(
    '/v1/loads/:load/inject',
    {
      config: { access: 'operator', scope: 'path' },
      schema: {
        operationId: 'injectLoad',
        tags,
        summary: 'Stop waiting for a draining load',
        description:
          'Orders the device to interrupt the accesses still inside the old version now, whatever the draining strategy of the load. The accesses retry in the new version, and the load ends as `replaced-interrupting` (an unload: as `unloaded-interrupting`). If the drain ends before the order arrives, the order has no effect. Repeating the request has no effect.',
        params: loadParameter,
        response: {
          202: Load.describe('The load, whose device gets the order.'),
          ...postProblems('not-found', 'not-draining', 'unsupported-by-host'),
        },
      },
    },
    async (request, reply) => reply.status(202).send(toLoad(await loads.inject(request.params.load, getRequester(request)))),
  );

  app.post(
    '/v1/loads/:load/cancel',
    {
      config: { access: 'operator', scope: 'path' },
      schema: {
        operationId: 'cancelLoad',
        tags,
        summary: 'Cancel a queued or draining load',
        description:
          'Ends the load as `cancelled` if it was not sent to its host yet. If it drains, orders the device to revert the swap: the old version serves all accesses again, and the load ends as `cancelled` when the device reports. If the drain ends before the order arrives, the load keeps the outcome of its drain. Cancelling a load again has no effect. A cancelled load of a rollout counts as failed.',
        params: loadParameter,
        response: {
          200: Load.describe('The cancelled load.'),
          202: Load.describe('The draining load, whose device gets the order.'),
          ...postProblems('not-found', 'not-queued', 'unsupported-by-host'),
        },
      },
    },
    async (request, reply) => {
      const load = toLoad(await loads.cancel(request.params.load, getRequester(request)));
      return load.state === 'completed' ? reply.status(200).send(load) : reply.status(202).send(load);
    },
  );
}

function addReadingRoutes(app: Api, { loads, damagedRows }: Uses): void {
  app.get(
    '/v1/loads',
    {
      config: { access: 'viewer', scope: 'filter' },
      schema: {
        operationId: 'listLoads',
        tags,
        summary: 'List loads',
        querystring: loadQuery,
        response: { 200: LoadPage.describe('A page of loads, sorted by `requestedAt`.'), ...problems() },
      },
    },
    async (request, reply) => {
      const { batch, device, label: labels, selector, group, module, version, state, outcome } = request.query;
      const filter = {
        criteria: { labels, selector, group, scope: scopeOf(request) },
        device,
        batchId: batch,
        module,
        version,
        state,
        outcome,
        ...parseTimeRange(request.query),
      };
      const page = await loads.list(filter, parsePageByTime(request));
      return sendPage(request, reply, page, { kind: 'load', schema: Load, idOf: ({ id }) => id, toItem: toLoad, damagedRows });
    },
  );

  app.get(
    '/v1/loads/:load',
    {
      config: { access: 'viewer', scope: 'path' },
      schema: {
        operationId: 'getLoad',
        tags,
        summary: 'Get a load',
        description: 'Returns the load with each step of the isolation workflow, or with its progress while it drains.',
        params: loadParameter,
        response: { 200: LoadDetail.describe('The load.'), ...problems('not-found') },
      },
    },
    async ({ params }) => {
      const load = await loads.get(params.load);
      return {
        ...toLoad(load),
        progress: toProgress(await loads.progressOf(load)),
        report: load.report === null ? null : LoadReport.parse(load.report),
      };
    },
  );
}

/** Returns the path of the load, or of its batch if there are several. */
export function locationOf({ batch, loads }: CreatedLoads): string {
  const [first, ...others] = loads;
  return first !== undefined && others.length === 0 ? `/v1/loads/${first.id}` : `/v1/load-batches/${batch}`;
}

export function toAccepted(created: CreatedLoads): CreatedResponse<202, z.infer<typeof AcceptedLoads>> {
  return { status: 202, location: locationOf(created), body: { batch: created.batch, loads: [...created.loads] } };
}

function toAcceptedRequest(created: AcceptedRequest): CreatedResponse<202, z.infer<typeof AcceptedLoadRequest>> {
  const accepted = toAccepted(created);
  return { ...accepted, body: { ...accepted.body, unreachableDevices: created.unreachable } };
}

function toPreview(previewed: readonly PreviewedLoad[]): z.infer<typeof LoadPreview> {
  const loaded = previewed.filter(({ isSkipped }) => !isSkipped);
  return {
    devices: previewed.length,
    alreadyInstalled: previewed.filter(({ forecast }) => forecast.verdict === 'already-installed').length,
    unreachable: previewed.filter(({ isReachable }) => !isReachable).length,
    skipped: previewed.length - loaded.length,
    refused: loaded.filter(({ forecast }) => isRefused(forecast)).length,
    held: loaded.filter(({ hold }) => hold !== null).length,
    items: previewed.map((item) => ({ ...toForecastItem(item), ...toHold(item.hold), skipped: item.isSkipped })),
  };
}

/** Returns the representation of the hold of a previewed load in the API. */
export function toHold(hold: Hold | null) {
  return { held: hold !== null, heldUntil: hold?.until?.toISOString() ?? null };
}

function toUnloadPreview({ withoutModule, items }: PreviewedUnloads): z.infer<typeof UnloadPreview> {
  const unloaded = items.filter(({ isSkipped }) => !isSkipped);
  return {
    devices: items.length,
    withoutModule,
    unreachable: items.filter(({ isReachable }) => !isReachable).length,
    skipped: items.length - unloaded.length,
    refused: unloaded.filter(({ forecast }) => forecast.verdict !== 'would-unload').length,
    held: unloaded.filter(({ hold }) => hold !== null).length,
    items: items.map(({ device, name, isReachable, isSkipped, version, hold, forecast: { verdict, reason, warnings } }) => ({
      ...{ device, deviceName: name, currentVersion: version, reachable: isReachable },
      ...{ forecast: verdict, reason, warnings: [...warnings], ...toHold(hold), skipped: isSkipped },
    })),
  };
}

/** Returns the representation of a forecast in the API. */
export function toForecastItem({ device, name, isReachable, forecast }: Omit<PreviewedLoad, 'isSkipped' | 'hold'>) {
  return {
    device,
    deviceName: name,
    currentVersion: forecast.current,
    reachable: isReachable,
    forecast: forecast.verdict,
    reason: forecast.reason,
    warnings: [...forecast.warnings],
  };
}

function toProgress(progress: DrainProgress | null): z.infer<typeof LoadProgress> | null {
  if (progress === null) return null;
  const requested = progress.requested.map((kind) => (kind === 'inject-load' ? 'inject' : 'cancel'));
  return { ...progress, programs: [...progress.programs], since: progress.since.toISOString(), requested };
}

function toLoad(load: LoadSummary): z.infer<typeof Load> {
  const { id, module, version, reason, interrupted, retried, failed, requestedAt, deadlineAt, dispatchedAt, completedAt } = load;
  const { shape } = Load;
  return {
    id,
    batch: load.batchId,
    device: load.deviceId,
    kind: shape.kind.parse(load.kind),
    build: load.buildId === '' ? null : load.buildId,
    patchSet: load.patchSetId === null ? null : { id: load.patchSetId, name: module, version },
    module,
    version,
    ...Policy.parse(load),
    forceReason: load.forceReason,
    overrideMaintenanceWindow: load.windowOverride === null ? null : { reason: load.windowOverride },
    state: shape.state.parse(load.state),
    outcome: shape.outcome.parse(load.outcome),
    reason,
    interrupted,
    retried,
    failed,
    rollback: load.rollback,
    rollout: load.rolloutId,
    requestedAt: requestedAt.toISOString(),
    requestedBy: load.requestedBy,
    deadlineAt: deadlineAt?.toISOString() ?? null,
    heldSince: load.heldSince?.toISOString() ?? null,
    heldUntil: load.heldSince === null ? null : (load.heldUntil?.toISOString() ?? null),
    dispatchedAt: dispatchedAt?.toISOString() ?? null,
    completedAt: completedAt?.toISOString() ?? null,
  };
}
