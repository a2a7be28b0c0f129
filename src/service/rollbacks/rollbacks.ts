// Rollbacks: devices go back to a version of a module that they had, by ordinary loads.

import type { Clock } from '../clock/service-clock.ts';
import type { Connection } from '../database/connection.ts';
import type { Store } from '../database/store.ts';
import { DeviceRecords } from '../devices/repository.ts';
import { type SelectedDevice, type Selector, selectDevices } from '../devices/selection.ts';
import { HistoryRecords } from '../history/repository.ts';
import { type AnswerOf, keepAnswer } from '../idempotency/answers.ts';
import { type CreatedLoads, createLoads, type LoadTerms, type Target } from '../loads/batches.ts';
import type { OnLoadsEnded } from '../loads/endings.ts';
import { BuildRecords } from '../modules/repository.ts';
import { Problem } from '../problem.ts';
import type { Requester } from '../requester.ts';
import { buildVersionStack } from './version-stack.ts';

/** What loads have brought into one device that is looked at, the newest. */
const historyLimit = 50;
/** Devices that a message names. */
const namedDeviceLimit = 10;

export type RollbackRequest = Omit<LoadTerms, 'versionPolicy' | 'downgradeReason'> & {
  readonly module: string;
  readonly selector: Selector;
  /** A version that the devices had; null: of each device the one before the one that it has. */
  readonly to: string | null;
  readonly reason: string;
  /** Whether devices that have no version to go back to are left out, or nothing is loaded anywhere. */
  readonly onMissingVersion: 'reject' | 'skip';
};

export type NewRollback = CreatedLoads & {
  /** Devices that have the version, and are left alone. */
  readonly unchanged: readonly string[];
  /** Devices that have no version to go back to. */
  readonly skipped: readonly string[];
};

type Choice = ({ readonly kind: 'goes-back' } & Target) | { readonly kind: 'unchanged' | 'has-none'; readonly device: SelectedDevice };

type Uses = { readonly store: Store; readonly clock: Clock };

export class Rollbacks {
  readonly #uses: Uses;
  readonly #onLoadsEnded: OnLoadsEnded;

  /** @param onLoadsEnded Called in the transaction in which loads give way to those of a rollback. */
  constructor(uses: Uses, onLoadsEnded: OnLoadsEnded) {
    this.#uses = uses;
    this.#onLoadsEnded = onLoadsEnded;
  }

  /**
   * Accepts one load for each selected device that goes back, all of them or none.
   * @throws {Problem} `invalid-value`, `nothing-to-roll-back`, `already-installed`, `busy`.
   */
  async request(request: RollbackRequest, requester: Requester, answerOf: AnswerOf<NewRollback>): Promise<NewRollback> {
    const { module, selector, to, reason, onMissingVersion, ...how } = request;
    const terms = { ...how, versionPolicy: 'downgrade' as const, downgradeReason: reason };
    return this.#uses.store.transaction(async (connection) => {
      const choices = await chooseTargets(connection, await selectDevices(connection, selector), module, to);
      const targets = choices.filter((choice) => choice.kind === 'goes-back');
      const unchanged = choices.flatMap(({ kind, device }) => (kind === 'unchanged' ? [device.id] : []));
      const skipped = choices.flatMap(({ kind, device }) => (kind === 'has-none' ? [device.id] : []));
      if (skipped.length > 0 && (onMissingVersion === 'reject' || targets.length === 0))
        throw await nothingToRollBack(connection, skipped, request);
      if (targets.length === 0)
        throw new Problem('already-installed', `every device has ${module}@${to} in its module table: there is nothing to do`);
      const versions = [...new Set(targets.map(({ build }) => build.version))];
      const facts = { isRollback: true, versions, ...('labels' in selector ? selector : {}) };
      const batch = { targets, module, terms, isRollback: true, rolloutId: null, facts, requester };
      const made = await createLoads(connection, batch, this.#uses.clock.now(), this.#onLoadsEnded);
      const accepted = { ...made, unchanged, skipped };
      await keepAnswer(connection, requester, answerOf, accepted);
      return accepted;
    });
  }
}

/** What becomes of each device. */
async function chooseTargets(
  connection: Connection,
  devices: readonly SelectedDevice[],
  module: string,
  to: string | null,
): Promise<Choice[]> {
  const ids = devices.map(({ id }) => id);
  const goals = to === null ? await findPreviousVersions(connection, ids, module) : await findRequestedVersion(connection, ids, module, to);
  const versions = [...new Set([...goals.values()].map(({ goal }) => goal))];
  const builds = new Map((await new BuildRecords(connection).findMany(module, versions)).map((build) => [build.version, build]));
  return devices.map((device) => {
    const found = goals.get(device.id);
    const build = builds.get(found?.goal ?? '');
    if (found === undefined || build === undefined) return { kind: 'has-none', device };
    return found.goal === found.current ? { kind: 'unchanged', device } : { kind: 'goes-back', device, build };
  });
}

type Goal = { readonly current: string; readonly goal: string };

/** Of each device that has one, the version before the one that it has. */
async function findPreviousVersions(connection: Connection, ids: readonly string[], module: string): Promise<Map<string, Goal>> {
  const loaded = Map.groupBy(await new HistoryRecords(connection).loadedVersions(ids, module, historyLimit), ({ deviceId }) => deviceId);
  return new Map(
    [...loaded].flatMap(([id, versions]) => {
      const [current, goal] = buildVersionStack(versions, versions.length < historyLimit).toReversed();
      return current === undefined || goal === undefined ? [] : [[id, { current, goal }] as const];
    }),
  );
}

/** Of each device that has had it, the version that is named. */
async function findRequestedVersion(
  connection: Connection,
  ids: readonly string[],
  module: string,
  goal: string,
): Promise<Map<string, Goal>> {
  const had = new Set(await new HistoryRecords(connection).findDevicesThatHad(ids, module, goal));
  const newest = await new HistoryRecords(connection).loadedVersions(ids, module, 1);
  return new Map(newest.flatMap(({ deviceId, version }) => (had.has(deviceId) ? [[deviceId, { current: version, goal }] as const] : [])));
}

async function nothingToRollBack(connection: Connection, without: readonly string[], { module, to }: RollbackRequest): Promise<Problem> {
  const named = (await new DeviceRecords(connection).findMany(without.slice(0, namedDeviceLimit))).map(({ name }) => name).toSorted();
  const others = without.length > namedDeviceLimit ? ` and ${without.length - namedDeviceLimit} more` : '';
  const [missing, hint] =
    to === null
      ? [`no version of ${module} before the one in memory among what their newest ${historyLimit} loads brought in`, 'Name one with "to"']
      : [`not had ${module}@${to} in memory`, `GET /v1/devices/DEVICE/modules/${module}/history lists what a device has had`];
  return new Problem(
    'nothing-to-roll-back',
    `${named.join(', ')}${others} have ${missing}; nothing was loaded anywhere. ${hint}, or leave these devices out`,
  );
}
