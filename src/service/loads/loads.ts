// Loads: each runs the isolation workflow on one device, which reports the outcome.

import type { LabelSelector } from '../../protocol/label-selector.ts';
import { LoadPolicy } from '../../protocol/load-report.ts';
import { audit } from '../audit-events/entry.ts';
import type { Clock } from '../clock/service-clock.ts';
import { clockSettings } from '../clock/service-clock.ts';
import type { Connection } from '../database/connection.ts';
import type { DamagedItem } from '../database/damaged-rows.ts';
import type { PageByTime } from '../database/page.ts';
import { type PageResult, readMarkedPage } from '../database/page-reader.ts';
import { undecodablePosition, withoutMarks } from '../database/readable-rows.ts';
import type { RecurringJob } from '../database/recurring-job.ts';
import type { Store } from '../database/store.ts';
import { DeviceRecords } from '../devices/repository.ts';
import {
  deviceResolver,
  readNamed,
  resolveCriteria,
  type SelectedDevice,
  type SelectionCriteria,
  type Selector,
  selectDevices,
  selectorFacts,
} from '../devices/selection.ts';
import { createDuplicateCheck, storeResponses, type ToResponse } from '../idempotency/idempotency-store.ts';
import { checkHasImage } from '../modules/pruned-image.ts';
import { type BuildRecord, BuildRecords } from '../modules/repository.ts';
import { checkNotYanked } from '../modules/yanked-build.ts';
import { type PatchSetRecord, PatchSetRecords } from '../patch-sets/repository.ts';
import { invalidValue, notFound, Problem } from '../problem.ts';
import { type Requester, systemActor } from '../requester.ts';
import { type Batch, type CreatedLoads, createBatches, LoadTerms } from './batches.ts';
import { type LoadContent, patchSetContent, toColumns } from './content.ts';
import { cancelRequest, type DrainProgress, findDrainProgress, injectRequest, orderDrainEnd } from './drains.ts';
import { endLoads, type OnLoadsEnded } from './endings.ts';
import { type Forecast, type ForecastContent, forecastLoads } from './forecast.ts';
import { checkHostsSupport } from './host-support.ts';
import { checkOpensInTime, type Hold } from './maintenance-holds.ts';
import { type LoadFilter, LoadQueries, type LoadSummary } from './queries.ts';
import type { LoadRecord } from './repository.ts';
import { LoadRecords } from './repository.ts';
import {
  noUnreachableTargets,
  skippedFacts,
  type UnreachableChoice,
  type UnreachableTargets,
  unreachableSplitter,
} from './unreachable-targets.ts';

/** Maximum number of devices in one group of requests. */
const maxDevicesPerGroup = 1_000;
/** How often deadlines are checked, in milliseconds. */
const deadlineInterval = 1_000;
/** Maximum number of loads that one transaction ends. */
const expiryBatchSize = 500;

export type NamedVersion = { readonly name: string; readonly version: string };
/** What to load: a build or a patch set. */
type Wanted = { readonly module: string; readonly version: string } | { readonly patchSet: NamedVersion };

export type NewLoadsRequest = LoadTerms &
  Wanted & {
    readonly selector: Selector;
    /** What happens to unreachable devices. Default: their loads wait. */
    readonly unreachable?: UnreachableChoice;
  };

/** The loads of a request, and the selected devices that are unreachable. */
export type AcceptedRequest = CreatedLoads & { readonly unreachable: UnreachableTargets };

/** The expected outcome of a load on one device. */
export type PreviewedLoad = {
  readonly device: string;
  readonly name: string;
  readonly isReachable: boolean;
  /** Whether the request leaves the device out because it is unreachable. */
  readonly isSkipped: boolean;
  readonly forecast: Forecast;
  /** Why the load would be held; null: it would be sent at once. */
  readonly hold: Hold | null;
};

type QueuedRequest = {
  readonly request: NewLoadsRequest;
  readonly requester: Requester;
  readonly toResponse: ToResponse<AcceptedRequest>;
};

