// When the loads of a rollout are requested, and how many.

import { weekdays } from '../../../src/client/enum-values.ts';
import { useFault } from '../../parts/faults.tsx';
import { Amount, Field, Text, Tick, Whole } from '../../parts/fields.tsx';
import { TimeField } from '../../parts/time-field.tsx';
import { clockText } from '../../parts/times.tsx';
import { type Draft, type ScheduleWindow, usualWindow } from './rollout-draft.ts';
import { paceText } from './words.ts';

type Parts = { readonly draft: Draft; readonly onChange: (changes: Partial<Draft>) => void };

/** What the fields say, in a line. */
export function paceOf({ startAt, ...draft }: Draft): string {
  return paceText({ ...draft, startAt: startAt === '' ? null : startAt }, clockText);
}

export function PaceFields({ draft: { startAt, window, devicesInFlight, loadsPerMinute }, onChange }: Parts) {
  return (
    <>
      <div class="fields">
        <TimeField label="Not before" at="/startAt" value={startAt} onChange={(value) => onChange({ startAt: value })} />
        <Whole
          label="Maximum concurrent loads"
          at="/devicesInFlight"
          value={devicesInFlight}
          least={1}
          most={10_000}
          onChange={(value) => onChange({ devicesInFlight: value })}
        />
        <Amount
          label="Maximum loads per minute"
          at="/loadsPerMinute"
          value={loadsPerMinute}
          least={1}
          most={1_000_000}
          step={1}
          placeholder="unlimited"
          onChange={(value) => onChange({ loadsPerMinute: value })}
        />
        <Tick
          label="only in a weekly window"
          isOn={window !== null}
          onChange={(isOn) => onChange({ window: isOn ? usualWindow() : null })}
        />
      </div>
      {window !== null && <WindowFields window={window} onChange={(changed) => onChange({ window: changed })} />}
    </>
  );
}

type WindowParts = { readonly window: ScheduleWindow; readonly onChange: (window: ScheduleWindow) => void };

function WindowFields({ window, onChange }: WindowParts) {
  const { days, from, until, timeZone } = window;
  const fault = useFault('/window/days');
  return (
    <fieldset class="window-fields">
      <legend>Weekly window for loads</legend>
      <div class="ticks">
        {weekdays.map((day) => (
          <Tick
            key={day}
            label={day}
            isOn={days.includes(day)}
            onChange={(isOn) => onChange({ ...window, days: weekdays.filter((one) => (one === day ? isOn : days.includes(one))) })}
          />
        ))}
      </div>
      {(fault !== null || days.length === 0) && <p class="told">{fault ?? 'Select one day or more.'}</p>}
      <div class="fields">
        <Clock label="From" value={from} onChange={(value) => onChange({ ...window, from: value })} />
        <Clock
          label={until > from ? 'Until' : 'Until (next day)'}
          value={until}
          onChange={(value) => onChange({ ...window, until: value })}
        />
        <Text
          label="Time zone"
          at="/window/timeZone"
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

/** A time of the day. */
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
