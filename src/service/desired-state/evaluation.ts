// Evaluates devices: which assignments decide for each, and whether it has the desired version, gets it, or cannot have it and why.

import { isDeepStrictEqual } from 'node:util';
import { matchesLabelSelector } from '../../protocol/label-selector.ts';
import type { Connection } from '../database/connection.ts';
import { DeviceRecords } from '../devices/repository.ts';
import { findHostsWithout, unsupportedReason } from '../loads/host-support.ts';
import { auditOutcomeOf } from '../loads/outcomes.ts';
import { isDue, nextAttemptTime, revertedWithin } from './back-off.ts';
import { type Comparison, compareWithTarget, type InstalledVersions } from './comparison.ts';
import { decide, type Overridden } from './precedence.ts';
import { type AssignmentRow, DesiredStateRecords, type DesiredStateRow, type EndedLoad, type ExaminedDevice } from './repository.ts';
import type { ActiveAssignment } from './targets.ts';

export const deviceStates = ['satisfied', 'pending', 'unsatisfied'] as const;

/** Why a device waits. Loads and rollouts that others requested count too. */
export const pendingReasons = ['waiting', 'loading', 'rollout', 'unreachable'] as const;
/** Why a device is not satisfied, besides the outcomes of its load. */
export const unsatisfiedReasons = [
  'no-version',
  'rollout-stopped',
  'newer-installed',
  'reverted',
  'report-only',
  'unsupported-by-host',
  'queue-full',
] as const;

/** The state of a device under an assignment that decides for it. */
export type Evaluation = {
  readonly assignment: ActiveAssignment;
  readonly device: ExaminedDevice;
  readonly state: DesiredStateRow;
  /** Whether a load for it may be requested now. */
  readonly needsLoad: boolean;
};

/** What is known of a device that does not have the desired version. */
type Progress = {
  /** The state at the last examination, of the same version. */
  readonly last: DesiredStateRow | null;
  /** The end of the load that the assignment requested last; null if there is none. */
  readonly end: { readonly outcome: string | null; readonly reason: string | null } | null;
  /** The loads of the assignment that brought the version, which the device has lost again. */
  readonly reverted: readonly EndedLoad[];
  /** An open load of one of the modules. */
  readonly openLoad: string | null;
  /** An open rollout of one of the modules in which the device is. */
  readonly openRollout: string | null;
  /** Why its host cannot execute the load. */
  readonly unsupported: string | null;
};

/** The assignments that decide for one device, and those that do not. */
export type Decision = {
  readonly device: ExaminedDevice;
  readonly installed: InstalledVersions;
  readonly deciding: readonly ActiveAssignment[];
  readonly overridden: readonly Overridden<ActiveAssignment>[];
};

/** Returns the assignments that decide for devices. None decides for a decommissioned device. */
export async function decideForDevices(
  connection: Connection,
  assignments: readonly ActiveAssignment[],
  devices: readonly ExaminedDevice[],
): Promise<Decision[]> {
  const ids = devices.map(({ id }) => id);
  const records = new DeviceRecords(connection);
  const labels = await records.labelsOf(ids);
  const modules = Map.groupBy(await records.modulesOf(ids), ({ deviceId }) => deviceId);
  return devices.map((device) => {
    const ofDevice = new Map(Object.entries(labels.get(device.id) ?? {}));
    const matching = device.isDecommissioned ? [] : assignments.filter(({ selector }) => matchesLabelSelector(selector, ofDevice));
    const installed = new Map((modules.get(device.id) ?? []).map(({ module, version }) => [module, version]));
    return { device, installed, ...decide(matching) };
  });
}

/** Evaluates devices under the assignments that decide for them. @param last Their states at the last examination. */
export async function evaluate(
  connection: Connection,
  decisions: readonly Decision[],
  last: readonly DesiredStateRow[],
  now: Date,
): Promise<Evaluation[]> {
  const known = new Map(last.map((state) => [keyOf(state.deviceId, state.assignmentId), state]));
  const compared = decisions.flatMap(({ device, installed, deciding }) =>
    deciding.map((assignment) => {
      const state = known.get(keyOf(device.id, assignment.id)) ?? null;
      const isCurrent = state !== null && state.version === (assignment.target?.version ?? '');
      return { device, assignment, comparison: compareWithTarget(assignment, installed), last: isCurrent ? state : null };
    }),
  );
  const progressOf = await readProgress(
    connection,
    compared.filter(({ comparison }) => comparison.kind === 'older'),
    now,
  );
  return compared.map(({ device, assignment, comparison, last: before }) => {
    const progress = progressOf(device, assignment, before);
    const { needsLoad = false, ...state } = stateOf(assignment, device, comparison, progress, now);
    const row = { deviceId: device.id, assignmentId: assignment.id, version: assignment.target?.version ?? '', ...state };
    return { assignment, device, state: row, needsLoad };
  });
}

