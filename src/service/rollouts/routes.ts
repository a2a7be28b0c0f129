// /v1/rollouts: one build to many devices, in waves, with what operators decide on the way.

import { Readable } from 'node:stream';
import { z } from 'zod';
import { DamagedItem, type DamagedRows } from '../database/damaged-rows.ts';
import { csvLine } from '../http/csv.ts';
import { pageByNumber, pageByTime, rangeOf, sendPage } from '../http/pages.ts';
import { postProblems, problems } from '../http/problem-schemas.ts';
import { type Api, type Making, requesterOf, sendRaw, toAnswer } from '../http/route.ts';
import { eventStream, eventStreamHeaders, type ServerSentEvent } from '../http/server-sent-events.ts';
import { abort, approve, closeToDevices, type Decision, pause, resume, retryFailed, rollBack } from './decisions.ts';
import type { DeviceFigures } from './figures.ts';
import { isOpenToDevices, openEnd } from './joining.ts';
import { type RolloutPlan, usualThresholds } from './plan.ts';
import type { Preview, RolloutRequest } from './requests.ts';
import type { Rollouts } from './rollouts.ts';
import { isOpen, nextOpening } from './schedule-window.ts';
import {
  AbortRollout,
  ApproveWave,
  NewRollout,
  PauseRollout,
  RollBackRollout,
  Rollout,
  RolloutDevice,
  RolloutDevicePage,
  RolloutPage,
  RolloutPreview,
  RolloutReport,
  reportQuery,
  rolloutDeviceQuery,
  rolloutParameter,
  rolloutQuery,
} from './schemas.ts';
import type { RolloutView, WaveView } from './standing.ts';

const tags = ['rollouts'];

const csvColumns = [
  'device',
  'deviceName',
  'wave',
  'state',
  'version',
  'previousVersion',
  'attempts',
  'load',
  'outcome',
  'reason',
  'interruptedAccesses',
  'loadedAt',
  'calls',
  'failedCalls',
  'p99Microseconds',
  'abiViolations',
  'callsBefore',
  'failedCallsBefore',
  'p99MicrosecondsBefore',
];

type Uses = { readonly rollouts: Rollouts; readonly damagedRows: DamagedRows };