type Uses = { readonly store: Store; readonly clock: Clock };

export class Loads {
  readonly #uses: Uses;
  readonly #onEnded: OnLoadsEnded;
  readonly #request: (queued: QueuedRequest) => Promise<AcceptedRequest>;

  /** @param onEnded Called in the transaction that ends loads without a report. */
  constructor(uses: Uses, onEnded: OnLoadsEnded) {
    this.#uses = uses;
    this.#onEnded = onEnded;
    this.#request = uses.store.batched((connection, queued) => createRequestedLoads(connection, queued, uses.clock.now(), onEnded));
  }

  /**
   * Creates one load per selected device, all or none.
   * @throws {Problem} `invalid-value`, `image-pruned`, `build-yanked`, `all-unreachable`, `unsupported-by-host`, `busy`,
   * `windows-closed`.
   */
  request(request: NewLoadsRequest, requester: Requester, toResponse: ToResponse<AcceptedRequest>): Promise<AcceptedRequest> {
    return this.#request({ request, requester, toResponse });
  }

  /**
   * Returns the expected outcome on each selected device, without creating loads.
   * @throws {Problem} `invalid-value`, `image-pruned`, `build-yanked`, `all-unreachable`, `windows-closed`.
   */
  async preview(request: NewLoadsRequest): Promise<PreviewedLoad[]> {
    const connection = this.#uses.store.readConnection;
    const content = await findForecastContent(connection, request);
    const devices = await selectDevices(connection, request.selector);
    const { targets } = await (await unreachableSplitter(connection, devices))(devices, request.unreachable);
    const included = new Set(targets.map(({ id }) => id));
    const now = this.#uses.clock.now();
    const closedOn = await checkOpensInTime(connection, { targets: targets.map((device) => ({ device })), terms: request }, now);
    const isOverridden = request.overrideMaintenanceWindow !== null;
    const forecasts = await forecastLoads(connection, content, devices, LoadPolicy.parse(request));
    const known = await new DeviceRecords(connection).reachabilityOf(devices.map(({ id }) => id));
    return devices.flatMap(({ id }): PreviewedLoad[] => {
      const forecast = forecasts.get(id);
      const device = known.get(id);
      if (forecast === undefined || device === undefined) return [];
      const { name, isReachable } = device;
      const hold = isOverridden || !included.has(id) ? null : closedOn(id);
      return [{ device: id, name, isReachable, isSkipped: !included.has(id), forecast, hold }];
    });
  }

