// What operators decide about a rollout: each is one change in one transaction, and the same once more changes nothing.

import { type AuditEntry, audit } from '../audit-events/entry.ts';
import type { Connection } from '../database/connection.ts';
import { notFound, Problem } from '../problem.ts';
import type { Requester } from '../requester.ts';
import { cancelRemaining } from './cancellation.ts';
import { rolloutLimits } from './plan.ts';
import type { RolloutRecord } from './repository.ts';
import { RolloutRecords } from './repository.ts';
import { checkNoConflict } from './requests.ts';
import { beginRollback } from './rollback.ts';
import { type RolloutView, readView } from './status.ts';
import type { RolloutState } from './steps.ts';

/** Carries a decision out on a rollout as it stands, and answers how a rollout stands then. */
export type Decision = (connection: Connection, view: RolloutView, requester: Requester, now: Date) => Promise<RolloutView>;

/** No more loads are requested, and no wave passes; loads that are under way go on. @throws {Problem} `rollout-state`. */
export const pause =
  (reason: string | null): Decision =>
  async (connection, view, requester, now) => {
    if (view.state === 'paused') return view;
    checkState(view, 'paused', ['pending', 'running', 'awaiting-approval']);
    return applyChange(connection, view, { state: 'paused', reason: reason ?? 'an operator has paused it' }, requester, now, 'paused', {
      reason,
    });
  };

/** Goes on from where it was; a wave that has failed is not judged any more. @throws {Problem} `rollout-state`. */
export const resume: Decision = async (connection, view, requester, now) => {
  const { record, wave } = view;
  if (view.state === 'running' || view.state === 'awaiting-approval') return view;
  checkState(view, 'resumed', ['paused']);
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

/** Lets a wave begin that waits for it. @throws {Problem} `rollout-state` where that wave does not. */
export const approve =
  (number: number): Decision =>
  async (connection, view, requester, now) => {
    const wave = view.waves.find((one) => one.number === number);
    if (wave?.record.approvedBy != null) return view;
    if (wave?.state !== 'awaiting-approval' || view.state !== 'awaiting-approval') {
      const waiting = view.state === 'awaiting-approval' ? `wave ${view.wave?.number} does` : `it is ${view.state}`;
      throw new Problem('rollout-state', `wave ${number} of the rollout ${view.record.id} does not wait for approval: ${waiting}`);
    }
    await new RolloutRecords(connection).updateWave(view.record.id, number, { state: 'waiting', approvedBy: requester.actor });
    return applyChange(connection, view, { state: 'running' }, requester, now, 'approved', { wave: number });
  };

/** Ends it: devices that have got the build keep it, and loads that are with their hosts go on. @throws {Problem} `rollout-state`. */
export const abort =
  (reason: string | null): Decision =>
  async (connection, view, requester, now) => {
    if (view.state === 'aborted') return view;
    checkState(view, 'aborted', ['pending', 'running', 'awaiting-approval', 'paused']);
    const { id } = view.record;
    const skipped = await cancelRemaining(connection, id, 'aborted', requester, now);
    const changes = { state: 'aborted', reason: reason ?? 'an operator has aborted it', acceptsDevicesUntil: null };
    return applyChange(connection, view, changes, requester, now, 'aborted', { reason, skipped });
  };

/**
 * Tries devices again whose loads have not succeeded, and judges their waves anew.
 * @throws {Problem} `rollout-state` where there are none, or it is rolled back or aborted; `rollout-conflict`.
 */
export const retryFailed: Decision = async (connection, view, requester, now) => {
  const { record, waves } = view;
  checkState(view, 'tried again', ['running', 'awaiting-approval', 'paused', 'completed']);
  const begun = waves.filter(({ state }) => state !== 'waiting' && state !== 'awaiting-approval').map(({ number }) => number);
  const retried = await new RolloutRecords(connection).retryFailed(record.id, begun, rolloutLimits.attempts);
  if (retried.size === 0)
    throw new Problem(
      'rollout-state',
      `no load of the rollout ${record.id} has failed that could be tried again (each may be ${rolloutLimits.attempts} times)`,
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

/** Takes every device that has got the build back to what it had. Answers the rollout that does it. @throws {Problem} `rollout-state`, `rollout-conflict`. */
export const rollBack =
  (reason: string): Decision =>
  async (connection, view, requester, now) => {
    const { record, deviceCounts, rolledBackBy } = view;
    if (view.state === 'rolling-back' && rolledBackBy !== null) return readUpdatedView(connection, rolledBackBy, now);
    if (record.rollbackOf !== null)
      throw new Problem(
        'rollout-state',
        `the rollout ${record.id} is a rollback itself: roll the version out that the devices are to have`,
      );
    checkState(view, 'rolled back', ['running', 'awaiting-approval', 'paused', 'completed', 'aborted']);
    if (deviceCounts.loaded + deviceCounts.loading === 0)
      throw new Problem('nothing-to-roll-back', `no device has got its version by the rollout ${record.id}: abort it, and it is over`);
    if (record.endedAt !== null) await checkNoConflict(connection, record);
    await beginRollback(connection, view, reason, requester, now);
    const back = await new RolloutRecords(connection).findRollbackOf(record.id);
    return readUpdatedView(connection, back?.id ?? '', now);
  };

/** No more devices join it. @throws {Problem} `rollout-state` where none do. */
export const close: Decision = async (connection, view, requester, now) => {
  const { record } = view;
  if (record.acceptsDevicesUntil === null || record.rollbackOf !== null)
    throw new Problem('rollout-state', `no devices join the rollout ${record.id}: it has those that it was requested with`);
  if (record.acceptsDevicesUntil <= now) return view;
  return applyChange(connection, view, { acceptsDevicesUntil: now }, requester, now, 'closed', {});
};

function checkState({ record, state }: RolloutView, what: string, allowed: readonly RolloutState[]): void {
  if (!allowed.includes(state))
    throw new Problem(
      'rollout-state',
      `the rollout ${record.id} cannot be ${what}: it is ${state}, and would have to be ${allowed.join(' or ')}`,
    );
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