export function addRolloutRoutes(app: Api, { rollouts, damagedRows }: Uses): void {
  app.post(
    '/v1/rollouts',
    {
      config: { access: 'operator' },
      schema: {
        operationId: 'createRollout',
        tags,
        summary: 'Roll a build out in waves',
        description:
          'The devices get the build wave by wave, each by an ordinary load. A wave passes when its loads have ended, its programs were watched for its soak time, and no threshold was passed; ' +
          'then the next begins. The rollout goes on by itself, whatever becomes of the service meanwhile. With `dryRun` nothing is done, and what it would come to is answered.',
        body: NewRollout,
        response: {
          200: RolloutPreview.describe('With `dryRun`: what it would come to.'),
          202: Rollout.describe('The rollout is accepted. `Location` is where it can be followed.'),
          ...postProblems('image-pruned', 'already-there', 'rollout-conflict', 'too-many-rollouts'),
        },
      },
    },
    async (request, reply) => {
      const asked = toRequest(request.body);
      if (request.body.dryRun) return reply.status(200).send(toPreview(await rollouts.preview(asked)));
      const made = await rollouts.request(asked, requesterOf(request), (view) => toAnswer(toMade(view)));
      const { status, location, body } = toMade(made);
      return reply.status(status).header('location', location).send(body);
    },
  );

  app.get(
    '/v1/rollouts',
    {
      config: { access: 'viewer' },
      schema: {
        operationId: 'listRollouts',
        tags,
        summary: 'List rollouts',
        querystring: rolloutQuery,
        response: { 200: RolloutPage.describe('Rollouts, by the time they were requested.'), ...problems() },
      },
    },
    async (request, reply) => {
      const { module, state } = request.query;
      const page = await rollouts.list({ module, state, ...rangeOf(request.query) }, pageByTime(request));
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
      config: { access: 'viewer' },
      schema: {
        operationId: 'getRollout',
        tags,
        summary: 'Get a rollout with its waves, and what is measured of them',
        params: rolloutParameter,
        response: { 200: Rollout.describe('The rollout.'), ...problems('not-found') },
      },
    },
    async ({ params }) => toRollout(await rollouts.view(params.rollout)),
  );

  app.get(
    '/v1/rollouts/:rollout/progress',
    {
      // A HEAD would follow the rollout and have no use of it.
      exposeHeadRoute: false,
      config: { access: 'viewer' },
      schema: {
        operationId: 'followRollout',
        tags,
        summary: 'Follow a rollout',
        description:
          'Server-sent events named `rollout`, of which each has the whole Rollout as its data: one at once, one after every change, at most four in a second, and the last when the rollout has ended; then the stream ends. ' +
          'Who lost the stream asks again, and misses nothing that still holds.',
        params: rolloutParameter,
        response: {
          200: { description: 'The stream.', content: { 'text/event-stream': { schema: Rollout } } },
          ...problems('not-found', 'busy'),
        },
      },
    },
    async ({ params }, reply) => {
      const stream = await eventStream(reply.raw, async (gone) => serverSentEvents(await rollouts.follow(params.rollout, gone)));
      return sendRaw(reply.status(200).headers(eventStreamHeaders), stream);
    },
  );

  app.get(
    '/v1/rollouts/:rollout/devices',
    {
      config: { access: 'viewer' },
      schema: {
        operationId: 'listRolloutDevices',
        tags,
        summary: 'List the devices of a rollout',
        params: rolloutParameter,
        querystring: rolloutDeviceQuery,
        response: { 200: RolloutDevicePage.describe('Devices, in the order in which they get the build.'), ...problems('not-found') },
      },
    },
    async (request, reply) => {
      const { wave, state } = request.query;
      const page = await rollouts.devices({ rolloutId: request.params.rollout, wave, state }, pageByNumber(request));
      return sendPage(request, reply, page, {
        kind: 'rollout device',
        schema: RolloutDevice,
        idOf: ({ device }) => device.deviceId,
        toItem: toDevice,
        damagedRows,
      });
    },
  );

  app.get(
    '/v1/rollouts/:rollout/report',
    {
      config: { access: 'viewer' },
      schema: {
        operationId: 'getRolloutReport',
        tags,
        summary: 'Get what has become of every device of a rollout',
        description: 'At any time; final when the rollout has ended.',
        params: rolloutParameter,
        querystring: reportQuery,
        response: {
          200: {
            description: 'The report.',
            content: {
              'application/json': { schema: RolloutReport },
              'text/csv': {
                schema: z
                  .string()
                  .describe(`Columns: ${csvColumns.join(', ')}.`)
                  .meta({ examples: [`${csvColumns.join(',')}\r\n`] }),
              },
            },
          },
          ...problems('not-found'),
        },
      },
    },
    async ({ params, query }, reply) => {
      const rollout = toRollout(await rollouts.view(params.rollout));
      const devices = rollouts.report(params.rollout);
      const [type, lines] =
        query.format === 'csv'
          ? ['text/csv; charset=utf-8', csvOf(devices)]
          : ['application/json; charset=utf-8', jsonOf(rollout, devices)];
      return sendRaw(reply.status(200).header('content-type', type), Readable.from(bytesOf(lines), { objectMode: false }));
    },
  );

  const decisions = [
    {
      path: 'resume',
      operationId: 'resumeRollout',
      summary: 'Resume a paused rollout',
      description:
        'It goes on from where it was. A wave that has failed is not judged any more: its other devices get the build, and the next wave follows. To try the failed loads again, retry them instead.',
      decision: resume,
    },
    {
      path: 'retry-failed',
      operationId: 'retryFailedLoads',
      summary: 'Try the failed loads of a rollout again',
      description:
        'Only devices whose loads have not succeeded; their waves are judged anew, and a rollout that was paused or has completed goes on with them.',
      decision: retryFailed,
    },
    {
      path: 'close',
      operationId: 'closeRollout',
      summary: 'Let no more devices join a dynamic rollout',
      description: 'It ends when those that it has are done.',
      decision: closeToDevices,
    },
  ] as const;
  for (const { path, decision, ...described } of decisions) {
    app.post(
      `/v1/rollouts/:rollout/${path}`,
      {
        config: { access: 'operator' },
        schema: {
          tags,
          ...described,
          params: rolloutParameter,
          response: {
            200: Rollout.describe('The rollout as it is now.'),
            ...postProblems('not-found', 'rollout-state', 'rollout-conflict'),
          },
        },
      },
      async (request) => toRollout(await decide(request.params.rollout, decision, request)),
    );
  }

  app.post(
    '/v1/rollouts/:rollout/pause',
    {
      config: { access: 'operator' },
      schema: {
        operationId: 'pauseRollout',
        tags,
        summary: 'Pause a rollout',
        description: 'No more loads are requested, and no wave passes. Loads that are under way go on.',
        params: rolloutParameter,
        body: PauseRollout,
        response: { 200: Rollout.describe('The rollout, paused.'), ...postProblems('not-found', 'rollout-state') },
      },
    },
    async (request) => toRollout(await decide(request.params.rollout, pause(request.body.reason ?? null), request)),
  );

  app.post(
    '/v1/rollouts/:rollout/approve',
    {
      config: { access: 'operator' },
      schema: {
        operationId: 'approveWave',
        tags,
        summary: 'Let a wave begin that waits for approval',
        description: 'Approving the same wave again changes nothing.',
        params: rolloutParameter,
        body: ApproveWave,
        response: { 200: Rollout.describe('The rollout as it is now.'), ...postProblems('not-found', 'rollout-state') },
      },
    },
    async (request) => toRollout(await decide(request.params.rollout, approve(request.body.wave), request)),
  );

  app.post(
    '/v1/rollouts/:rollout/abort',
    {
      config: { access: 'operator' },
      schema: {
        operationId: 'abortRollout',
        tags,
        summary: 'Abort a rollout',
        description:
          'Devices that have the build keep it; loads that no host has been sent are cancelled, and the others go on. To have the devices go back, roll it back instead, or afterwards.',
        params: rolloutParameter,
        body: AbortRollout,
        response: { 200: Rollout.describe('The rollout, aborted.'), ...postProblems('not-found', 'rollout-state') },
      },
    },
    async (request) => toRollout(await decide(request.params.rollout, abort(request.body.reason ?? null), request)),
  );

  app.post(
    '/v1/rollouts/:rollout/rollback',
    {
      config: { access: 'operator' },
      schema: {
        operationId: 'rollBackRollout',
        tags,
        summary: 'Roll a rollout back',
        description:
          'Every device that has got the build, or still gets it, goes back to the version that it had. A rollout of its own does that, which is answered.',
        params: rolloutParameter,
        body: RollBackRollout,
        response: {
          202: Rollout.describe('The rollout that takes the devices back. `Location` is where it can be followed.'),
          ...postProblems('not-found', 'rollout-state', 'rollout-conflict', 'nothing-to-roll-back'),
        },
      },
    },
    async (request, reply) => {
      const { params, body } = request;
      const back = await rollouts.decide(params.rollout, rollBack(body.reason), requesterOf(request), (view) => toAnswer(toMade(view)));
      const made = toMade(back);
      return reply.status(made.status).header('location', made.location).send(made.body);
    },
  );

  function decide(id: string, decision: Decision, request: Parameters<typeof requesterOf>[0]): Promise<RolloutView> {
    return rollouts.decide(id, decision, requesterOf(request), (view) => ({
      status: 200,
      contentType: 'application/json; charset=utf-8',
      location: null,
      body: JSON.stringify(toRollout(view)),
    }));
  }
}

