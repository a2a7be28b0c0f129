// Rollbacks: loads that return devices to an earlier version of a module, or to the versions before a patch set.

import type { Clock } from '../clock/service-clock.ts';
import type { Connection } from '../database/connection.ts';
import type { Store } from '../database/store.ts';
import { DeviceRecords } from '../devices/repository.ts';
import { type SelectedDevice, type Selector, selectDevices, selectorFacts } from '../devices/selection.ts';
import { storeResponse, type ToResponse } from '../idempotency/idempotency-store.ts';
import { type CreatedLoads, createLoads, type LoadTerms } from '../loads/batches.ts';
import { versionOf } from '../loads/content.ts';
import type { OnLoadsEnded } from '../loads/endings.ts';
import { checkHostsSupport } from '../loads/host-support.ts';
import { checkOpensInTime, type Hold } from '../loads/maintenance-holds.ts';
import { findSetRollbacks } from '../loads/set-rollbacks.ts';
import { PatchSetRecords } from '../patch-sets/repository.ts';
import { invalidValue, Problem } from '../problem.ts';
import type { Requester } from '../requester.ts';
import type { Choice } from './choice.ts';
import { chooseModuleTargets } from './module-targets.ts';

/** Devices that an error message names. */
const namedDeviceLimit = 10;

export type RollbackSubject =
  /** `to` is a version that the devices had; null: the version before each device's current one. */
  | { readonly kind: 'module'; readonly module: string; readonly to: string | null }
  /** Each device returns to the versions before its latest load of the patch set with this name. */
  | { readonly kind: 'patch-set'; readonly name: string };

export type RollbackRequest = Omit<LoadTerms, 'versionPolicy' | 'downgradeReason'> & {
  readonly subject: RollbackSubject;
  readonly selector: Selector;
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

/** What a rollback would do on one device. */
export type PreviewedRollback = {
  readonly choice: Choice;
  readonly name: string;
  /** Why the load would be held; null: it would be sent at once, or there is none. */
  readonly hold: Hold | null;
};

/** What decides about the devices of a rollback, and about the holds of their loads. */
type PreviewRequest = Pick<RollbackRequest, 'subject' | 'selector' | 'deadlineSeconds' | 'overrideMaintenanceWindow'>;

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
   * @throws {Problem} `invalid-value`, `nothing-to-roll-back`, `already-installed`, `unsupported-by-host`, `busy`, `windows-closed`.
   */
  async request(request: RollbackRequest, requester: Requester, toResponse: ToResponse<CreatedRollback>): Promise<CreatedRollback> {
    const { subject, selector, reason, onMissingVersion, ...how } = request;
    const terms = { ...how, versionPolicy: 'downgrade' as const, downgradeReason: reason };
    return this.#uses.store.transaction(async (connection) => {
      const choices = await chooseTargets(connection, await selectDevices(connection, selector), subject);
      const targets = choices.filter((choice) => choice.kind === 'target');
      const unchanged = choices.flatMap(({ kind, device }) => (kind === 'unchanged' ? [device.id] : []));
      const missing = choices.filter((choice) => choice.kind === 'missing');
      if (missing.length > 0 && (onMissingVersion === 'reject' || targets.length === 0))
        throw await nothingToRollBack(connection, missing, subject, targets.length > 0);
      if (targets.length === 0) throw alreadyInstalled(subject);
      if (subject.kind === 'patch-set') await checkHostsSupport(connection, targets, 'load-patch-set');
      const versions = [...new Set(targets.map(({ content }) => versionOf(content)))];
      const selection = selectorFacts(selector);
      const facts = { isRollback: true, versions, ...selection };
      const module = nameOf(subject);
      const batch = { targets, module, terms, isRollback: true, rolloutId: null, selection, facts, requester };
      const created = await createLoads(connection, batch, this.#uses.clock.now(), this.#onLoadsEnded);
      const accepted = { ...created, unchanged, skipped: missing.map(({ device }) => device.id) };
      await storeResponse(connection, requester, toResponse, accepted);
      return accepted;
    });
  }

  /** Returns what a rollback would do on each device, without creating loads. @throws {Problem} `invalid-value`, `windows-closed`. */
  async preview({ subject, selector, ...terms }: PreviewRequest): Promise<PreviewedRollback[]> {
    const connection = this.#uses.store.readConnection;
    const choices = await chooseTargets(connection, await selectDevices(connection, selector), subject);
    const targets = choices.filter(({ kind }) => kind === 'target');
    const closedOn = await checkOpensInTime(connection, { targets, terms }, this.#uses.clock.now());
    const named = await new DeviceRecords(connection).findMany(choices.map(({ device }) => device.id));
    const names = new Map(named.map(({ id, name }) => [id, name]));
    return choices.map((choice) => {
      const isSent = choice.kind !== 'target' || terms.overrideMaintenanceWindow !== null;
      return { choice, name: names.get(choice.device.id) ?? '', hold: isSent ? null : closedOn(choice.device.id) };
    });
  }
}

