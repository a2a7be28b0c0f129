// The dialog that sets and removes labels of the devices that the fleet page shows.

import { useState } from 'preact/hooks';
import { unwrapResponse } from '../../../src/client/client.ts';
import { Dialog } from '../../components/dialog.tsx';
import { Text } from '../../components/fields.tsx';
import { FailureNotice } from '../../components/resource-view.tsx';
import { useAction } from '../../session/action.ts';
import { useSignedIn } from '../../session/session.tsx';

type Parts = {
  /** Identifiers of the devices. */
  readonly devices: readonly string[];
  /** Whether more devices match the filters than these. */
  readonly hasMore: boolean;
  readonly onClose: () => void;
};

const numberOf = (devices: number) => `${devices} ${devices === 1 ? 'device' : 'devices'}`;

export function LabelsDialog({ devices, hasMore, onClose }: Parts) {
  const { client } = useSignedIn();
  const [text, setText] = useState('');
  const edit = readEdit(text);
  const sending = useAction(async (headers) => {
    if (edit === null) return null;
    return unwrapResponse(await client.POST('/v1/devices/labels', { body: { devices: [...devices], ...edit }, headers }));
  }, onClose);
  const submit = (event: Event) => {
    event.preventDefault();
    sending.run();
  };
  return (
    <Dialog heading={`Edit labels of ${numberOf(devices.length)}`} onClose={onClose}>
      <form onSubmit={submit}>
        <p>
          Sets and removes labels of the devices that the list shows; their other labels remain. From then on, labels that their hosts
          register are ignored.
          {hasMore && ' More devices match the filters: narrow the filters or load more of the list to include them.'}
        </p>
        <Text
          label="Labels, separated by spaces: zone=north sets, beta- removes"
          placeholder="zone=north beta-"
          required
          value={text}
          onChange={setText}
        />
        {edit === null && text.trim() !== '' && (
          <p class="error-message" role="alert">
            Write each label as key=value to set it, or as key- to remove it.
          </p>
        )}
        {sending.failure !== null && <FailureNotice failure={sending.failure} />}
        <div class="buttons">
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" class="main" disabled={sending.isUnderWay || edit === null}>
            {sending.isUnderWay ? 'Sending…' : `Edit labels of ${numberOf(devices.length)}`}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

/** Returns the labels to set and to remove; null if a word is neither, or there is no word. */
function readEdit(text: string): { readonly set: Record<string, string>; readonly remove: string[] } | null {
  const words = text.split(/\s+/).filter((word) => word !== '');
  const assignments = words.filter((word) => word.indexOf('=') > 0);
  const removals = words.filter((word) => !word.includes('=') && /.-$/.test(word));
  if (words.length === 0 || assignments.length + removals.length < words.length) return null;
  const entries = assignments.map((word) => [word.slice(0, word.indexOf('=')), word.slice(word.indexOf('=') + 1)] as const);
  return { set: Object.fromEntries(entries), remove: removals.map((word) => word.slice(0, -1)) };
}
