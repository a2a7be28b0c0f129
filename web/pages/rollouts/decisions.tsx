// What an operator may decide about a rollout as it stands, asked once more before it is done, with the reason where the service takes one.

import { useState } from 'preact/hooks';
import { type Client, unwrapResponse } from '../../../src/client/client.ts';
import { navigate } from '../../navigation/location.ts';
import { rolloutPath } from '../../navigation/paths.ts';
import { Dialog } from '../../parts/dialog.tsx';
import { Text } from '../../parts/fields.tsx';
import { counted } from '../../parts/numbers.ts';
import { FailureNotice } from '../../parts/shown.tsx';
import { useAction } from '../../session/action.ts';
import { useSignedIn } from '../../session/session.tsx';
import { nameOf, type Rollout } from './words.ts';

export type Decision =
  | { readonly kind: 'pause' | 'resume' | 'retry-failed' | 'close' | 'abort' | 'rollback' }
  | { readonly kind: 'approve'; readonly wave: number };
type Kind = Decision['kind'];

const labels = {
  approve: 'Approve wave',
  resume: 'Resume',
  'retry-failed': 'Retry failed loads',
  pause: 'Pause',
  close: 'Close to devices',
  abort: 'Abort',
  rollback: 'Roll back',
} as const satisfies Record<Kind, string>;

export const labelOf = (decision: Decision) => (decision.kind === 'approve' ? `${labels.approve} ${decision.wave}` : labels[decision.kind]);

/** Whether a wave has failed and an operator is to decide. To resume such a rollout gives the build to more devices in spite of that. */
const hasFailed = ({ state, waves }: Rollout) => state === 'paused' && waves.some((wave) => wave.state === 'failed');

/** Returns the decision that a page offers first; null if none is better than the others. After a failure it never spreads the build. */
export function mainDecision(rollout: Rollout): Decision | null {
  const kinds: readonly Kind[] = hasFailed(rollout) ? ['rollback', 'retry-failed'] : ['approve', 'resume'];
  const decisions = decisionsOn(rollout);
  return kinds.flatMap((kind) => decisions.find((decision) => decision.kind === kind) ?? [])[0] ?? null;
}

/** What may be decided about a rollout as it stands; the service has the last word. */
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

/** What comes of it. */
function meaningOf(decision: Decision, { waves, deviceCounts, onFailure }: Rollout): string {
  switch (decision.kind) {
    case 'approve': {
      const devices = waves.find(({ number }) => number === decision.wave)?.devices ?? 0;
      return `Wave ${decision.wave} begins: the build goes to ${counted(devices, 'device')}.`;
    }
    case 'pause':
      return 'No more loads are requested, and no wave passes. Loads that are under way go on.';
    case 'resume':
      return waves.some(({ state }) => state === 'failed')
        ? 'It goes on from where it was. The wave that has failed is not judged any more: its other devices get the build, and the next wave follows.'
        : 'It goes on from where it was.';
    case 'retry-failed':
      return `The loads of ${counted(deviceCounts.failed, 'device')} are tried again, and their waves judged anew (${onFailure} on failure).`;
    case 'close':
      return 'No more devices join it. It ends when those that it has are done.';
    case 'abort':
      return 'It ends. Devices that have the build keep it; loads that no host has been sent are cancelled.';
    case 'rollback':
      return `Every device that has got the build, ${counted(deviceCounts.loaded, 'device')} now, goes back to the version that it had. A rollout of its own does that.`;
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
    (answered) => {
      onDone();
      if (kind === 'rollback') navigate(rolloutPath(answered.id));
    },
  );
  const submit = (event: Event) => {
    event.preventDefault();
    deciding.run();
  };
  const label = labelOf(decision);
  return (
    <Dialog heading={`${label}: ${nameOf(rollout)}`} onClose={onClose}>
      <form onSubmit={submit}>
        <p>{meaningOf(decision, rollout)}</p>
        {(kind === 'pause' || kind === 'abort') && <Text label="Reason, told in the audit trail" value={reason} onChange={setReason} />}
        {kind === 'rollback' && <Text label="Reason" placeholder="1.1.0 drops packets" required value={reason} onChange={setReason} />}
        {deciding.failure !== null && <FailureNotice failure={deciding.failure} />}
        <div class="buttons">
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" class="main" disabled={deciding.isUnderWay}>
            {deciding.isUnderWay ? 'Asking for it…' : label}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

type Headers = { readonly 'Idempotency-Key': string };

/** Has it done. Answers the rollout as it is then, or the one that takes its devices back. */
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
