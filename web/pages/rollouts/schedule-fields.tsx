// The schedule of a rollout: start, weekly window and load rate.

import { weekdays } from '../../../src/client/enum-values.ts';
import { useFieldError } from '../../components/field-errors.tsx';
import { Checkbox, Field, OptionalNumber, Text, WholeNumber } from '../../components/fields.tsx';
import { TimeField } from '../../components/time-field.tsx';
import { timeText } from '../../components/times.tsx';
import { type Draft, defaultWindow, type ScheduleWindow } from './rollout-draft.ts';
import { scheduleText } from './rollout-text.ts';

type Parts = { readonly draft: Draft; readonly onChange: (changes: Partial<Draft>) => void };

/** Summarizes the schedule in one line. */
export function scheduleTextOf({ startAt, ...draft }: Draft): string {
  return scheduleText({ ...draft, startAt: startAt === '' ? null : startAt }, timeText);
}

export function ScheduleFields({ draft: { startAt, window, devicesInFlight, loadsPerMinute }, onChange }: Parts) {
  return (
    <>
      <div class="fields">
        <TimeField label="Not before" at="/startAt" value={startAt} onChange={(value) => onChange({ startAt: value })} />
        <WholeNumber
          label="Maximum concurrent loads"
          pointer="/devicesInFlight"
          value={devicesInFlight}
          min={1}
          max={10_000}
          onChange={(value) => onChange({ devicesInFlight: value })}
        />
        <OptionalNumber
          label="Maximum loads per minute"
          pointer="/loadsPerMinute"
          value={loadsPerMinute}
          min={1}
          max={1_000_000}
          step={1}
          placeholder="unlimited"
          onChange={(value) => onChange({ loadsPerMinute: value })}
        />
        <Checkbox
          label="only in a weekly window"
          isOn={window !== null}
          onChange={(isOn) => onChange({ window: isOn ? defaultWindow() : null })}
        />
      </div>
      {window !== null && <WindowFields window={window} onChange={(changed) => onChange({ window: changed })} />}
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
