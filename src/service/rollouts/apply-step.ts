// Plans and applies one step of a rollout. The step and its audit event are written in the same transaction.

import type { Span } from '../../tracing/tracer.ts';
import { type AuditEntry, audit } from '../audit-events/entry.ts';
import type { Connection } from '../database/connection.ts';
import { systemActor } from '../requester.ts';
import { requestLoads } from './load-requests.ts';
import { RolloutRecords } from './repository.ts';
import { applyRollbackStep, beginRollback, nextRollbackStep, type RollbackStep } from './rollback.ts';
import { type RolloutView, readView } from './status.ts';
import type { Step } from './steps.ts';

/** The status of a rollout and its next step. */
export type PlannedStep = { readonly view: RolloutView; readonly step: Step | RollbackStep | { readonly kind: 'end' }; readonly now: Date };

/** Returns the next step of a rollout; null if the rollout has ended. */
export async function planNextStep(connection: Connection, id: string, now: Date): Promise<PlannedStep | null> {
  const record = await new RolloutRecords(connection).find(id);
  if (record === null || record.endedAt !== null) return null;
  const view = await readView(connection, record, now);
  if (view.state === 'rolling-back') return { view, step: (await nextRollbackStep(connection, view, now)) ?? view.step, now };
  if (view.state === 'aborted') return { view, step: view.deviceCounts.loading > 0 ? { kind: 'none' } : { kind: 'end' }, now };
  return { view, step: view.step, now };
}

export const isActionable = ({ kind }: PlannedStep['step']) => kind !== 'wait' && kind !== 'none';

/** @param span The span of the step, which orders continue; null without a tracer. */
export async function applyStep(connection: Connection, { view, step, now }: PlannedStep, span: Span | null): Promise<void> {
  const { record, plan } = view;
  const { id } = record;
  const log = (action: string, detail: AuditEntry['detail'], outcome: AuditEntry['outcome'] = 'succeeded') =>
    audit(connection, systemActor, now, [{ action: `rollout.${action}`, object: id, outcome, detail }]);
  switch (step.kind) {
    case 'wait':
    case 'none':
      return;
    case 'add-devices':
    case 'close-rollback':
    case 'end-rollback':
      await applyRollbackStep(connection, view, step, now);
      return;
    case 'end':
      await new RolloutRecords(connection).update(id, { endedAt: now });
      return;
    case 'start':
      await new RolloutRecords(connection).update(id, { state: 'running', startedAt: now });
      await log('started', { module: record.module, version: record.version, ...(record.patchSetId && { patchSet: record.patchSetId }) });
      return;
    case 'ask-approval':
      await new RolloutRecords(connection).updateWave(id, step.wave, { state: 'awaiting-approval' });
      await new RolloutRecords(connection).update(id, { state: 'awaiting-approval' });
      await log('awaits-approval', { wave: step.wave });
      return;
    case 'begin-wave':
      await new RolloutRecords(connection).updateWave(id, step.wave, { state: 'loading', startedAt: now });
      await log('wave-began', { wave: step.wave, devices: view.wave?.results.devices ?? 0 });
      return;
    case 'request-loads':
      await requestLoads(connection, view, step, now, span);
      return;
    case 'begin-soak': {
      const { results, plan: wave } = view.wave ?? {};
      // A wave without a loaded device has nothing to observe.
      const seconds = results === undefined || results.loaded === 0 ? 0 : (wave?.soakSeconds ?? 0);
      await new RolloutRecords(connection).updateWave(id, step.wave, {
        state: 'soaking',
        soakUntil: new Date(now.getTime() + seconds * 1_000),
      });
      await log('wave-loaded', { wave: step.wave, soakSeconds: seconds });
      return;
    }
    case 'pass-wave':
      await new RolloutRecords(connection).updateWave(id, step.wave, { state: 'passed', endedAt: now });
      await log('wave-passed', { wave: step.wave });
      return;
    case 'fail-wave': {
      const { wave } = step;
      const failure = describeFailure(view, step.failure);
      await log('wave-failed', { wave, failure, onFailure: plan.onFailure }, 'failed');
      if (plan.onFailure === 'continue') {
        await new RolloutRecords(connection).updateWave(id, wave, { failureIgnored: true, failure });
        return;
      }
      await new RolloutRecords(connection).updateWave(id, wave, { state: 'failed', failure });
      const reason = `wave ${wave} failed: ${failure}`;
      if (plan.onFailure === 'rollback') {
        await beginRollback(connection, view, reason, systemActor, now);
        return;
      }
      await new RolloutRecords(connection).update(id, { state: 'paused', reason });
      await log('paused', { reason });
      return;
    }
    case 'complete':
      await new RolloutRecords(connection).update(id, { state: 'completed', endedAt: now });
      await log('completed', { loaded: view.deviceCounts.loaded, failed: view.deviceCounts.failed, skipped: view.deviceCounts.skipped });
      return;
  }
}

/** Returns why a wave failed; of a patch set with its name. */
function describeFailure({ patchSet }: RolloutView, failure: string): string {
  return patchSet === null ? failure : `${patchSet.name}@${patchSet.version}: ${failure}`;
}