function nameOf(subject: RollbackSubject): string {
  return subject.kind === 'module' ? subject.module : subject.name;
}

/** Returns the rollback target of each device. */
function chooseTargets(connection: Connection, devices: readonly SelectedDevice[], subject: RollbackSubject): Promise<Choice[]> {
  return subject.kind === 'module'
    ? chooseModuleTargets(connection, devices, subject)
    : chooseSetTargets(connection, devices, subject.name);
}

async function chooseSetTargets(connection: Connection, devices: readonly SelectedDevice[], name: string): Promise<Choice[]> {
  if ((await new PatchSetRecords(connection).modulesOf(name)).length === 0)
    throw invalidValue('/patchSet', `the patch set ${name} does not exist: correct the name`);
  const ids = devices.map(({ id }) => id);
  const rollbacks = await findSetRollbacks(connection, ids, name);
  return devices.flatMap((device): Choice[] => {
    const found = rollbacks.get(device.id);
    if (found === undefined) return [];
    if (found.kind === 'impossible') return [{ kind: 'missing', device, reason: found.reason }];
    const changes = found.changes.map(({ module, version, previous }) => ({ module, current: version, target: previous }));
    return [{ kind: 'target', device, content: found.content, changes }];
  });
}

function alreadyInstalled(subject: RollbackSubject): Problem {
  if (subject.kind === 'patch-set') throw new Error('every device has a rollback of the patch set, or a reason why not');
  return new Problem('already-installed', `every selected device already runs ${subject.module}@${subject.to}`);
}

type Missing = Extract<Choice, { kind: 'missing' }>;

/** Returns the problem of devices without a version to return to; the message names the first ones with their reasons. */
async function nothingToRollBack(
  connection: Connection,
  missing: readonly Missing[],
  subject: RollbackSubject,
  canSkip: boolean,
): Promise<Problem> {
  const some = missing.slice(0, namedDeviceLimit);
  const named = await new DeviceRecords(connection).findMany(some.map(({ device }) => device.id));
  const reasons = new Map(some.map(({ device, reason }) => [device.id, reason]));
  const groups = [...Map.groupBy(named, ({ id }) => reasons.get(id) ?? '')];
  const texts = groups.map(([reason, devices]) => describeMissing(reason, devices.map(({ name }) => name).toSorted(), subject));
  const others = missing.length > namedDeviceLimit ? ` and ${missing.length - namedDeviceLimit} more` : '';
  return new Problem('nothing-to-roll-back', `${texts.join('; ')}${others}; no load was created${adviceOn(subject, canSkip)}`);
}

function describeMissing(reason: string, names: readonly string[], { kind }: RollbackSubject): string {
  return kind === 'module' ? `${reason} on ${names.join(', ')}` : `${names.join(', ')}: ${reason}`;
}

/** @param canSkip Whether other devices have a version to return to. */
function adviceOn(subject: RollbackSubject, canSkip: boolean): string {
  const skip = 'use "onMissingVersion": "skip" to roll back only the other devices';
  if (subject.kind === 'patch-set') return canSkip ? `. Change these devices first, or ${skip}` : '';
  const advice = subject.to === null ? '. Name a version' : '. See the history of the module on the device';
  return canSkip ? `${advice}, or ${skip}` : advice;
}
