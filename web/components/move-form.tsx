// The form that moves a device, or all devices of a host, to another host.

import { useState } from 'preact/hooks';
import { unwrapResponse } from '../../src/client/client.ts';
import { useResource } from '../live/resource.ts';
import { useAction } from '../session/action.ts';
import { useSignedIn } from '../session/session.tsx';
import { Dialog } from './dialog.tsx';
import { Text } from './fields.tsx';
import { FailureNotice } from './resource-view.tsx';

/** Maximum hosts offered; any other can be entered. */
const hostsOffered = 200;

/** The content of the request. */
type Move = { readonly host: string; readonly reason?: string };

type Parts = {
  readonly kind: 'device' | 'host';
  readonly name: string;
  /** Identifier of the host that the devices leave. */
  readonly from: string;
  /** Sends the request. */
  readonly send: (move: Move, headers: { readonly 'Idempotency-Key': string }) => Promise<unknown>;
  readonly onClose: () => void;
};

export function MoveForm({ kind, name, from, send, onClose }: Parts) {
  const { client } = useSignedIn();
  const [host, setHost] = useState('');
  const [reason, setReason] = useState('');
  const hosts = useResource('hosts-to-move-to', async (signal) =>
    unwrapResponse(
      await client.GET('/v1/hosts', { params: { query: { status: 'connected', sort: 'name', limit: hostsOffered } }, signal }),
    ),
  );
  const offered = (hosts.data?.items ?? []).filter(({ id }) => id !== from).map((each) => each.name);
  const action = useAction(
    (headers) => send({ host: host.trim(), ...(reason.trim() === '' ? {} : { reason: reason.trim() }) }, headers),
    onClose,
  );
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
        <Text label="New host" pointer="/host" placeholder="rack-2" required offered={offered} value={host} onChange={setHost} />
        <Text label="Reason" pointer="/reason" placeholder="the rack died" value={reason} onChange={setReason} />
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
