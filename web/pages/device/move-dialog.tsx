// The dialog that moves a device to another host.

import { useState } from 'preact/hooks';
import { type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { MoveForm, moveBody } from '../../components/move-form.tsx';
import { useAction } from '../../session/action.ts';
import { useConnectedHosts } from '../../session/connected-hosts.ts';
import { useSignedIn } from '../../session/session.tsx';

type Parts = { readonly device: Pick<Schemas['Device'], 'id' | 'name' | 'host'>; readonly onClose: () => void };

export function MoveDialog({ device: { id, name, host }, onClose }: Parts) {
  const { client } = useSignedIn();
  const [move, setMove] = useState({ host: '', reason: '' });
  const offered = useConnectedHosts(host);
  const action = useAction(async (headers) => {
    const body = moveBody(move);
    return unwrapResponse(await client.POST('/v1/devices/{device}/move', { params: { path: { device: id } }, body, headers }));
  }, onClose);
  return <MoveForm kind="device" name={name} offered={offered} move={move} onMove={setMove} action={action} onClose={onClose} />;
}
