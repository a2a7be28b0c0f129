// /v1/rollouts: creates, previews, lists and follows rollouts.

import type { z } from 'zod';
import type { LabelSelector } from '../../protocol/label-selector.ts';
import type { DamagedRows } from '../database/damaged-rows.ts';
import { isOpen, nextOpening } from '../groups/schedule-window.ts';
import { scopeOf } from '../http/access.ts';
import { parsePageByTime, parseTimeRange, sendPage } from '../http/pages.ts';
import { postProblems, problems } from '../http/problem-schemas.ts';
import { type Api, type CreatedResponse, getRequester, sendRaw, toStoredResponse } from '../http/route.ts';
import { eventStream, eventStreamHeaders, type ServerSentEvent } from '../http/server-sent-events.ts';
import { LoadTerms } from '../loads/batches.ts';
import { isRefused } from '../loads/forecast.ts';
import { toForecastItem, toHold } from '../loads/routes.ts';
import { noUnreachableTargets } from '../loads/unreachable-targets.ts';
import { acceptsDevices, joinableForever } from './dynamic-membership.ts';
import { defaultThresholds, type RolloutPlan, type WavePlan } from './plan.ts';
import type { Preview, RolloutRequest } from './requests.ts';
import type { Rollouts } from './rollouts.ts';
import { NewRollout, Rollout, RolloutPage, RolloutPreview, rolloutParameter, rolloutQuery } from './schemas.ts';
import type { RolloutView, WaveView } from './status.ts';

const tags = ['rollouts'];

type Uses = { readonly rollouts: Rollouts; readonly damagedRows: DamagedRows };

export function addRolloutRoutes(app: Api, uses: Uses): void {
  addCreationRoute(app, uses);
  addReadingRoutes(app, uses);
  addProgressRoute(app, uses);
}

function addCreationRoute(app: Api, { rollouts }: Uses): void {
  app.post(
    '/v1/rollouts',
    {
      config: { access: 'operator', scope: 'filter' },
      schema: {
        operationId: 'createRollout',
        tags,
        summary: 'Create a rollout',
        description:
          'Loads a build or a patch set on devices in waves. A wave passes when its loads have ended, its soak time is over and no threshold is exceeded; then the next wave starts. ' +
          'A rollout resumes by itself after a restart of the service. With `dryRun`, returns a preview and creates nothing.',
        body: NewRollout,
        response: {
          200: RolloutPreview.describe('With `dryRun`: the preview.'),
          202: Rollout.describe('The rollout is accepted. `Location` is its path.'),
          ...postProblems(
            'image-pruned',
            'build-yanked',
            'already-installed',
            'all-unreachable',
            'unsupported-by-host',
            'rollout-conflict',
            'too-many-rollouts',
          ),
        },
      },
    },
    async (request, reply) => {
      const rollout = toRequest(request.body, scopeOf(request));
      if (request.body.dryRun) return reply.status(200).send(toPreview(await rollouts.preview(rollout)));
      const created = await rollouts.request(rollout, getRequester(request), (view) => toStoredResponse(toAccepted(view)));
      const { status, location, body } = toAccepted(created);
      return reply.status(status).header('location', location).send(body);
    },
  );
}

function addReadingRoutes(app: Api, { rollouts, damagedRows }: Uses): void {
  app.get(
    '/v1/rollouts',
    {
      config: { access: 'viewer', scope: 'filter' },
      schema: {
        operationId: 'listRollouts',
        tags,
        summary: 'List rollouts',
        querystring: rolloutQuery,
        response: { 200: RolloutPage.describe('A page of rollouts, sorted by `requestedAt`.'), ...problems() },
      },
    },
    async (request, reply) => {
      const { module, state } = request.query;
      const filter = { module, state, ...parseTimeRange(request.query) };
      const page = await rollouts.list(filter, scopeOf(request), parsePageByTime(request));
      return sendPage(request, reply, page, {
        kind: 'rollout',
        schema: Rollout,
        idOf: ({ record }) => record.id,
        toItem: toRollout,
        damagedRows,
      });
    },
  );

  app.get(
    '/v1/rollouts/:rollout',
    {
      config: { access: 'viewer', scope: 'path' },
      schema: {
        operationId: 'getRollout',
        tags,
        summary: 'Get a rollout',
        description: 'Returns the rollout with its waves and their measurements.',
        params: rolloutParameter,
        response: { 200: Rollout.describe('The rollout.'), ...problems('not-found') },
      },
    },
    async ({ params }) => toRollout(await rollouts.view(params.rollout)),
  );
}

