// The dialog that decommissions a device, or a host with its devices.

import { useState } from 'preact/hooks';
import { type Client, type Schemas, unwrapResponse } from '../../src/client/client.ts';
import { useAction } from '../session/action.ts';
import { useSignedIn } from '../session/session.tsx';
import { Dialog } from './dialog.tsx';
import { Text } from './fields.tsx';
import { FailureNotice } from './resource-view.tsx';

/** What to decommission. */
export type Decommissionable = { readonly kind: 'device' | 'host'; readonly id: string; readonly name: string };

type Parts = { readonly target: Decommissionable; readonly onClose: () => void };
type Headers = { readonly 'Idempotency-Key': string };

export function DecommissionDialog({ target, onClose }: Parts) {
  const { client } = useSignedIn();
  const { kind, name } = target;
  const [reason, setReason] = useState('');
  const decommissioning = useAction((headers) => decommission(client, target, reason.trim(), headers), onClose);
  const submit = (event: Event) => {
    event.preventDefault();
    decommissioning.run();
  };
  return (
    <Dialog heading={`Decommission ${name}`} onClose={onClose}>
      <form onSubmit={submit}>
        <p>
          Removes the {kind === 'host' ? 'host and all of its devices' : 'device'} from the fleet. Open loads are cancelled, programs end,
          and rollouts continue without {kind === 'host' ? 'these devices' : 'it'}. The history remains, and the name is free. This cannot
          be undone.
        </p>
        <Text label="Reason" pointer="/reason" placeholder="the rack was scrapped" required value={reason} onChange={setReason} />
        {decommissioning.failure !== null && <FailureNotice failure={decommissioning.failure} />}
        <div class="buttons">
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" class="main" disabled={decommissioning.isUnderWay}>
            {decommissioning.isUnderWay ? 'Sending…' : `Decommission the ${kind}`}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

async function decommission(
  client: Client,
  { kind, id }: Decommissionable,
  reason: string,
  headers: Headers,
): Promise<Schemas['DecommissionedDevices']> {
  const body = { reason };
  if (kind === 'host')
    return unwrapResponse(await client.POST('/v1/hosts/{host}/decommission', { params: { path: { host: id } }, body, headers }));
  return unwrapResponse(await client.POST('/v1/devices/{device}/decommission', { params: { path: { device: id } }, body, headers }));
}