const keyOf = (deviceId: string, assignmentId: string) => `${deviceId} ${assignmentId}`;

/** Returns the states that differ from those at the last examination. */
export function changedStates(evaluations: readonly Evaluation[], last: readonly DesiredStateRow[]): DesiredStateRow[] {
  const known = new Map(last.map((state) => [keyOf(state.deviceId, state.assignmentId), state]));
  return evaluations.flatMap(({ state }) => {
    const before = known.get(keyOf(state.deviceId, state.assignmentId));
    return before !== undefined && isDeepStrictEqual({ ...before }, state) ? [] : [state];
  });
}

type Compared = { readonly device: ExaminedDevice; readonly assignment: ActiveAssignment; readonly last: DesiredStateRow | null };

/** Reads the loads and rollouts of devices that do not have the desired version. */
async function readProgress(
  connection: Connection,
  different: readonly Compared[],
  now: Date,
): Promise<(device: ExaminedDevice, assignment: ActiveAssignment, last: DesiredStateRow | null) => Progress> {
  const records = new DesiredStateRecords(connection);
  const ids = [...new Set(different.map(({ device }) => device.id))];
  const assignments = [...new Set(different.map(({ assignment }) => assignment.id))];
  const ended = Map.groupBy(
    await records.endedLoads(ids, assignments, new Date(now.getTime() - revertedWithin)),
    ({ deviceId }) => deviceId,
  );
  const loads = Map.groupBy(await records.openLoads(ids), ({ deviceId }) => deviceId);
  const rollouts = Map.groupBy(await records.openRollouts(ids), ({ deviceId }) => deviceId);
  const setsOf = await records.modulesOfSets([...new Set([...rollouts.values()].flat().flatMap(({ patchSetId }) => patchSetId ?? []))]);
  const ends = await records.outcomesOf(different.flatMap(({ last }) => (last?.nextAttemptAt === null ? (last.loadId ?? []) : [])));
  const withSets = different.filter(({ assignment }) => assignment.row.kind === 'patch-set').map(({ device }) => device);
  const hostsWithout = await findHostsWithout(connection, withSets, 'load-patch-set');
  return (device, { id: assignmentId, modules, row, target }, last) => {
    const { id, hostId } = device;
    const reverted = (ended.get(id) ?? []).filter((load) => isOf(load, assignmentId, row) && load.version === target?.version);
    // A load of a patch set counts for every module: it changes several, and it is short.
    const openLoad = (loads.get(id) ?? []).find(({ kind, module }) => kind === 'patch-set' || modules.includes(module));
    const openRollout = (rollouts.get(id) ?? []).find(({ module, patchSetId }) =>
      (patchSetId === null ? [module] : (setsOf.get(patchSetId) ?? [])).some((changed) => modules.includes(changed)),
    );
    const host = row.kind === 'patch-set' ? hostsWithout.get(hostId) : undefined;
    return {
      last,
      end: last?.nextAttemptAt === null ? (ends.get(last.loadId ?? '') ?? null) : null,
      reverted,
      openLoad: openLoad?.id ?? null,
      openRollout: openRollout?.id ?? null,
      unsupported: host === undefined ? null : unsupportedReason(host, 'load-patch-set'),
    };
  };
}

/** Returns whether a load succeeded and was requested by an assignment for its current module or patch set. */
function isOf(load: EndedLoad, assignmentId: string, { kind, content }: AssignmentRow): boolean {
  const isOwn = load.requestedBy === assignmentId && load.kind === kind && load.module === content;
  return isOwn && load.outcome !== null && !isFailure(load.outcome);
}

type State = Omit<DesiredStateRow, 'deviceId' | 'assignmentId' | 'version'> & { readonly needsLoad?: true };

const noAttempts = { loadId: null, attempts: 0, nextAttemptAt: null };