function addProgressRoute(app: Api, { rollouts }: Uses): void {
  app.get(
    '/v1/rollouts/:rollout/progress',
    {
      // HEAD would open a stream that sends no body.
      exposeHeadRoute: false,
      config: { access: 'viewer', scope: 'path' },
      schema: {
        operationId: 'streamRolloutProgress',
        tags,
        summary: 'Stream the progress of a rollout',
        description:
          'Streams server-sent events named `rollout` with the complete Rollout as data: one at once, one after each change (up to four per second), and one when the rollout has ended. Then the stream ends. ' +
          'A client that lost the stream requests it again and receives the current state. With a scope, the stream also ends when a device of the rollout leaves the scope.',
        params: rolloutParameter,
        response: {
          200: { description: 'The event stream.', content: { 'text/event-stream': { schema: Rollout } } },
          ...problems('not-found', 'busy'),
        },
      },
    },
    async (request, reply) => {
      const { rollout } = request.params;
      const follow = (closed: AbortSignal) => rollouts.follow(rollout, scopeOf(request), closed);
      const stream = await eventStream(request, reply.raw, async (closed) => serverSentEvents(await follow(closed)));
      return sendRaw(reply.status(200).headers(eventStreamHeaders), stream);
    },
  );
}

function toRequest(body: NewRollout, scope: LabelSelector | null): RolloutRequest {
  const {
    module = '',
    version = '',
    patchSet,
    devices,
    labels = null,
    selector = null,
    group = null,
    runningVersion = null,
    waves,
    soakSeconds,
    dynamic,
    dynamicUntil,
  } = body;
  const plan: RolloutPlan = {
    name: body.name ?? null,
    selector: { devices: devices?.length ?? null, labels, selector, group: null, runningVersion },
    waves: waves.map((wave) => toWavePlan(wave, { soakSeconds, thresholds: body.thresholds })),
    terms: LoadTerms.parse(body),
    devicesInFlight: body.devicesInFlight,
    loadsPerMinute: body.loadsPerMinute ?? null,
    onFailure: body.onFailure,
    rollbackDeadlineSeconds: body.rollbackDeadlineSeconds,
    startAt: body.startAt ?? null,
    window: body.window ?? null,
    unreachable: noUnreachableTargets,
    onConflict: body.onConflict,
  };
  const until = dynamicUntil === undefined ? null : new Date(dynamicUntil);
  const content = patchSet === undefined ? { module, version } : { patchSet };
  const joining = dynamic ? { until } : null;
  return { content, plan, group, devices: devices ?? null, joining, unreachable: body.unreachable, scope };
}

/** @param defaults The soak time and the thresholds of waves that have none. */
export function toWavePlan(
  { devices, upToPercent, approval, ...wave }: NewRollout['waves'][number],
  { soakSeconds, thresholds }: Pick<NewRollout, 'soakSeconds' | 'thresholds'>,
): WavePlan {
  return {
    size: devices === undefined ? { kind: 'up-to-percent', percent: upToPercent ?? 100 } : { kind: 'devices', devices },
    soakSeconds: wave.soakSeconds ?? soakSeconds,
    approval,
    thresholds: { ...defaultThresholds, ...omitUndefined(thresholds), ...omitUndefined(wave.thresholds) },
  };
}

function omitUndefined(thresholds: NewRollout['thresholds']) {
  const entries = Object.entries(thresholds ?? {}).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries);
}