function toRequest(body: NewRollout): RolloutRequest {
  const { module, version, devices, labels, runningVersion, waves, soakSeconds, dynamic, dynamicUntil } = body;
  const plan: RolloutPlan = {
    name: body.name ?? null,
    selector: { devices: devices?.length ?? null, labels: labels ?? null, runningVersion: runningVersion ?? null },
    waves: waves.map((wave) => ({
      size:
        wave.devices === undefined
          ? { kind: 'up-to-percent', percent: wave.upToPercent ?? 100 }
          : { kind: 'devices', devices: wave.devices },
      soakSeconds: wave.soakSeconds ?? soakSeconds,
      approval: wave.approval,
      thresholds: { ...usualThresholds, ...given(body.thresholds), ...given(wave.thresholds) },
    })),
    terms: {
      strategy: body.strategy,
      invalidation: body.invalidation,
      drainMilliseconds: body.drainMilliseconds ?? null,
      versionPolicy: body.versionPolicy,
      downgradeReason: body.downgradeReason ?? null,
      similarityPolicy: body.similarityPolicy,
      deadlineSeconds: body.deadlineSeconds,
      supersede: body.supersede,
    },
    devicesInFlight: body.devicesInFlight,
    loadsPerMinute: body.loadsPerMinute ?? null,
    onFailure: body.onFailure,
    rollbackDeadlineSeconds: body.rollbackDeadlineSeconds,
    startAt: body.startAt ?? null,
    window: body.window ?? null,
    whenBusy: body.whenBusy,
  };
  const until = dynamicUntil === undefined ? null : new Date(dynamicUntil);
  return { module, version, plan, devices: devices ?? null, joining: dynamic ? { until } : null };
}

