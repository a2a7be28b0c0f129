// Operators' decisions about a rollout. Each is one idempotent change in one transaction.

import { type AuditEntry, audit } from '../audit-events/entry.ts';
import type { Connection } from '../database/connection.ts';
import { notFound, Problem } from '../problem.ts';
import type { Requester } from '../requester.ts';
import { cancelRemaining } from './cancellation.ts';
import { checkRolloutUsable } from './content.ts';
import { rolloutLimits } from './plan.ts';
import type { RolloutRecord } from './repository.ts';
import { RolloutRecords } from './repository.ts';
import { checkNoConflict } from './requests.ts';
import { beginRollback } from './rollback.ts';
import { type RolloutView, readView } from './status.ts';
import type { RolloutState } from './steps.ts';

/** Applies a decision to a rollout and returns the rollout as it is afterwards. */
export type Decision = (connection: Connection, view: RolloutView, requester: Requester, now: Date) => Promise<RolloutView>;

/** Stops requesting loads and passing waves; loads in progress continue. @throws {Problem} `rollout-state`. */
export const pause =
  (reason: string | null): Decision =>
  async (connection, view, requester, now) => {
    if (view.state === 'paused') return view;
    checkState(view, 'paused', ['pending', 'running', 'awaiting-approval']);
    return applyChange(connection, view, { state: 'paused', reason: reason ?? 'paused by an operator' }, requester, now, 'paused', {
      reason,
    });
  };

/** Resumes a paused rollout; the failure of the current wave is ignored. @throws {Problem} `rollout-state`, `build-yanked`. */
export const resume: Decision = async (connection, view, requester, now) => {
  const { record, wave } = view;
  if (view.state === 'running' || view.state === 'awaiting-approval') return view;
  checkState(view, 'resumed', ['paused']);
  await checkRolloutUsable(connection, record, view.patchSet);
  const hasFailed = wave?.state === 'failed';
  if (wave !== null && hasFailed)
    await new RolloutRecords(connection).updateWave(record.id, wave.number, { state: 'loading', failureIgnored: true });
  const state = record.startedAt === null ? 'pending' : wave?.state === 'awaiting-approval' ? 'awaiting-approval' : 'running';
  return applyChange(
    connection,
    view,
    { state, reason: null },
    requester,
    now,
    'resumed',
    hasFailed ? { despite: wave.record.failure } : {},
  );
};

/** Approves a wave. @throws {Problem} `rollout-state` if the wave is not awaiting approval. */
export const approve =
  (number: number): Decision =>
  async (connection, view, requester, now) => {
    const wave = view.waves.find((candidate) => candidate.number === number);
    if (wave?.record.approvedBy != null) return view;
    if (wave?.state !== 'awaiting-approval' || view.state !== 'awaiting-approval') {
      const actual = view.state === 'awaiting-approval' ? `wave ${view.wave?.number} is` : `the rollout is ${view.state}`;
      throw new Problem('rollout-state', `wave ${number} of rollout ${view.record.id} is not awaiting approval: ${actual}`);
    }
    await new RolloutRecords(connection).updateWave(view.record.id, number, { state: 'waiting', approvedBy: requester.actor });
    return applyChange(connection, view, { state: 'running' }, requester, now, 'approved', { wave: number });
  };

/** Ends a rollout: devices keep the build, and loads that were sent to their hosts continue. @throws {Problem} `rollout-state`. */
export const abort =
  (reason: string | null): Decision =>
  async (connection, view, requester, now) => {
    if (view.state === 'aborted') return view;
    checkState(view, 'aborted', ['pending', 'running', 'awaiting-approval', 'paused']);
    const { id } = view.record;
    const skipped = await cancelRemaining(connection, id, 'aborted', requester, now);
    const changes = { state: 'aborted', reason: reason ?? 'aborted by an operator', acceptsDevicesUntil: null };
    return applyChange(connection, view, changes, requester, now, 'aborted', { reason, skipped });
  };

/**
 * Retries the failed loads and evaluates their waves again.
 * @throws {Problem} `rollout-state` if no load can be retried, or the rollout was rolled back or aborted; `rollout-conflict`, `build-yanked`.
 */
