// The dialog that renames a device.

import { useState } from 'preact/hooks';
import { unwrapResponse } from '../../../src/client/client.ts';
import { Dialog } from '../../components/dialog.tsx';
import { Text } from '../../components/fields.tsx';
import { FailureNotice } from '../../components/resource-view.tsx';
import { useAction } from '../../session/action.ts';
import { useSignedIn } from '../../session/session.tsx';
import type { DeviceDetail } from './device-data.ts';

export function RenameDialog({ device, onClose }: { readonly device: DeviceDetail; readonly onClose: () => void }) {
  const { client } = useSignedIn();
  const [name, setName] = useState(device.name);
  const renaming = useAction(
    async () => unwrapResponse(await client.PATCH('/v1/devices/{device}', { params: { path: { device: device.id } }, body: { name } })),
    onClose,
  );
  const submit = (event: Event) => {
    event.preventDefault();
    renaming.run();
  };
  return (
    <Dialog heading={`Rename ${device.name}`} onClose={onClose}>
      <form onSubmit={submit}>
        <p>Its host continues to register it as {device.registeredName ?? device.name}: the device remains the same.</p>
        <Text label="Name" pointer="/name" required value={name} onChange={setName} />
        {renaming.failure !== null && <FailureNotice failure={renaming.failure} />}
        <div class="buttons">
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" class="main" disabled={renaming.isUnderWay}>
            {renaming.isUnderWay ? 'Sending…' : 'Rename'}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
