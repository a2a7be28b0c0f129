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
      <Choice label="Devices by" value={selectedBy} options={selections} onChange={(value) => onChange({ selectedBy: value })} />
      {selectedBy === 'labels and versions' && (
        <Text
          label="Devices with these labels"
          at="/labels"
          placeholder="zone=north, tier=edge"
          value={labels}
          onChange={(value) => onChange({ labels: value })}
        />
      )}
      <Text
        label="That run these versions"
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
        Write labels as key=value, with commas between them: zone=north, tier=edge
      </p>
    );
  return isSelecting(draft) ? null : <p class="soft">Give labels, versions or both: every device that has all of it gets the build.</p>;
}

const busyReactions = ['reject', 'queue'] as const;
const busyMeanings = { refuse: 'this one is refused', queue: 'this one waits until that has ended' };

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
          label="Until; empty: until it is closed"
          at="/dynamicUntil"
          value={acceptsDevicesUntil}
          onChange={(value) => onChange({ acceptsDevicesUntil: value })}
        />
      )}
      <Choice
        label="If another rollout has some of the devices"
        at="/onConflict"
        value={onConflict}
        options={busyReactions}
        meanings={busyMeanings}
        onChange={(value) => onChange({ onConflict: value })}
      />
    </div>
  );
}
