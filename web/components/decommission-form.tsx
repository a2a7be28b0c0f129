// The form that decommissions a device, or a host with its devices.

import type { Failure } from '../live/failure.ts';
import { Dialog } from './dialog.tsx';
import { Text } from './fields.tsx';
import { FailureNotice } from './resource-view.tsx';

type Parts = {
  readonly kind: 'device' | 'host';
  readonly name: string;
  readonly reason: string;
  readonly onReason: (reason: string) => void;
  /** Sends the request. */
  readonly action: { readonly isUnderWay: boolean; readonly failure: Failure | null; readonly run: () => void };
  readonly onClose: () => void;
};

export function DecommissionForm({ kind, name, reason, onReason, action, onClose }: Parts) {
  const submit = (event: Event) => {
    event.preventDefault();
    action.run();
  };
  return (
    <Dialog heading={`Decommission ${name}`} onClose={onClose}>
      <form onSubmit={submit}>
        <p>
          Removes the {kind === 'host' ? 'host and all of its devices' : 'device'} from the fleet. Open loads are cancelled, programs end,
          and rollouts continue without {kind === 'host' ? 'these devices' : 'it'}. The history remains, and the name is free. This cannot
          be undone.
        </p>
        <Text label="Reason" pointer="/reason" placeholder="the rack was scrapped" required value={reason} onChange={onReason} />
        {action.failure !== null && <FailureNotice failure={action.failure} />}
        <div class="buttons">
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" class="main" disabled={action.isUnderWay}>
            {action.isUnderWay ? 'Sending…' : `Decommission the ${kind}`}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
