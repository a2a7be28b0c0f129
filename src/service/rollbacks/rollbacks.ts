// Rollbacks: ordinary loads that return devices to an earlier version of a module.

import type { Clock } from '../clock/service-clock.ts';
import type { Connection } from '../database/connection.ts';
import type { Store } from '../database/store.ts';
import { DeviceRecords } from '../devices/repository.ts';
import { type SelectedDevice, type Selector, selectDevices, selectorFacts } from '../devices/selection.ts';
import { HistoryRecords } from '../history/repository.ts';
import { storeResponse, type ToResponse } from '../idempotency/idempotency-store.ts';
import { type CreatedLoads, createLoads, type LoadTerms, type Target } from '../loads/batches.ts';
import { versionOf } from '../loads/content.ts';
import type { OnLoadsEnded } from '../loads/endings.ts';
import { BuildRecords } from '../modules/repository.ts';
import { Problem } from '../problem.ts';
import type { Requester } from '../requester.ts';
import { buildVersionStack } from './version-stack.ts';

/** Number of latest installed versions searched per device. */
const historyLimit = 50;
/** Devices that an error message names. */
const namedDeviceLimit = 10;

export type RollbackRequest = Omit<LoadTerms, 'versionPolicy' | 'downgradeReason'> & {
  readonly module: string;
  readonly selector: Selector;
  /** A version that the devices had; null: the version before each device's current one. */
  readonly to: string | null;
  readonly reason: string;
  /** Whether devices without a version to return to are skipped, or the whole request is rejected. */
  readonly onMissingVersion: 'reject' | 'skip';
};

export type CreatedRollback = CreatedLoads & {
  /** Devices that already have the version. */
  readonly unchanged: readonly string[];
  /** Devices without a version to return to. */
  readonly skipped: readonly string[];
};

type Choice = ({ readonly kind: 'target' } & Target) | { readonly kind: 'unchanged' | 'missing'; readonly device: SelectedDevice };

type Uses = { readonly store: Store; readonly clock: Clock };

export class Rollbacks {
  readonly #uses: Uses;
  readonly #onLoadsEnded: OnLoadsEnded;

  /** @param onLoadsEnded Called in the transaction in which loads are superseded by a rollback. */
  constructor(uses: Uses, onLoadsEnded: OnLoadsEnded) {
    this.#uses = uses;
    this.#onLoadsEnded = onLoadsEnded;
  }

  /**
   * Creates one load for each device to roll back, all or none.
   * @throws {Problem} `invalid-value`, `nothing-to-roll-back`, `already-installed`, `busy`.
   */
  async request(request: RollbackRequest, requester: Requester, toResponse: ToResponse<CreatedRollback>): Promise<CreatedRollback> {
    const { module, selector, to, reason, onMissingVersion, ...how } = request;
    const terms = { ...how, versionPolicy: 'downgrade' as const, downgradeReason: reason };
    return this.#uses.store.transaction(async (connection) => {
      const choices = await chooseTargets(connection, await selectDevices(connection, selector), module, to);
      const targets = choices.filter((choice) => choice.kind === 'target');
      const unchanged = choices.flatMap(({ kind, device }) => (kind === 'unchanged' ? [device.id] : []));
      const skipped = choices.flatMap(({ kind, device }) => (kind === 'missing' ? [device.id] : []));
      if (skipped.length > 0 && (onMissingVersion === 'reject' || targets.length === 0))
        throw await nothingToRollBack(connection, skipped, request);
      if (targets.length === 0) throw new Problem('already-installed', `every selected device already runs ${module}@${to}`);
      const versions = [...new Set(targets.map(({ content }) => versionOf(content)))];
      const facts = { isRollback: true, versions, ...selectorFacts(selector) };
      const batch = { targets, module, terms, isRollback: true, rolloutId: null, facts, requester };
      const created = await createLoads(connection, batch, this.#uses.clock.now(), this.#onLoadsEnded);
      const accepted = { ...created, unchanged, skipped };
      await storeResponse(connection, requester, toResponse, accepted);
      return accepted;
    });
  }
}

/** Returns the rollback target of each device. */
async function chooseTargets(
  connection: Connection,
  devices: readonly SelectedDevice[],
  module: string,
  to: string | null,
): Promise<Choice[]> {
  const ids = devices.map(({ id }) => id);
  const changes =
    to === null ? await findPreviousVersions(connection, ids, module) : await findRequestedVersion(connection, ids, module, to);
  const versions = [...new Set([...changes.values()].map(({ target }) => target))];
  const builds = new Map((await new BuildRecords(connection).findMany(module, versions)).map((build) => [build.version, build]));
  return devices.map((device) => {
    const change = changes.get(device.id);
    const build = builds.get(change?.target ?? '');
    if (change === undefined || build === undefined) return { kind: 'missing', device };
    return change.target === change.current ? { kind: 'unchanged', device } : { kind: 'target', device, content: { kind: 'build', build } };
  });
}

/** `current` is null if the module was unloaded. */
type VersionChange = { readonly current: string | null; readonly target: string };

/** Returns the previous version of each device that has one: after an unload, the version that was unloaded. */
async function findPreviousVersions(connection: Connection, ids: readonly string[], module: string): Promise<Map<string, VersionChange>> {
  const loaded = Map.groupBy(await new HistoryRecords(connection).loadedVersions(ids, module, historyLimit), ({ deviceId }) => deviceId);
  return new Map(
    [...loaded].flatMap(([id, versions]): (readonly [string, VersionChange])[] => {
      const [latest, previous] = buildVersionStack(versions, versions.length < historyLimit).toReversed();
      if (latest === undefined) return [];
      if (versions.at(-1)?.isUnloaded === true) return [[id, { current: null, target: latest }]];
      return previous === undefined ? [] : [[id, { current: latest, target: previous }]];
    }),
  );
}

/** Returns the requested version for each device that had it. */
async function findRequestedVersion(
  connection: Connection,
  ids: readonly string[],
  module: string,
  target: string,
): Promise<Map<string, VersionChange>> {
  const had = new Set(await new HistoryRecords(connection).findDevicesThatHad(ids, module, target));
  const current = await new HistoryRecords(connection).loadedVersions(ids, module, 1);
  return new Map(
    current.flatMap(({ deviceId, version, isUnloaded }) => {
      return had.has(deviceId) ? [[deviceId, { current: isUnloaded ? null : version, target }] as const] : [];
    }),
  );
}

async function nothingToRollBack(connection: Connection, missing: readonly string[], { module, to }: RollbackRequest): Promise<Problem> {
  const named = (await new DeviceRecords(connection).findMany(missing.slice(0, namedDeviceLimit))).map(({ name }) => name).toSorted();
  const others = missing.length > namedDeviceLimit ? ` and ${missing.length - namedDeviceLimit} more` : '';
  const [reason, hint] =
    to === null
      ? [`no previous version of ${module} among the last ${historyLimit} loads`, 'Name a version']
      : [`${module}@${to} was never installed`, 'See the history of the module on the device'];
  return new Problem(
    'nothing-to-roll-back',
    `${reason} on ${named.join(', ')}${others}; no load was created. ${hint}, or skip these devices`,
  );
}
