// The schedule of a rollout: start, weekly window and load rate.

import { OptionalNumber, WholeNumber } from '../../components/fields.tsx';
import { TimeField } from '../../components/time-field.tsx';
import { timeText } from '../../components/times.tsx';
import { WindowField } from '../../components/window-fields.tsx';
import type { Draft } from './rollout-draft.ts';
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
      </div>
      <WindowField window={window} onChange={(changed) => onChange({ window: changed })} />
    </>
  );
}
