// The fields of a weekly window: days, times and time zone.

import type { Schemas } from '../../src/client/client.ts';
import { weekdays } from '../../src/client/enum-values.ts';
import { useFieldError } from './field-errors.tsx';
import { Checkbox, Field, Text } from './fields.tsx';
import './window-fields.css';

export type ScheduleWindow = Schemas['ScheduleWindow'];

/** Returns a window on weeknights, in the user's time zone. */
export function defaultWindow(): ScheduleWindow {
  const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
  return { days: ['monday', 'tuesday', 'wednesday', 'thursday', 'friday'], from: '22:00', until: '04:00', timeZone };
}

/** Returns a window in one line. */
export function windowText({ days, from, until, timeZone }: ScheduleWindow): string {
  return `${days.length === weekdays.length ? 'every day' : days.join(', ')} ${from}–${until} ${timeZone}`;
}

type OptionalParts = {
  /** Null: at any time. */
  readonly window: ScheduleWindow | null;
  readonly onChange: (window: ScheduleWindow | null) => void;
};

/** Whether loads are requested only in a weekly window, and its fields. */
export function WindowField({ window, onChange }: OptionalParts) {
  return (
    <>
      <Checkbox label="only in a weekly window" isOn={window !== null} onChange={(isOn) => onChange(isOn ? defaultWindow() : null)} />
      {window !== null && <WindowFields legend="Weekly window for loads" pointer="/window" window={window} onChange={onChange} />}
    </>
  );
}

type Parts = {
  readonly legend: string;
  /** JSON pointer of the window in the request. */
  readonly pointer: string;
  readonly window: ScheduleWindow;
  readonly onChange: (window: ScheduleWindow) => void;
};

export function WindowFields({ legend, pointer, window, onChange }: Parts) {
  const { days, from, until, timeZone } = window;
  const fault = useFieldError(`${pointer}/days`);
  return (
    <fieldset class="window-fields">
      <legend>{legend}</legend>
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
          pointer={`${pointer}/timeZone`}
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
