// Loads: one build is to be put on devices; each device carries out one load and reports its outcome.

import { newIdentifier } from '../protocol/identifiers.ts';
import { LoadPolicy } from '../protocol/load-report.ts';
import type { LoadEnd, LoadFilter, LoadRecord, LoadSummary, NewLoad } from '../store/records/loads.ts';
import type { PageByTime } from '../store/records/page.ts';
import type { Records } from '../store/records/records.ts';
import { type AnswerOf, keepAnswer } from './answers.ts';
import { audit, type Context, type PageOf, type Requester, readPage, service } from './context.ts';
import { auditOutcomeOf } from './load-outcomes.ts';
import { newOrder } from './orders.ts';
import { invalidValue, notFound, Problem } from './problem.ts';
import { demandsOf } from './signature-demands.ts';

/** Devices of one request. */
const loadLimit = 10_000;
/** Loads that may wait for one device or be under way on it. */
const queueLimit = 100;
/** Loads that are ended in one transaction. */
const endedAtOnce = 500;

export type NewLoadsRequest = LoadPolicy & {
  readonly module: string;
  readonly version: string;
  readonly selector: { readonly devices: readonly string[] } | { readonly labels: Readonly<Record<string, string>> };
  /** Seconds after which a load that has not completed ends as `expired`. */
  readonly deadlineSeconds: number;
  /** Whether loads of the same module that wait for the same devices, and were not dispatched, give way to these. */
  readonly supersede: boolean;
};

export type NewLoads = { readonly batch: string; readonly loads: readonly { readonly id: string; readonly device: string }[] };

export class Loads {
  readonly #context: Context;

  constructor(context: Context) {
    this.#context = context;
  }

  /** Accepts one load for each selected device, all of them or none. @throws {Problem} `not-found`, `invalid-value`, `busy`. */
  async request(request: NewLoadsRequest, requester: Requester, answerOf: AnswerOf<NewLoads>): Promise<NewLoads> {
    const { module, version } = request;
    const policy = LoadPolicy.parse(request);
    const requestedAt = new Date();
    const deadlineAt = new Date(requestedAt.getTime() + request.deadlineSeconds * 1_000);
    const batchId = newIdentifier('batch');
    const { accepted, hostIds } = await this.#context.store.transaction(async (records) => {
      const build = await records.builds.find(module, version);
      if (build === null) throw await unknownBuild(records, module, version);
      const devices = await selectDevices(records, request.selector);
      const deviceIds = devices.map(({ id }) => id);
      if (request.supersede) {
        const waiting = await records.loads.queuedFor(deviceIds, module);
        const end = { outcome: 'superseded', reason: `the loads of ${batchId} have taken its place`, completedAt: requestedAt };
        await endLoads(records, waiting, end, requester);
      }
      await checkQueues(records, deviceIds);
      const demandsOn = await demandsOf(records, module, deviceIds);
      const made = devices.map((device) => {
        const load: NewLoad = {
          id: newIdentifier('load'),
          batchId,
          deviceId: device.id,
          buildId: build.id,
          module,
          version,
          ...policy,
          state: 'queued',
          requestedAt,
          deadlineAt,
        };
        const order = newOrder(
          device,
          {
            kind: 'load',
            load: load.id,
            module,
            version,
            image: build.imageDigest,
            ...policy,
            deadline: deadlineAt.toISOString(),
            demands: demandsOn(device.id),
          },
          requester,
          requestedAt,
        );
        return { load, order };
      });
      await records.loads.create(made.map(({ load }) => load));
      await records.orders.create(made.map(({ order }) => order));
      const selector = 'labels' in request.selector ? { labels: request.selector.labels } : {};
      const detail = { module, version, ...policy, devices: devices.length, ...selector };
      await audit(records, requester, requestedAt, [{ action: 'load.requested', object: batchId, detail }]);
      const accepted: NewLoads = { batch: batchId, loads: made.map(({ load }) => ({ id: load.id, device: load.deviceId })) };
      await keepAnswer(records, requester, answerOf, accepted);
      return { accepted, hostIds: devices.map(({ hostId }) => hostId) };
    });
    this.#context.orderBoard.announce(hostIds);
    return accepted;
  }

  /** Ends a load that waits and was not dispatched; one that is cancelled already stays so. @throws {Problem} `not-found`, `not-waiting`. */
  async cancel(id: string, requester: Requester): Promise<LoadRecord> {
    await this.#context.store.transaction(async (records) => {
      const load = await records.loads.find(id);
      if (load === null) throw notFound('load', id);
      if (load.outcome === 'cancelled') return;
      if (load.state !== 'queued') {
        const how = load.state === 'dispatched' ? 'its host has been sent it' : `it has ended as ${load.outcome}`;
        throw new Problem('not-waiting', `the load ${id} cannot be cancelled any more: ${how}`);
      }
      const end = { outcome: 'cancelled', reason: `cancelled by ${requester.actor}`, completedAt: new Date() };
      await endLoads(records, [load], end, requester);
    });
    return this.find(id);
  }

  /** Ends the loads whose deadline is over. */
  async expire(): Promise<void> {
    const now = new Date();
    const isOver = await this.#context.store.records.loads.overdue(now, 1);
    if (isOver.length === 0) return;
    let ended: number;
    do {
      ended = await this.#context.store.transaction(async (records) => {
        const overdue = await records.loads.overdue(now, endedAtOnce);
        const end = { outcome: 'expired', reason: 'its deadline was over before its device had carried it out', completedAt: now };
        await endLoads(records, overdue, end, service);
        return overdue.length;
      });
    } while (ended === endedAtOnce);
  }

  /** @throws {Problem} `not-found`. */
  async find(id: string): Promise<LoadRecord> {
    const load = await this.#context.store.records.loads.find(id);
    if (load === null) throw notFound('load', id);
    return load;
  }

  list(filter: LoadFilter, page: PageByTime): Promise<PageOf<LoadSummary, PageByTime>> {
    return readPage(
      page,
      (wanted) => this.#context.store.records.loads.list(filter, wanted),
      ({ requestedAt, id }) => ({ time: requestedAt, key: id }),
    );
  }
}

