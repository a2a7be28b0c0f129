// The dialog that creates a channel.

import { useRef, useState } from 'preact/hooks';
import { unwrapResponse } from '../../../src/client/client.ts';
import { Dialog } from '../../components/dialog.tsx';
import { FieldErrors } from '../../components/field-errors.tsx';
import { Text } from '../../components/fields.tsx';
import { FailureNotice } from '../../components/resource-view.tsx';
import { useAction } from '../../session/action.ts';
import { useSignedIn } from '../../session/session.tsx';

export function ChannelDialog({ onClose }: { readonly onClose: () => void }) {
  const { client } = useSignedIn();
  const [name, setName] = useState('');
  const [description, setDescription] = useState('');
  const sent = useRef<unknown>(null);
  const body = { name, ...(description.trim() === '' ? {} : { description: description.trim() }) };
  const saving = useAction(async (headers) => {
    sent.current = body;
    return unwrapResponse(await client.POST('/v1/channels', { body, headers }));
  }, onClose);
  const submit = (event: Event) => {
    event.preventDefault();
    saving.run();
  };
  return (
    <Dialog heading="New channel" onClose={onClose}>
      <FieldErrors failure={saving.failure} rejected={sent.current} current={body}>
        <form onSubmit={submit}>
          <p>A channel has the versions that you promote to it. Assignments follow it.</p>
          <Text label="Name" pointer="/name" placeholder="stable" required maxLength={63} value={name} onChange={setName} />
          <Text label="Description" pointer="/description" value={description} onChange={setDescription} />
          {saving.failure !== null && <FailureNotice failure={saving.failure} />}
          <div class="buttons">
            <button type="button" onClick={onClose}>
              Cancel
            </button>
            <button type="submit" class="main" disabled={saving.isUnderWay}>
              {saving.isUnderWay ? 'Sending…' : 'Save'}
            </button>
          </div>
        </form>
      </FieldErrors>
    </Dialog>
  );
}
