// The device selector of a rollout: labels and versions, or individual devices.

import { useFieldError } from '../../components/field-errors.tsx';
import { Checkbox, Choice, Text } from '../../components/fields.tsx';
import { TimeField } from '../../components/time-field.tsx';
import { DevicePicker } from './device-picker.tsx';
import { type Draft, hasSelector, parseLabels, selections } from './rollout-draft.ts';

type Parts = { readonly draft: Draft; readonly onChange: (changes: Partial<Draft>) => void };

/** The fields shown for every kind of selector. */
export function SelectionFields({ draft: { selectedBy, labels, runningVersion, isPatchSet }, onChange }: Parts) {
  return (
    <>
      <Choice label="Select devices by" value={selectedBy} options={selections} onChange={(value) => onChange({ selectedBy: value })} />
      {selectedBy === 'labels and versions' && (
        <Text
          label="Labels"
          pointer="/labels"
          placeholder="zone=north, tier=edge"
          value={labels}
          onChange={(value) => onChange({ labels: value })}
        />
      )}
      {!isPatchSet && (
        <Text
          label="Installed version (range)"
          pointer="/runningVersion"
          placeholder="<1.1.0"
          maxLength={256}
          value={runningVersion}
          onChange={(value) => onChange({ runningVersion: value })}
        />
      )}
    </>
  );
}

/** The device picker, or what the selector still needs. */
export function DeviceSelection({ draft, onChange }: Parts) {
  const fault = useFieldError('/devices');
  const { selectedBy, module, devices, labels } = draft;
  if (selectedBy === 'name')
    return (
      <>
        <DevicePicker module={module} chosen={devices} onChange={(chosen) => onChange({ devices: chosen })} />
        {fault !== null && (
          <p class="error-message" role="alert">
            {fault}
          </p>
        )}
      </>
    );
  if (parseLabels(labels) === null)
    return (
      <p class="error-message" role="alert">
        Invalid labels: expected key=value pairs separated by commas, such as zone=north, tier=edge
      </p>
    );
  return hasSelector(draft) ? null : (
    <p class="soft">
      {draft.isPatchSet
        ? 'Enter labels. The rollout selects the devices that have all of them.'
        : 'Enter labels, a version range or both. The rollout selects the devices that match all of them.'}
    </p>
  );
}

const conflictReactions = ['reject', 'queue'] as const;
const conflictMeanings = { reject: 'this rollout is rejected', queue: 'this rollout waits until the other ends' };

/** Whether devices join later, and the reaction to a conflict with another rollout. */
export function DynamicFields({ draft: { selectedBy, acceptsDevices, acceptsDevicesUntil, onConflict }, onChange }: Parts) {
  return (
    <div class="fields">
      {selectedBy === 'labels and versions' && (
        <Checkbox
          label="devices that match later join the last wave"
          pointer="/dynamic"
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
        pointer="/onConflict"
        value={onConflict}
        options={conflictReactions}
        meanings={conflictMeanings}
        onChange={(value) => onChange({ onConflict: value })}
      />
    </div>
  );
}
