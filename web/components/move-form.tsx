// The form that moves a device, or all devices of a host, to another host.

import type { Failure } from '../live/failure.ts';
import { Dialog } from './dialog.tsx';
import { Text } from './fields.tsx';
import { FailureNotice } from './resource-view.tsx';

/** The entered host and reason. */
export type Move = { readonly host: string; readonly reason: string };

type Parts = {
  readonly kind: 'device' | 'host';
  readonly name: string;
  /** Names of hosts to move to. */
  readonly offered: readonly string[];
  readonly move: Move;
  readonly onMove: (move: Move) => void;
  /** Sends the request. */
  readonly action: { readonly isUnderWay: boolean; readonly failure: Failure | null; readonly run: () => void };
  readonly onClose: () => void;
};

export function MoveForm({ kind, name, offered, move, onMove, action, onClose }: Parts) {
  const setHost = (host: string) => onMove({ ...move, host });
  const setReason = (reason: string) => onMove({ ...move, reason });
  const submit = (event: Event) => {
    event.preventDefault();
    action.run();
  };
  return (
    <Dialog heading={kind === 'host' ? `Move the devices of ${name}` : `Move ${name}`} onClose={onClose}>
      <form onSubmit={submit}>
        <p>
          Names, labels, history and queued loads follow, and the new host restores modules and programs. A connected host drops{' '}
          {kind === 'host' ? 'its devices' : 'the device'} first. From an unreachable host, {kind === 'host' ? 'they move' : 'it moves'} at
          once, and loads that were sent to it are cancelled.
        </p>
        <Text label="New host" pointer="/host" placeholder="rack-2" required offered={offered} value={move.host} onChange={setHost} />
        <Text label="Reason" pointer="/reason" placeholder="the rack died" value={move.reason} onChange={setReason} />
        {action.failure !== null && <FailureNotice failure={action.failure} />}
        <div class="buttons">
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" class="main" disabled={action.isUnderWay}>
            {action.isUnderWay ? 'Sending…' : 'Move'}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

/** Returns the body of the request. */
export function moveBody({ host, reason }: Move): { readonly host: string; readonly reason?: string } {
  return { host: host.trim(), ...(reason.trim() === '' ? {} : { reason: reason.trim() }) };
}
