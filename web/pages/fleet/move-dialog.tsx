// The dialog that moves all devices of a host to another host.

import { type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { MoveForm } from '../../components/move-form.tsx';
import { useSignedIn } from '../../session/session.tsx';

type Parts = { readonly host: Pick<Schemas['Host'], 'id' | 'name'>; readonly onClose: () => void };

export function MoveDialog({ host: { id, name }, onClose }: Parts) {
  const { client } = useSignedIn();
  return (
    <MoveForm
      kind="host"
      name={name}
      from={id}
      send={async (body, headers) =>
        unwrapResponse(await client.POST('/v1/hosts/{host}/move-devices', { params: { path: { host: id } }, body, headers }))
      }
      onClose={onClose}
    />
  );
}
