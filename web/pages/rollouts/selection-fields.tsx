// Which devices a rollout goes to: by their labels and versions, or one by one.

import { useFault } from '../../parts/faults.tsx';
import { Choice, Text, Tick } from '../../parts/fields.tsx';
import { TimeField } from '../../parts/time-field.tsx';
import { DevicePicker } from './device-picker.tsx';
import { type Draft, isSelecting, labelsIn, selections } from './rollout-draft.ts';

type Parts = { readonly draft: Draft; readonly onChange: (changes: Partial<Draft>) => void };

/** The fields that are always there. */
export function SelectionFields({ draft: { selectedBy, labels, runningVersion }, onChange }: Parts) {
  return (
    <>
      <Choice label="Select devices by" value={selectedBy} options={selections} onChange={(value) => onChange({ selectedBy: value })} />
      {selectedBy === 'labels and versions' && (
        <Text
          label="Labels"
          at="/labels"
          placeholder="zone=north, tier=edge"
          value={labels}
          onChange={(value) => onChange({ labels: value })}
        />
      )}
      <Text
        label="Installed version (range)"
        at="/runningVersion"
        placeholder="<1.1.0"
        maxLength={256}
        value={runningVersion}
        onChange={(value) => onChange({ runningVersion: value })}
      />
    </>
  );
}

/** Devices that are picked one by one, or what is still to be said of them. */
export function Selected({ draft, onChange }: Parts) {
  const fault = useFault('/devices');
  const { selectedBy, module, devices, labels } = draft;
  if (selectedBy === 'name')
    return (
      <>
        <DevicePicker module={module} chosen={devices} onChange={(chosen) => onChange({ devices: chosen })} />
        {fault !== null && (
          <p class="told" role="alert">
            {fault}
          </p>
        )}
      </>
    );
  if (labelsIn(labels) === null)
    return (
      <p class="told" role="alert">
        Invalid labels: expected key=value pairs separated by commas, such as zone=north, tier=edge
      </p>
    );
  return isSelecting(draft) ? null : (
    <p class="soft">Enter labels, a version range or both. The rollout selects the devices that match all of them.</p>
  );
}

const busyReactions = ['reject', 'queue'] as const;
const busyMeanings = { reject: 'this rollout is rejected', queue: 'this rollout waits until the other ends' };

/** Whether others join later, and what comes of devices that another rollout has. */
export function JoiningFields({ draft: { selectedBy, acceptsDevices, acceptsDevicesUntil, onConflict }, onChange }: Parts) {
  return (
    <div class="fields">
      {selectedBy === 'labels and versions' && (
        <Tick
          label="devices that match later join the last wave"
          at="/dynamic"
          isOn={acceptsDevices}
          onChange={(isOn) => onChange({ acceptsDevices: isOn })}
        />
      )}
      {selectedBy === 'labels and versions' && acceptsDevices && (
        <TimeField
          label="Accepts devices until (empty: until closed)"
          at="/dynamicUntil"
          value={acceptsDevicesUntil}
          onChange={(value) => onChange({ acceptsDevicesUntil: value })}
        />
      )}
      <Choice
        label="On conflict with another rollout"
        at="/onConflict"
        value={onConflict}
        options={busyReactions}
        meanings={busyMeanings}
        onChange={(value) => onChange({ onConflict: value })}
      />
    </div>
  );
}