/** Ends loads that no device reports on: their orders are not sent any more. */
async function endLoads(
  records: Records,
  loads: readonly { readonly id: string; readonly deviceId: string }[],
  end: LoadEnd,
  requester: Requester,
): Promise<void> {
  const ids = loads.map(({ id }) => id);
  await records.loads.end(ids, end);
  await records.orders.withdraw(ids, end.completedAt);
  const { outcome, reason } = end;
  await audit(
    records,
    requester,
    end.completedAt,
    loads.map(({ id, deviceId }) => ({
      action: 'load.completed',
      object: id,
      outcome: auditOutcomeOf(outcome),
      detail: { device: deviceId, outcome, reason },
    })),
  );
}

async function checkQueues(records: Records, deviceIds: readonly string[]): Promise<void> {
  const [full] = await records.loads.devicesWithLoads(deviceIds, queueLimit);
  if (full === undefined) return;
  throw new Problem(
    'busy',
    `${queueLimit} loads wait for the device ${full}, as many as may: cancel some, or ask with "supersede": true; nothing was loaded anywhere`,
  );
}

async function unknownBuild(records: Records, module: string, version: string): Promise<Problem> {
  const versions = await records.builds.versions(module);
  if (versions.length === 0)
    return invalidValue('/module', `there is no module ${module}: push a build first (POST /v1/modules/${module}/builds)`);
  return invalidValue('/version', `there is no build ${module}@${version}: there is ${versions.slice(-20).join(', ')}`);
}

async function selectDevices(records: Records, selector: NewLoadsRequest['selector']): Promise<{ id: string; hostId: string }[]> {
  if ('labels' in selector) {
    const devices = await records.devices.select(selector.labels, loadLimit + 1);
    if (devices.length === 0) throw invalidValue('/labels', 'no device has these labels: GET /v1/devices shows what labels there are');
    if (devices.length > loadLimit) throw invalidValue('/labels', `more than ${loadLimit} devices have these labels: narrow the selection`);
    return devices;
  }
  const wanted = [...new Set(selector.devices)];
  const known = new Map((await records.devices.findMany(wanted)).map((device) => [device.id, device]));
  const invalidValues = selector.devices.flatMap((id, index) =>
    known.has(id) ? [] : [{ pointer: `/devices/${index}`, detail: `there is no device ${id}` }],
  );
  const [first] = invalidValues;
  if (first !== undefined) throw new Problem('invalid-value', `${first.detail}; nothing was loaded anywhere`, { invalidValues });
  return wanted.flatMap((id) => known.get(id) ?? []);
}