/** What was given of thresholds. */
function given(thresholds: NewRollout['thresholds']) {
  const entries = Object.entries(thresholds ?? {}).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries);
}

function toMade(view: RolloutView): Making<202, Rollout> {
  return { status: 202, location: `/v1/rollouts/${view.record.id}`, body: toRollout(view) };
}

function toRollout({ record, plan, ...view }: RolloutView): Rollout {
  const { id, module, version, rollbackOf, requestedBy, joinableUntil } = record;
  const { terms, window } = plan;
  const now = new Date();
  return {
    id,
    name: plan.name,
    module,
    version,
    selector: plan.selector,
    state: view.state,
    waitingFor: view.step.kind === 'wait' ? view.step.for : null,
    reason: record.reason,
    wave: view.wave?.number ?? null,
    waves: view.waves.map(toWave),
    tally: view.tally,
    onFailure: plan.onFailure,
    ...terms,
    rollbackDeadlineSeconds: plan.rollbackDeadlineSeconds,
    devicesInFlight: plan.devicesInFlight,
    loadsPerMinute: plan.loadsPerMinute,
    startAt: plan.startAt,
    window,
    windowOpensAt: window === null || isOpen(window, now) ? null : (nextOpening(window, now)?.toISOString() ?? null),
    joinableUntil: joinableUntil === null || joinableUntil >= openEnd ? null : joinableUntil.toISOString(),
    isJoinable: isOpenToDevices(record, now),
    whenBusy: plan.whenBusy,
    rollbackOf,
    rolledBackBy: view.rolledBackBy,
    requestedAt: record.requestedAt.toISOString(),
    requestedBy,
    startedAt: record.startedAt?.toISOString() ?? null,
    endedAt: record.endedAt?.toISOString() ?? null,
  };
}

