// The device selector of a rollout: labels and versions, or individual devices.

import { useFieldError } from '../../components/field-errors.tsx';
import { Checkbox, Choice, Text } from '../../components/fields.tsx';
import { maxSelectorLength, selectorFault } from '../../components/label-selector.ts';
import { TimeField } from '../../components/time-field.tsx';
import { useGroupNames } from '../../session/group-names.ts';
import { DevicePicker } from './device-picker.tsx';
import { type Draft, hasSelector, selections } from './rollout-draft.ts';

type Parts = { readonly draft: Draft; readonly onChange: (changes: Partial<Draft>) => void };

/** The fields shown for every kind of selector. */
export function SelectionFields({ draft: { selectedBy, selector, group, runningVersion, isPatchSet }, onChange }: Parts) {
  const groups = useGroupNames();
  return (
    <>
      <Choice label="Select devices by" value={selectedBy} options={selections} onChange={(value) => onChange({ selectedBy: value })} />
      {selectedBy === 'labels and versions' && (
        <Text
          label="Label selector"
          pointer="/selector"
          placeholder="zone in (north,south),!beta"
          maxLength={maxSelectorLength}
          value={selector}
          onChange={(value) => onChange({ selector: value })}
        />
      )}
      {selectedBy === 'labels and versions' && (
        <Text
          label="Group"
          pointer="/group"
          placeholder="north"
          maxLength={63}
          offered={groups}
          value={group}
          onChange={(value) => onChange({ group: value })}
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
  const { selectedBy, module, devices, selector } = draft;
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
  const selectorError = selector.trim() === '' ? null : selectorFault(selector);
  if (selectorError !== null)
    return (
      <p class="error-message" role="alert">
        Invalid label selector: {selectorError}
      </p>
    );
  return hasSelector(draft) ? null : (
    <p class="soft">
      {draft.isPatchSet
        ? 'Enter a label selector or a group.'
        : 'Enter a label selector, a group or a version range. The rollout selects the devices that match all of them.'}
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