/** Returns the state of a device under an assignment that decides for it. */
function stateOf(
  { row, target, held }: ActiveAssignment,
  { isConnected }: ExaminedDevice,
  comparison: Comparison,
  progress: Progress,
  now: Date,
): State {
  if (comparison.kind === 'equal') return { state: 'satisfied', reason: '', detail: null, ...noAttempts };
  if (target === null) {
    const [first] = held;
    if (first === undefined) return unsatisfied('no-version', null);
    const detail = `the rollout ${first.rolloutId} of ${row.content}@${first.version}`;
    return first.rollout === 'open' ? pending('rollout', detail) : unsatisfied('rollout-stopped', detail);
  }
  if (comparison.kind === 'newer') return unsatisfied('newer-installed', comparison.detail);
  if (row.mode === 'report') return unsatisfied('report-only', comparison.detail);
  return progressState(comparison.detail, isConnected, progress, now);
}

const pending = (reason: (typeof pendingReasons)[number], detail: string | null): State => ({
  state: 'pending',
  reason,
  detail,
  ...noAttempts,
});
const unsatisfied = (reason: (typeof unsatisfiedReasons)[number], detail: string | null): State => ({
  state: 'unsatisfied',
  reason,
  detail,
  ...noAttempts,
});

/** Returns the state of a device that needs a load: after a failed one, it waits for its next attempt. */
function progressState(detail: string, isConnected: boolean, progress: Progress, now: Date): State {
  const { last, end, reverted, openLoad, openRollout, unsupported } = progress;
  const attempts = { loadId: null, attempts: last?.attempts ?? 0, nextAttemptAt: null };
  if (last !== null && end !== null) {
    if (end.outcome === null) return { ...lastState(last), loadId: last.loadId, nextAttemptAt: null };
    if (isFailure(end.outcome)) return failedState(last, { reason: end.outcome, detail: end.reason }, now);
  }
  const isWaitingForRetry = last !== null && last.nextAttemptAt !== null;
  if (isWaitingForRetry && !isDue(last.nextAttemptAt ?? now, now)) return lastState(last);
  if (openLoad !== null) return { ...pending('loading', `the load ${openLoad}`), ...attempts };
  if (openRollout !== null) return { ...pending('rollout', `the rollout ${openRollout}`), ...attempts };
  if (!isConnected) return { ...pending('unreachable', detail), ...attempts };
  if (unsupported !== null) return { ...unsatisfied('unsupported-by-host', unsupported), ...attempts };
  if (isWaitingForRetry) return { ...lastState(last), needsLoad: true };
  return revertedState(detail, reverted, now) ?? { ...pending('waiting', detail), ...attempts, needsLoad: true };
}

const endOf = ({ completedAt }: EndedLoad) => completedAt?.getTime() ?? 0;

/** Returns the state of a device that had the version and lost it, for example by a rollback; null if its next load is due. */
function revertedState(detail: string, reverted: readonly EndedLoad[], now: Date): State | null {
  const [last] = reverted.toSorted((left, right) => endOf(right) - endOf(left));
  if (last === undefined) return null;
  const nextAttemptAt = nextAttemptTime(reverted.length, last.completedAt ?? now);
  if (isDue(nextAttemptAt, now)) return null;
  const loads = `${reverted.length} ${reverted.length === 1 ? 'load' : 'loads'}`;
  const history = `It had the version after ${loads} of the assignment in the last 24 hours`;
  return { ...unsatisfied('reverted', `${detail}. ${history}`), loadId: last.id, nextAttemptAt };
}

const isFailure = (outcome: string) => auditOutcomeOf(outcome) !== 'succeeded' || outcome === 'cancelled' || outcome === 'superseded';

function lastState({ state, reason, detail, loadId, attempts, nextAttemptAt }: DesiredStateRow): State {
  return { state, reason, detail, loadId, attempts, nextAttemptAt };
}

/** Returns the state after an attempt that did not succeed. */
export function failedState(
  { loadId, attempts: before }: Pick<DesiredStateRow, 'loadId' | 'attempts'>,
  { reason, detail }: Pick<DesiredStateRow, 'reason' | 'detail'>,
  now: Date,
): Omit<DesiredStateRow, 'deviceId' | 'assignmentId' | 'version'> {
  const attempts = before + 1;
  return { state: 'unsatisfied', reason, detail, loadId, attempts, nextAttemptAt: nextAttemptTime(attempts, now) };
}