function toWave({ number, state, plan, record, tally, results, verdicts }: WaveView): Rollout['waves'][number] {
  return {
    number,
    state,
    devices: Object.values(tally).reduce((total, some) => total + some, 0),
    upToPercent: plan.size.kind === 'up-to-percent' ? plan.size.percent : null,
    soakSeconds: plan.soakSeconds,
    approval: plan.approval,
    thresholds: plan.thresholds,
    tally,
    interruptedAccesses: results.interruptedAccesses,
    measured: results.measured,
    verdicts: [...verdicts],
    failure: record.failure,
    goesOnDespiteFailure: record.accepted,
    approvedBy: record.approvedBy,
    startedAt: record.startedAt?.toISOString() ?? null,
    soakUntil: record.soakUntil?.toISOString() ?? null,
    endedAt: record.endedAt?.toISOString() ?? null,
  };
}

function toDevice({ device, measured }: DeviceFigures): z.infer<typeof RolloutDevice> {
  const { shape } = RolloutDevice;
  const { deviceId, name, position, wave, version, previousVersion, attempts, loadId, reason, interrupted, loadedAt } = device;
  return {
    device: deviceId,
    deviceName: name,
    position,
    wave,
    version,
    previousVersion,
    state: shape.state.parse(device.state),
    attempts,
    load: loadId,
    outcome: shape.outcome.parse(device.outcome),
    reason,
    interruptedAccesses: interrupted,
    loadedAt: loadedAt?.toISOString() ?? null,
    measured,
  };
}

function toPreview({ devices, waves, conflicts }: Preview): z.infer<typeof RolloutPreview> {
  const isRefused = (verdict: string) => verdict.startsWith('refused-') || verdict === 'out-of-memory';
  return {
    devices: devices.length,
    alreadyThere: devices.filter(({ wave }) => wave === null).length,
    unreachable: devices.filter(({ isReachable }) => !isReachable).length,
    refused: devices.filter(({ wave, forecast }) => wave !== null && isRefused(forecast.verdict)).length,
    waves: Array.from({ length: waves }, (_, index) => ({
      number: index + 1,
      devices: devices.filter(({ wave }) => wave === index + 1).length,
    })),
    conflicts: [...conflicts],
    items: devices.map(({ device, name, wave, isReachable, forecast }) => ({
      device,
      deviceName: name,
      wave,
      currentVersion: forecast.current,
      isReachable,
      verdict: forecast.verdict,
      reason: forecast.reason,
    })),
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

async function* csvOf(devices: AsyncIterable<DeviceFigures | DamagedItem>): AsyncGenerator<string> {
  yield csvLine(csvColumns);
  for await (const one of devices) {
    if (one instanceof DamagedItem) {
      const cells: Readonly<Record<string, string>> = { device: one.id, reason: `the stored row is damaged: ${one.fault}` };
      yield csvLine(csvColumns.map((column) => cells[column] ?? null));
      continue;
    }
    const { measured, ...device } = toDevice(one);
    yield csvLine([
      device.device,
      device.deviceName,
      device.wave,
      device.state,
      device.version,
      device.previousVersion,
      device.attempts,
      device.load,
      device.outcome,
      device.reason,
      device.interruptedAccesses,
      device.loadedAt,
      ...[measured?.calls, measured?.failedCalls, measured?.p99Microseconds, measured?.abiViolations],
      ...[measured?.before.calls, measured?.before.failedCalls, measured?.before.p99Microseconds],
    ]);
  }
}

async function* jsonOf(rollout: Rollout, devices: AsyncIterable<DeviceFigures | DamagedItem>): AsyncGenerator<string> {
  yield `{"rollout":${JSON.stringify(rollout)},"devices":[`;
  let separator = '';
  const damaged: { readonly id: string; readonly fault: string }[] = [];
  for await (const device of devices) {
    if (device instanceof DamagedItem) {
      damaged.push({ id: device.id, fault: device.fault });
      continue;
    }
    yield `${separator}${JSON.stringify(toDevice(device))}`;
    separator = ',';
  }
  yield `],"damaged":${JSON.stringify(damaged)}}`;
}

/** A stream of texts with letters beyond ASCII stalls when it is long; one of bytes does not. */
async function* bytesOf(texts: AsyncIterable<string>): AsyncGenerator<Buffer> {
  for await (const text of texts) yield Buffer.from(text);
}