export const retryFailed: Decision = async (connection, view, requester, now) => {
  const { record, waves } = view;
  checkState(view, 'retried', ['running', 'awaiting-approval', 'paused', 'completed']);
  await checkRolloutUsable(connection, record, view.patchSet);
  const begun = waves.filter(({ state }) => state !== 'waiting' && state !== 'awaiting-approval').map(({ number }) => number);
  const retried = await new RolloutRecords(connection).retryFailed(record.id, begun, rolloutLimits.attempts);
  if (retried.size === 0)
    throw new Problem(
      'rollout-state',
      `rollout ${record.id} has no failed load to retry (limit: ${rolloutLimits.attempts} attempts per device)`,
    );
  for (const number of retried.keys())
    await new RolloutRecords(connection).updateWave(record.id, number, {
      state: 'loading',
      failure: null,
      failureIgnored: false,
      soakUntil: null,
      endedAt: null,
    });
  const changes = { state: 'running', reason: null, endedAt: null };
  const devices = [...retried.values()].reduce((total, count) => total + count, 0);
  if (record.endedAt !== null) await checkNoConflict(connection, record);
  return applyChange(connection, view, changes, requester, now, 'retried', { devices });
};

/**
 * Rolls every device of a rollout back to its previous version. Returns the rollout that performs the rollback.
 * @throws {Problem} `rollout-state`, `rollout-conflict`, `nothing-to-roll-back`.
 */
export const rollBack =
  (reason: string): Decision =>
  async (connection, view, requester, now) => {
    const { record, deviceCounts, rolledBackBy } = view;
    if (view.state === 'rolling-back' && rolledBackBy !== null) return readUpdatedView(connection, rolledBackBy, now);
    if (record.rollbackOf !== null)
      throw new Problem(
        'rollout-state',
        `rollout ${record.id} is a rollback and cannot be rolled back: create a rollout of the version that the devices should run`,
      );
    checkState(view, 'rolled back', ['running', 'awaiting-approval', 'paused', 'completed', 'aborted']);
    if (deviceCounts.loaded + deviceCounts.loading === 0)
      throw new Problem('nothing-to-roll-back', `no device has loaded the version of rollout ${record.id}: abort the rollout instead`);
    if (record.endedAt !== null) await checkNoConflict(connection, record);
    await beginRollback(connection, view, reason, requester, now);
    const rollback = await new RolloutRecords(connection).findRollbackOf(record.id);
    return readUpdatedView(connection, rollback?.id ?? '', now);
  };

/** Closes a dynamic rollout to new devices. @throws {Problem} `rollout-state` if the rollout is not dynamic. */
export const close: Decision = async (connection, view, requester, now) => {
  const { record } = view;
  if (record.acceptsDevicesUntil === null || record.rollbackOf !== null)
    throw new Problem('rollout-state', `rollout ${record.id} is not dynamic: its devices are fixed`);
  if (record.acceptsDevicesUntil <= now) return view;
  return applyChange(connection, view, { acceptsDevicesUntil: now }, requester, now, 'closed', {});
};

function checkState({ record, state }: RolloutView, change: string, allowed: readonly RolloutState[]): void {
  if (!allowed.includes(state))
    throw new Problem('rollout-state', `rollout ${record.id} cannot be ${change}: its state is ${state}, expected ${allowed.join(' or ')}`);
}

async function applyChange(
  connection: Connection,
  { record }: RolloutView,
  changes: Partial<Omit<RolloutRecord, 'id' | 'plan'>>,
  requester: Requester,
  now: Date,
  action: string,
  detail: AuditEntry['detail'],
): Promise<RolloutView> {
  await new RolloutRecords(connection).update(record.id, changes);
  await audit(connection, requester, now, [{ action: `rollout.${action}`, object: record.id, detail }]);
  return readUpdatedView(connection, record.id, now);
}

async function readUpdatedView(connection: Connection, id: string, now: Date): Promise<RolloutView> {
  const record = await new RolloutRecords(connection).find(id);
  if (record === null) throw notFound('rollout', id);
  return readView(connection, record, now);
}
