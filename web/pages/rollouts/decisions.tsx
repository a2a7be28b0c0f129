// Actions of an operator on a rollout, each with a confirmation dialog.

import { useState } from 'preact/hooks';
import { type Client, unwrapResponse } from '../../../src/client/client.ts';
import { Dialog } from '../../components/dialog.tsx';
import { Text } from '../../components/fields.tsx';
import { counted } from '../../components/numbers.ts';
import { FailureNotice } from '../../components/resource-view.tsx';
import { navigate } from '../../navigation/location.ts';
import { rolloutPath } from '../../navigation/paths.ts';
import { useAction } from '../../session/action.ts';
import { rolloutName } from '../../session/names.ts';
import { useSignedIn } from '../../session/session.tsx';
import type { Rollout } from './rollout-text.ts';

export type Decision =
  | { readonly kind: 'pause' | 'resume' | 'retry-failed' | 'close' | 'abort' | 'rollback' }
  | { readonly kind: 'approve'; readonly wave: number };
type Kind = Decision['kind'];

const labels = {
  approve: 'Approve wave',
  resume: 'Resume',
  'retry-failed': 'Retry failed loads',
  pause: 'Pause',
  close: 'Close to new devices',
  abort: 'Abort',
  rollback: 'Roll back',
} as const satisfies Record<Kind, string>;

export const labelOf = (decision: Decision) => (decision.kind === 'approve' ? `${labels.approve} ${decision.wave}` : labels[decision.kind]);

/** Whether a failed wave waits for an operator. Resuming such a rollout loads the build on more devices despite the failure. */
const hasFailed = ({ state, waves }: Rollout) => state === 'paused' && waves.some((wave) => wave.state === 'failed');

/** Returns the primary action; null if no action is preferred. After a failure, the primary action never loads the build on more devices. */
export function mainDecision(rollout: Rollout): Decision | null {
  const kinds: readonly Kind[] = hasFailed(rollout) ? ['rollback', 'retry-failed'] : ['approve', 'resume'];
  const decisions = decisionsOn(rollout);
  return kinds.flatMap((kind) => decisions.find((decision) => decision.kind === kind) ?? [])[0] ?? null;
}

/** Returns the actions that are valid in the rollout's state. The service decides finally. */
export function decisionsOn(rollout: Rollout): Decision[] {
  const { state, wave, waves, deviceCounts, acceptsDevices, rollbackOf } = rollout;
  const waiting = waves.find((one) => one.state === 'awaiting-approval');
  const isOpen = state === 'pending' || state === 'running' || state === 'awaiting-approval' || state === 'paused';
  const mayBeRetried = (isOpen && state !== 'pending') || state === 'completed';
  const mayGoBack = mayBeRetried || state === 'aborted';
  const has = (isThere: boolean, decision: Decision) => (isThere ? [decision] : []);
  const resume = has(state === 'paused', { kind: 'resume' });
  const rollback = has(mayGoBack && rollbackOf === null && deviceCounts.loaded + deviceCounts.loading > 0, { kind: 'rollback' });
  return [
    ...(hasFailed(rollout) ? rollback : []),
    ...has(state === 'awaiting-approval' && waiting !== undefined, { kind: 'approve', wave: waiting?.number ?? wave ?? 0 }),
    ...(hasFailed(rollout) ? [] : resume),
    ...has(mayBeRetried && deviceCounts.failed > 0, { kind: 'retry-failed' }),
    ...has(isOpen && state !== 'paused', { kind: 'pause' }),
    ...has(acceptsDevices && rollbackOf === null, { kind: 'close' }),
    ...has(isOpen, { kind: 'abort' }),
    ...(hasFailed(rollout) ? resume : rollback),
  ];
}

/** Describes the effect of an action. */
function consequenceOf(decision: Decision, { waves, deviceCounts, onFailure }: Rollout): string {
  switch (decision.kind) {
    case 'approve': {
      const devices = waves.find(({ number }) => number === decision.wave)?.devices ?? 0;
      return `Wave ${decision.wave} starts and loads the build on ${counted(devices, 'device')}.`;
    }
    case 'pause':
      return 'The rollout requests no more loads and starts no wave. Running loads continue.';
    case 'resume':
      return waves.some(({ state }) => state === 'failed')
        ? 'The rollout resumes and ignores the failure: the remaining devices of the failed wave get the build, and the next wave follows.'
        : 'The rollout resumes.';
    case 'retry-failed':
      return `Retries the loads of ${counted(deviceCounts.failed, 'device')} and evaluates their waves again (on failure: ${onFailure}).`;
    case 'close':
      return 'No more devices join the rollout. It ends when its current devices are done.';
    case 'abort':
      return 'The rollout ends. Devices with the build keep it. Queued loads are cancelled.';
    case 'rollback':
      return `A new rollout restores the previous version on every device that got the build (${counted(deviceCounts.loaded, 'device')} now).`;
  }
}

type Parts = {
  readonly rollout: Rollout;
  readonly decision: Decision;
  readonly onClose: () => void;
  readonly onDone: () => void;
};

export function DecisionDialog({ rollout, decision, onClose, onDone }: Parts) {
  const { client } = useSignedIn();
  const [reason, setReason] = useState('');
  const { kind } = decision;
  const deciding = useAction(
    (headers) => decide(client, rollout.id, decision, reason.trim(), headers),
    (response) => {
      onDone();
      if (kind === 'rollback') navigate(rolloutPath(response.id));
    },
  );
  const submit = (event: Event) => {
    event.preventDefault();
    deciding.run();
  };
  const label = labelOf(decision);
  return (
    <Dialog heading={`${label}: ${rolloutName(rollout)}`} onClose={onClose}>
      <form onSubmit={submit}>
        <p>{consequenceOf(decision, rollout)}</p>
        {(kind === 'pause' || kind === 'abort') && (
          <Text label="Reason (recorded in the audit trail)" value={reason} onChange={setReason} />
        )}
        {kind === 'rollback' && <Text label="Reason" placeholder="1.1.0 drops packets" required value={reason} onChange={setReason} />}
        {deciding.failure !== null && <FailureNotice failure={deciding.failure} />}
        <div class="buttons">
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" class="main" disabled={deciding.isUnderWay}>
            {deciding.isUnderWay ? 'Sending…' : label}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

type Headers = { readonly 'Idempotency-Key': string };

/** Executes an action. Returns the changed rollout, or the new rollout of a rollback. */
async function decide(client: Client, id: string, decision: Decision, reason: string, headers: Headers): Promise<Rollout> {
  const params = { path: { rollout: id } };
  const given = reason === '' ? {} : { reason };
  switch (decision.kind) {
    case 'approve':
      return unwrapResponse(await client.POST('/v1/rollouts/{rollout}/approve', { params, headers, body: { wave: decision.wave } }));
    case 'pause':
      return unwrapResponse(await client.POST('/v1/rollouts/{rollout}/pause', { params, headers, body: given }));
    case 'abort':
      return unwrapResponse(await client.POST('/v1/rollouts/{rollout}/abort', { params, headers, body: given }));
    case 'rollback':
      return unwrapResponse(await client.POST('/v1/rollouts/{rollout}/rollback', { params, headers, body: { reason } }));
    case 'resume':
      return unwrapResponse(await client.POST('/v1/rollouts/{rollout}/resume', { params, headers }));
    case 'retry-failed':
      return unwrapResponse(await client.POST('/v1/rollouts/{rollout}/retry-failed', { params, headers }));
    case 'close':
      return unwrapResponse(await client.POST('/v1/rollouts/{rollout}/close', { params, headers }));
  }
}
