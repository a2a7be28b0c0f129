// The dialog that creates or edits an assignment.

import { useRef, useState } from 'preact/hooks';
import { type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { assignmentModes } from '../../../src/client/enum-values.ts';
import { Dialog } from '../../components/dialog.tsx';
import { Disclosure, useErrorFocus } from '../../components/disclosure.tsx';
import { FieldErrors } from '../../components/field-errors.tsx';
import { Choice, Text, WholeNumber } from '../../components/fields.tsx';
import { ReactionField } from '../../components/reaction-field.tsx';
import { FailureNotice } from '../../components/resource-view.tsx';
import { defaultLimits, defaultWaves, type WaveDraft, wavesBody, wavesDraft } from '../../components/wave-draft.ts';
import { WaveFields } from '../../components/wave-fields.tsx';
import { type ScheduleWindow, WindowField } from '../../components/window-fields.tsx';
import { useAction } from '../../session/action.ts';
import { useGroupNames } from '../../session/group-names.ts';
import { useSignedIn } from '../../session/session.tsx';
import { wavesText } from './assignment-text.ts';

type Assignment = Schemas['Assignment'];
const kinds = ['module', 'patch set'] as const;

type Parts = {
  /** Null: the dialog creates one. */
  readonly assignment: Assignment | null;
  /** The `ETag` of the assignment. */
  readonly etag: string | null;
  readonly onClose: () => void;
};

export function AssignmentDialog({ assignment, etag, onClose }: Parts) {
  const { client } = useSignedIn();
  const groups = useGroupNames();
  // The page behind the dialog reads changes of others: the form replaces only the assignment that it was opened with.
  const [expected] = useState(etag ?? '*');
  const [draft, setDraft] = useState(() => (assignment === null ? newDraft : draftOf(assignment)));
  const change = (changes: Partial<Draft>) => setDraft((before) => ({ ...before, ...changes }));
  const sent = useRef<unknown>(null);
  const body = toRequest(draft);
  const saving = useAction(async (headers) => {
    sent.current = body;
    if (assignment === null) return unwrapResponse(await client.POST('/v1/assignments', { body, headers }));
    const params = { path: { assignment: assignment.id }, header: { 'if-match': expected } };
    return unwrapResponse(await client.PUT('/v1/assignments/{assignment}', { params, body }));
  }, onClose);
  const form = useErrorFocus(saving.failure);
  const submit = (event: Event) => {
    event.preventDefault();
    saving.run();
  };
  return (
    <Dialog heading={assignment === null ? 'New assignment' : `Edit ${assignment.name}`} onClose={onClose}>
      <FieldErrors failure={saving.failure} rejected={sent.current} current={body}>
        <form ref={form} onSubmit={submit}>
          <p>The devices of the group should have the highest version in the range that the channel has.</p>
          <Text
            label="Name"
            pointer="/name"
            placeholder="edge-net"
            required
            maxLength={63}
            value={draft.name}
            onChange={(name) => change({ name })}
          />
          <Text label="Group" pointer="/group" required offered={groups} value={draft.group} onChange={(group) => change({ group })} />
          <Text label="Channel" pointer="/channel" required value={draft.channel} onChange={(channel) => change({ channel })} />
          <Choice label="Kind" value={draft.kind} options={kinds} onChange={(kind) => change({ kind })} />
          <Text
            label="Module or patch set"
            pointer={draft.kind === 'module' ? '/module' : '/patchSet'}
            placeholder="tcp"
            required
            maxLength={63}
            value={draft.content}
            onChange={(content) => change({ content })}
          />
          <Text
            label="Range"
            pointer="/range"
            placeholder="^2.1"
            required
            maxLength={256}
            value={draft.range}
            onChange={(range) => change({ range })}
          />
          <Choice
            label="Mode"
            pointer="/mode"
            value={draft.mode}
            options={assignmentModes}
            onChange={(mode) => change({ mode })}
            meanings={meanings}
          />
          <WholeNumber
            label="Priority"
            pointer="/priority"
            min={-1_000}
            max={1_000}
            value={draft.priority}
            onChange={(priority) => change({ priority })}
          />
          <WholeNumber
            label="Devices per minute"
            pointer="/devicesPerMinute"
            min={1}
            max={10_000}
            value={draft.devicesPerMinute}
            onChange={(devicesPerMinute) => change({ devicesPerMinute })}
          />
          <Disclosure summary={`Rollouts of promoted versions: waves ${wavesText(body.waves ?? [])}; on failure ${draft.onFailure}`}>
            <WaveFields waves={draft.waves} limits={defaultLimits} onChange={(waves) => change({ waves })} />
            <ReactionField onFailure={draft.onFailure} onChange={(onFailure) => change({ onFailure })} />
            <WindowField window={draft.window} onChange={(window) => change({ window })} />
          </Disclosure>
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

const meanings = {
  off: 'Nothing happens.',
  report: 'The state of each device is reported, and no load is requested.',
  enforce: 'Loads and rollouts bring devices to the version.',
};

type Draft = {
  readonly name: string;
  readonly group: string;
  readonly channel: string;
  readonly kind: (typeof kinds)[number];
  readonly content: string;
  readonly range: string;
  readonly mode: Schemas['AssignmentMode'];
  readonly priority: number;
  readonly devicesPerMinute: number;
  readonly waves: readonly WaveDraft[];
  readonly onFailure: Schemas['OnFailure'];
  readonly window: ScheduleWindow | null;
};

const newDraft: Draft = {
  name: '',
  group: '',
  channel: '',
  kind: 'module',
  content: '',
  range: '',
  mode: 'report',
  priority: 0,
  devicesPerMinute: 60,
  waves: defaultWaves,
  onFailure: 'pause',
  window: null,
};

function draftOf({ name, groupName, channelName, module, patchSet, range, mode, ...assignment }: Assignment): Draft {
  const { priority, devicesPerMinute, waves, onFailure, window } = assignment;
  const kind = module === null ? 'patch set' : 'module';
  const named = { name, group: groupName, channel: channelName, kind, content: module ?? patchSet ?? '', range } as const;
  return { ...named, mode, priority, devicesPerMinute, waves: wavesDraft(waves), onFailure, window };
}

function toRequest({ kind, content, waves, window, ...draft }: Draft): Schemas['NewAssignment'] {
  const named = kind === 'module' ? { module: content } : { patchSet: content };
  return { ...draft, ...named, waves: wavesBody(waves), ...(window === null ? {} : { window }) };
}