  /**
   * Cancels a load: ends it if it is queued, and orders its device to revert the swap if it drains. A draining load ends when its device reports.
   * Does nothing if the load is cancelled already.
   * @throws {Problem} `not-found`, `not-queued`, `unsupported-by-host`.
   */
  async cancel(id: string, requester: Requester): Promise<LoadRecord> {
    await this.#uses.store.transaction(async (connection) => {
      const load = await findLoad(connection, id);
      if (load.outcome === 'cancelled') return;
      const now = this.#uses.clock.now();
      if (load.state === 'queued') {
        const end = { outcome: 'cancelled', reason: `cancelled by ${requester.actor}`, completedAt: now };
        await endLoads(connection, [load], end, requester, this.#onEnded);
      } else if ((await findDrainProgress(connection, load)) !== null)
        await orderDrainEnd(connection, load, cancelRequest(requester), requester, now);
      else throw new Problem('not-queued', `the load ${id} can no longer be cancelled: ${describeProgress(load)}`);
    });
    return this.get(id);
  }

  /**
   * Orders the device of a draining load to stop waiting and to interrupt the accesses inside the old version now.
   * @throws {Problem} `not-found`, `not-draining`, `unsupported-by-host`.
   */
  async inject(id: string, requester: Requester): Promise<LoadRecord> {
    await this.#uses.store.transaction(async (connection) => {
      const load = await findLoad(connection, id);
      if ((await findDrainProgress(connection, load)) === null)
        throw new Problem('not-draining', `the load ${id} is not draining: ${describeProgress(load)}`);
      await orderDrainEnd(connection, load, injectRequest, requester, this.#uses.clock.now());
    });
    return this.get(id);
  }

  /** Returns the progress of a load that drains; null for others. */
  progressOf(load: LoadRecord): Promise<DrainProgress | null> {
    return findDrainProgress(this.#uses.store.readConnection, load);
  }

  /** Starts ending overdue loads periodically, on one replica at a time. */
  startExpiring(): RecurringJob {
    return this.#uses.store.scheduleJob('deadlines', deadlineInterval, () => this.expire());
  }

  /** Ends the loads whose deadline has passed. */
  async expire(): Promise<void> {
    const now = this.#uses.clock.now();
    await this.#correctFutureRequests(now);
    const firstOverdue = await new LoadRecords(this.#uses.store.readConnection).listOverdue(now, 1);
    if (firstOverdue.length === 0) return;
    let ended: number;
    do {
      ended = await this.#uses.store.transaction(async (connection) => {
        const overdue = await new LoadRecords(connection).listOverdue(now, expiryBatchSize);
        const end = { outcome: 'expired', reason: 'the deadline passed before the device reported', completedAt: now };
        return endLoads(connection, overdue, end, systemActor, this.#onEnded);
      });
    } while (ended === expiryBatchSize);
  }

  /**
   * Corrects loads with a request time in the future: the clock was ahead when they were requested. Sets their request time to now, and moves their
   * deadlines by the same amount.
   */
  async #correctFutureRequests(now: Date): Promise<void> {
    const { store } = this.#uses;
    const future = new Date(now.getTime() + clockSettings.tolerance);
    if ((await new LoadRecords(store.readConnection).listRequestedAfter(future, 1)).length === 0) return;
    await store.transaction(async (connection) => {
      const loads = withoutMarks(await new LoadRecords(connection).listRequestedAfter(future, expiryBatchSize));
      if (loads.length === 0) return;
      await new LoadRecords(connection).moveRequestTimes(loads, now);
      await audit(
        connection,
        systemActor,
        now,
        loads.map(({ id, requestedAt }) => {
          const reason = 'the clock of the service was ahead at the request';
          return {
            action: 'load.deadline-moved',
            object: id,
            detail: { reason, millisecondsAhead: requestedAt.getTime() - now.getTime() },
          };
        }),
      );
    });
  }

  /** @throws {Problem} `not-found`. */
  get(id: string): Promise<LoadRecord> {
    return findLoad(this.#uses.store.readConnection, id);
  }

  /** @throws {Problem} `not-found` if the device of the load does not match a scope, or the load does not exist. */
  async checkScope(id: string, scope: LabelSelector): Promise<void> {
    if (!(await new LoadRecords(this.#uses.store.readConnection).isInScope(id, scope))) throw notFound('load', id);
  }

  /**
   * Lists loads.
   * @param filter `criteria` selects their devices. `device` is an identifier or a name; an unknown one has no loads.
   * @throws {Problem} `invalid-value` if the group does not exist.
   */
  async list(
    {
      criteria = {},
      device,
      ...filter
    }: Omit<LoadFilter, 'selector' | 'deviceId'> & {
      readonly criteria?: SelectionCriteria;
      readonly device?: string | undefined;
    },
    page: PageByTime,
  ): Promise<PageResult<LoadSummary | DamagedItem, PageByTime>> {
    const { reader, readConnection } = this.#uses.store;
    const selector = await resolveCriteria(readConnection, criteria, 'query:group');
    const deviceId = device === undefined ? undefined : (await readNamed(readConnection, [device])).get(device)?.id;
    if (device !== undefined && deviceId === undefined) return { items: [], next: null, pageAfter: () => page };
    return readMarkedPage(page, {
      read: (chunkPage) => new LoadQueries(reader).list({ ...filter, selector, deviceId }, chunkPage),
      positionOfUndecodable: undecodablePosition.byTime,
      positionOf: ({ requestedAt, id }) => ({ time: requestedAt, key: id }),
      bytesOf: ({ reason, downgradeReason }) => (reason?.length ?? 0) + (downgradeReason?.length ?? 0),
    });
  }
}

/** @throws {Problem} `not-found`. */
async function findLoad(connection: Connection, id: string): Promise<LoadRecord> {
  const load = await new LoadRecords(connection).find(id);
  if (load === null) throw notFound('load', id);
  return load;
}

/** Returns how far a load is that cannot be ended early. */
function describeProgress({ state, outcome }: LoadRecord): string {
  if (state === 'queued') return 'it is queued';
  return state === 'dispatched' ? 'it was sent to its host, which has not reported that it drains' : `its outcome is ${outcome}`;
}

/** Creates the loads of requests that were queued concurrently. */
async function createRequestedLoads(
  connection: Connection,
  queued: readonly QueuedRequest[],
  now: Date,
  onEnded: OnLoadsEnded,
): Promise<PromiseSettledResult<AcceptedRequest>[]> {
  const results: PromiseSettledResult<AcceptedRequest>[] = [];
  for (const group of groupRequests(queued)) results.push(...(await createGroup(connection, group, now, onEnded)));
  return results;
}

/** Groups requests, in order, so that a group has at most the maximum number of devices or only one request. */
function groupRequests(queued: readonly QueuedRequest[]): QueuedRequest[][] {
  const groups: QueuedRequest[][] = [];
  let room = 0;
  for (const item of queued) {
    const { selector, supersede } = item.request;
    // A request that supersedes loads reads them from the database; the number of devices with some labels is not known yet. Both form a group alone.
    const devices = supersede || !('devices' in selector) ? maxDevicesPerGroup : selector.devices.length;
    const last = groups.at(-1);
    if (last !== undefined && devices <= room) last.push(item);
    else {
      groups.push([item]);
      room = maxDevicesPerGroup;
    }
    room -= devices;
  }
  return groups;
}

async function createGroup(
  connection: Connection,
  queued: readonly QueuedRequest[],
  now: Date,
  onEnded: OnLoadsEnded,
): Promise<PromiseSettledResult<AcceptedRequest>[]> {
  const [contentOf, devicesOf, checkDuplicate] = await Promise.all([
    contentResolver(connection, queued),
    deviceResolver(
      connection,
      queued.map(({ request }) => request.selector),
    ),
    createDuplicateCheck(
      connection,
      queued.map(({ requester }) => requester),
    ),
  ]);
  const resolve = async ({ request, requester }: QueuedRequest): Promise<ResolvedRequest> => {
    checkDuplicate(requester);
    const { selector } = request;
    const content = await contentOf(request);
    return { request, requester, content, devices: await devicesOf(selector) };
  };
  const resolved: PromiseSettledResult<ResolvedRequest>[] = [];
  for (const item of queued) resolved.push(...(await Promise.allSettled([resolve(item)])));
  const split = await unreachableSplitter(
    connection,
    resolved.flatMap((result) => (result.status === 'fulfilled' ? result.value.devices : [])),
  );
  const batches: PromiseSettledResult<Batch>[] = [];
  for (const result of resolved) {
    const batch = async (): Promise<Batch> => {
      if (result.status === 'rejected') throw result.reason;
      const { targets, unreachable } = await split(result.value.devices, result.value.request.unreachable);
      return toBatch(connection, result.value, targets, unreachable);
    };
    batches.push(...(await Promise.allSettled([batch()])));
  }
  const created = await createBatches(connection, batches, now, onEnded);
  const results = created.map((result, index): PromiseSettledResult<AcceptedRequest> => {
    if (result.status === 'rejected') return result;
    const batch = batches[index];
    const unreachable = (batch?.status === 'fulfilled' ? batch.value.unreachable : undefined) ?? noUnreachableTargets;
    return { status: 'fulfilled', value: { ...result.value, unreachable } };
  });
  const responses = results.flatMap((result, index) => {
    const { requester, toResponse } = queued[index] ?? {};
    const request = requester?.idempotentRequest;
    if (result.status === 'rejected' || request === undefined || toResponse === undefined) return [];
    return { request, response: toResponse(result.value) };
  });
  await storeResponses(connection, responses);
  return results;
}

type ResolvedRequest = Pick<QueuedRequest, 'request' | 'requester'> & {
  readonly content: LoadContent;
  readonly devices: readonly SelectedDevice[];
};

/** @throws {Problem} `unsupported-by-host`. */
async function toBatch(
  connection: Connection,
  { request, requester, content }: ResolvedRequest,
  devices: readonly SelectedDevice[],
  unreachable: UnreachableTargets,
): Promise<Batch> {
  const targets = devices.map((device) => ({ device, content }));
  if (content.kind === 'patch-set') await checkHostsSupport(connection, targets, 'load-patch-set');
  const { module, version } = toColumns(content);
  const selection = selectorFacts(request.selector);
  const facts = { version, ...selection, ...skippedFacts(unreachable) };
  return { targets, module, terms: LoadTerms.parse(request), isRollback: false, rolloutId: null, selection, unreachable, facts, requester };
}

/** Returns the builds that a request loads, for its forecast. @throws {Problem} `invalid-value`, `image-pruned`, `build-yanked`. */
async function findForecastContent(connection: Connection, wanted: Wanted): Promise<ForecastContent> {
  const patchSet = 'patchSet' in wanted ? await findPatchSet(connection, wanted.patchSet) : null;
  const named = 'patchSet' in wanted ? (patchSet?.members ?? []) : [wanted];
  const builds: BuildRecord[] = [];
  for (const { module, version } of named) {
    const build = await new BuildRecords(connection).find(module, version);
    if (build === null) throw await unknownBuildProblem(connection, module, version);
    checkHasImage(build);
    builds.push(build);
  }
  checkNotYanked(builds, patchSet === null ? '/version' : '/patchSet');
  return { patchSet, builds };
}

/**
 * Reads the builds that several requests name.
 * @returns A function that returns the content of one request. It throws {Problem} `invalid-value` if the build or patch set does not exist.
 */
async function contentResolver(
  connection: Connection,
  queued: readonly QueuedRequest[],
): Promise<(wanted: Wanted) => Promise<LoadContent>> {
  const builds = await new BuildRecords(connection).findLoadable(queued.flatMap(({ request }) => ('patchSet' in request ? [] : [request])));
  return async (wanted) => {
    if ('patchSet' in wanted) return patchSetContent(await findPatchSet(connection, wanted.patchSet));
    const { module, version } = wanted;
    const build = builds.find((candidate) => candidate.module === module && candidate.version === version);
    if (build === undefined) throw await unknownBuildProblem(connection, module, version);
    return { kind: 'build', build };
  };
}

/** Returns the patch set that a request names. @throws {Problem} `invalid-value`. */
export async function findPatchSet(connection: Connection, { name, version }: NamedVersion): Promise<PatchSetRecord> {
  const patchSet = await new PatchSetRecords(connection).findByVersion(name, version);
  if (patchSet === null)
    throw invalidValue('/patchSet', `the patch set ${name}@${version} does not exist: create it first, or correct the name or the version`);
  return patchSet;
}

/** Returns the problem of an unknown module or version; the message lists the newest versions of the module. */
export async function unknownBuildProblem(connection: Connection, module: string, version: string): Promise<Problem> {
  const records = new BuildRecords(connection);
  if ((await records.versions(module)).length === 0)
    return invalidValue('/module', `the module ${module} does not exist: push a build first`);
  const usable = (await records.usableVersions(module)).slice(-20);
  const choice = usable.length === 0 ? `all versions of ${module} are yanked` : `the versions of ${module} are ${usable.join(', ')}`;
  return invalidValue('/version', `the build ${module}@${version} does not exist: ${choice}`);
}