export function toAccepted(view: RolloutView): CreatedResponse<202, Rollout> {
  return { status: 202, location: `/v1/rollouts/${view.record.id}`, body: toRollout(view) };
}

export function toRollout({ at, record, plan, patchSet, ...view }: RolloutView): Rollout {
  const { id, module, version, rollbackOf, requestedBy, acceptsDevicesUntil } = record;
  const { terms, window } = plan;
  return {
    id,
    name: plan.name,
    patchSet: patchSet && { id: patchSet.id, name: patchSet.name, version: patchSet.version },
    module,
    version,
    selector: plan.selector,
    scope: record.scope,
    state: view.state,
    waitingFor: view.step.kind === 'wait' ? view.step.for : null,
    reason: record.reason,
    wave: view.wave?.number ?? null,
    waves: view.waves.map(toWave),
    deviceCounts: view.deviceCounts,
    unreachableDevices: plan.unreachable,
    onFailure: plan.onFailure,
    ...terms,
    rollbackDeadlineSeconds: plan.rollbackDeadlineSeconds,
    devicesInFlight: plan.devicesInFlight,
    loadsPerMinute: plan.loadsPerMinute,
    startAt: plan.startAt,
    window,
    windowOpensAt: window === null || isOpen(window, at) ? null : (nextOpening(window, at)?.toISOString() ?? null),
    acceptsDevicesUntil: acceptsDevicesUntil === null || acceptsDevicesUntil >= joinableForever ? null : acceptsDevicesUntil.toISOString(),
    acceptsDevices: acceptsDevices(record, at),
    onConflict: plan.onConflict,
    rollbackOf,
    rolledBackBy: view.rolledBackBy,
    requestedAt: record.requestedAt.toISOString(),
    requestedBy,
    startedAt: record.startedAt?.toISOString() ?? null,
    endedAt: record.endedAt?.toISOString() ?? null,
  };
}

function toWave({ number, state, plan, record, deviceCounts, results, verdicts }: WaveView): Rollout['waves'][number] {
  return {
    number,
    state,
    devices: Object.values(deviceCounts).reduce((total, devices) => total + devices, 0),
    upToPercent: plan.size.kind === 'up-to-percent' ? plan.size.percent : null,
    soakSeconds: plan.soakSeconds,
    approval: plan.approval,
    thresholds: plan.thresholds,
    deviceCounts,
    interruptedAccesses: results.interruptedAccesses,
    measured: results.measured,
    verdicts: [...verdicts],
    failure: record.failure,
    failureIgnored: record.failureIgnored,
    approvedBy: record.approvedBy,
    startedAt: record.startedAt?.toISOString() ?? null,
    soakUntil: record.soakUntil?.toISOString() ?? null,
    endedAt: record.endedAt?.toISOString() ?? null,
  };
}

function toPreview({ devices, waves, conflicts }: Preview): z.infer<typeof RolloutPreview> {
  return {
    devices: devices.length,
    alreadyInstalled: devices.filter(({ wave, isSkipped }) => wave === null && !isSkipped).length,
    unreachable: devices.filter(({ isReachable }) => !isReachable).length,
    skipped: devices.filter(({ isSkipped }) => isSkipped).length,
    refused: devices.filter(({ wave, forecast }) => wave !== null && isRefused(forecast)).length,
    waves: Array.from({ length: waves }, (_, index) => ({
      number: index + 1,
      devices: devices.filter(({ wave }) => wave === index + 1).length,
    })),
    conflicts: [...conflicts],
    held: devices.filter(({ hold }) => hold !== null).length,
    items: devices.map(({ wave, isSkipped: _, hold, ...device }) => ({ ...toForecastItem(device), ...toHold(hold), wave })),
  };
}

async function* serverSentEvents(views: AsyncIterable<RolloutView>): AsyncGenerator<ServerSentEvent> {
  let id = 0;
  let last = '';
  for await (const view of views) {
    const data = toRollout(view);
    const text = JSON.stringify(data);
    if (text === last) continue;
    last = text;
    id += 1;
    yield { id, event: 'rollout', data };
  }
}
