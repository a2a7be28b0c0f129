// The dialog that decommissions a device.

import { useState } from 'preact/hooks';
import { type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { DecommissionForm } from '../../components/decommission-form.tsx';
import { useAction } from '../../session/action.ts';
import { useSignedIn } from '../../session/session.tsx';

type Parts = { readonly device: Pick<Schemas['Device'], 'id' | 'name'>; readonly onClose: () => void };

export function DecommissionDialog({ device: { id, name }, onClose }: Parts) {
  const { client } = useSignedIn();
  const [reason, setReason] = useState('');
  const action = useAction(async (headers) => {
    const body = { reason: reason.trim() };
    return unwrapResponse(await client.POST('/v1/devices/{device}/decommission', { params: { path: { device: id } }, body, headers }));
  }, onClose);
  return <DecommissionForm kind="device" name={name} reason={reason} onReason={setReason} action={action} onClose={onClose} />;
}
