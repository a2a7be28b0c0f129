// The weekly window of a form.

import { weekdays } from '../../src/client/enum-values.ts';
import { useFieldError } from './field-errors.tsx';
import { Checkbox, Field, Text } from './fields.tsx';
import { defaultWindow, type ScheduleWindow } from './wave-draft.ts';
import './window-fields.css';

type Parts = {
  /** Null: at any time. */
  readonly window: ScheduleWindow | null;
  readonly onChange: (window: ScheduleWindow | null) => void;
};

/** Returns a window as text. */
export const windowText = ({ days, from, until, timeZone }: ScheduleWindow) => `${days.join(', ')} ${from}–${until} ${timeZone}`;

/** Whether loads are requested only in a weekly window, and its fields. */
export function WindowField({ window, onChange }: Parts) {
  return (
    <>
      <Checkbox label="only in a weekly window" isOn={window !== null} onChange={(isOn) => onChange(isOn ? defaultWindow() : null)} />
      {window !== null && <WindowFields window={window} onChange={onChange} />}
    </>
  );
}

type WindowParts = { readonly window: ScheduleWindow; readonly onChange: (window: ScheduleWindow) => void };

function WindowFields({ window, onChange }: WindowParts) {
  const { days, from, until, timeZone } = window;
  const fault = useFieldError('/window/days');
  return (
    <fieldset class="window-fields">
      <legend>Weekly window for loads</legend>
      <div class="ticks">
        {weekdays.map((day) => (
          <Checkbox
            key={day}
            label={day}
            isOn={days.includes(day)}
            onChange={(isOn) => onChange({ ...window, days: weekdays.filter((one) => (one === day ? isOn : days.includes(one))) })}
          />
        ))}
      </div>
      {(fault !== null || days.length === 0) && <p class="error-message">{fault ?? 'Select one day or more.'}</p>}
      <div class="fields">
        <Clock label="From" value={from} onChange={(value) => onChange({ ...window, from: value })} />
        <Clock
          label={until > from ? 'Until' : 'Until (next day)'}
          value={until}
          onChange={(value) => onChange({ ...window, until: value })}
        />
        <Text
          label="Time zone"
          pointer="/window/timeZone"
          placeholder="Europe/Berlin"
          required
          maxLength={64}
          offered={timeZones}
          value={timeZone}
          onChange={(value) => onChange({ ...window, timeZone: value })}
        />
      </div>
    </fieldset>
  );
}

const timeZones = ['UTC', ...Intl.supportedValuesOf('timeZone')];

/** A field for a time of day. */
function Clock({ label, value, onChange }: { readonly label: string; readonly value: string; readonly onChange: (value: string) => void }) {
  return (
    <Field label={label}>
      {(attributes) => (
        <input
          {...attributes}
          type="time"
          required
          value={value}
          onInput={({ currentTarget }) => {
            if (currentTarget.value !== '') onChange(currentTarget.value.slice(0, 5));
          }}
        />
      )}
    </Field>
  );
}
