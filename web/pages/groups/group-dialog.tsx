// The dialog that creates or edits a group.

import { useRef, useState } from 'preact/hooks';
import { type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { Dialog } from '../../components/dialog.tsx';
import { useErrorFocus } from '../../components/disclosure.tsx';
import { FieldErrors } from '../../components/field-errors.tsx';
import { Text } from '../../components/fields.tsx';
import { maxSelectorLength, selectorFault } from '../../components/label-selector.ts';
import { FailureNotice } from '../../components/resource-view.tsx';
import { defaultWindow, type ScheduleWindow, WindowFields } from '../../components/window-fields.tsx';
import { useAction } from '../../session/action.ts';
import { useSignedIn } from '../../session/session.tsx';

type Group = Schemas['Group'];

/** Maximum number of windows of a group. */
const maxWindows = 10;

/** @param group Null: the dialog creates one. */
export function GroupDialog({ group, onClose }: { readonly group: Group | null; readonly onClose: () => void }) {
  const { client } = useSignedIn();
  const [name, setName] = useState(group?.name ?? '');
  const [selector, setSelector] = useState(group?.selector ?? '');
  const [description, setDescription] = useState(group?.description ?? '');
  const [windows, setWindows] = useState<readonly ScheduleWindow[]>(group?.maintenanceWindows ?? []);
  const sent = useRef<unknown>(null);
  const body = {
    name,
    selector: selector.trim(),
    ...(description.trim() === '' ? {} : { description: description.trim() }),
    maintenanceWindows: [...windows],
  };
  const saving = useAction(async (headers) => {
    sent.current = body;
    if (group === null) return unwrapResponse(await client.POST('/v1/groups', { body, headers }));
    const path = { group: group.id };
    const read = await client.GET('/v1/groups/{group}', { params: { path } });
    const header = isSame(unwrapResponse(read), group)
      ? { 'if-match': read.response.headers.get('etag') ?? '*' }
      : { 'if-match': '"changed"' };
    return unwrapResponse(await client.PUT('/v1/groups/{group}', { params: { path, header }, body }));
  }, onClose);
  const form = useErrorFocus(saving.failure);
  const submit = (event: Event) => {
    event.preventDefault();
    saving.run();
  };
  const fault = selector.trim() === '' ? null : selectorFault(selector);
  return (
    <Dialog heading={group === null ? 'New group' : `Edit ${group.name}`} onClose={onClose}>
      <FieldErrors failure={saving.failure} rejected={sent.current} current={body}>
        <form ref={form} onSubmit={submit}>
          <p>
            The group contains the devices that match the label selector at any time. Rollouts that have been requested keep the old
            selector.
          </p>
          <Text label="Name" pointer="/name" placeholder="north" required maxLength={63} value={name} onChange={setName} />
          <Text
            label="Label selector"
            pointer="/selector"
            placeholder="zone in (north,south),!beta"
            required
            maxLength={maxSelectorLength}
            value={selector}
            onChange={setSelector}
          />
          {fault !== null && (
            <p class="error-message" role="alert">
              Invalid label selector: {fault}
            </p>
          )}
          <Text label="Description" pointer="/description" value={description} onChange={setDescription} />
          <MaintenanceWindows windows={windows} onChange={setWindows} />
          {saving.failure !== null && <FailureNotice failure={saving.failure} />}
          <div class="buttons">
            <button type="button" onClick={onClose}>
              Cancel
            </button>
            <button
              type="submit"
              class="main"
              disabled={saving.isUnderWay || fault !== null || windows.some(({ days }) => days.length === 0)}
            >
              {saving.isUnderWay ? 'Sending…' : 'Save'}
            </button>
          </div>
        </form>
      </FieldErrors>
    </Dialog>
  );
}

type WindowsParts = { readonly windows: readonly ScheduleWindow[]; readonly onChange: (windows: readonly ScheduleWindow[]) => void };

function MaintenanceWindows({ windows, onChange }: WindowsParts) {
  return (
    <>
      <p class="soft">Outside its maintenance windows, loads of the group are held. Without windows, they begin at any time.</p>
      {windows.map((window, index) => (
        <div key={index}>
          <WindowFields
            legend={`Maintenance window ${index + 1}`}
            pointer={`/maintenanceWindows/${index}`}
            window={window}
            onChange={(changed) => onChange(windows.with(index, changed))}
          />
          <button type="button" onClick={() => onChange(windows.toSpliced(index, 1))}>
            Remove window {index + 1}
          </button>
        </div>
      ))}
      {windows.length < maxWindows && (
        <button type="button" onClick={() => onChange([...windows, defaultWindow()])}>
          Add a maintenance window
        </button>
      )}
    </>
  );
}

/** Returns whether a group still has the content that the dialog opened with. */
function isSame(current: Group, shown: Group): boolean {
  const windowsOf = ({ maintenanceWindows }: Group) => JSON.stringify(maintenanceWindows);
  const isSameText = current.name === shown.name && current.selector === shown.selector && current.description === shown.description;
  return isSameText && windowsOf(current) === windowsOf(shown);
}
