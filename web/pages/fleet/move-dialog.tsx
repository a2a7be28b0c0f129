// The dialog that moves all devices of a host to another host.

import { useState } from 'preact/hooks';
import { type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { MoveForm, moveBody } from '../../components/move-form.tsx';
import { useAction } from '../../session/action.ts';
import { useConnectedHosts } from '../../session/connected-hosts.ts';
import { useSignedIn } from '../../session/session.tsx';

type Parts = { readonly host: Pick<Schemas['Host'], 'id' | 'name'>; readonly onClose: () => void };

export function MoveDialog({ host: { id, name }, onClose }: Parts) {
  const { client } = useSignedIn();
  const [move, setMove] = useState({ host: '', reason: '' });
  const offered = useConnectedHosts(id);
  const action = useAction(async (headers) => {
    const body = moveBody(move);
    return unwrapResponse(await client.POST('/v1/hosts/{host}/move-devices', { params: { path: { host: id } }, body, headers }));
  }, onClose);
  return <MoveForm kind="host" name={name} offered={offered} move={move} onMove={setMove} action={action} onClose={onClose} />;
}
