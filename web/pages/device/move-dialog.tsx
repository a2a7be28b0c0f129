// The dialog that moves a device to another host.

import { type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { MoveForm } from '../../components/move-form.tsx';
import { useSignedIn } from '../../session/session.tsx';

type Parts = { readonly device: Pick<Schemas['Device'], 'id' | 'name' | 'host'>; readonly onClose: () => void };

export function MoveDialog({ device: { id, name, host }, onClose }: Parts) {
  const { client } = useSignedIn();
  return (
    <MoveForm
      kind="device"
      name={name}
      from={host}
      send={async (body, headers) =>
        unwrapResponse(await client.POST('/v1/devices/{device}/move', { params: { path: { device: id } }, body, headers }))
      }
      onClose={onClose}
    />
  );
}
