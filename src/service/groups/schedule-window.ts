// Schedule windows of groups, rollouts and assignments: loads may begin on some days of the week, by the wall clock of a time zone.

import { z } from 'zod';
import { invalidValue } from '../problem.ts';

export const weekdays = ['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday'] as const;
export type Weekday = (typeof weekdays)[number];

/**
 * Open from `from` to just before `until` (both `HH:MM`, from 00:00 to 23:59) on each of the days. If `until` is not after `from`, the window closes
 * on the next day and belongs to the day on which it opens. If both are equal, the window is open for a whole day.
 *
 * The window is open while the wall clock shows a time in it. Times skipped at the start of daylight saving time never occur: a window that begins in
 * the gap opens at the change, and a window wholly in the gap does not open on that day. Times that occur twice at its end are open twice.
 */
export type ScheduleWindow = {
  readonly days: readonly Weekday[];
  readonly from: string;
  readonly until: string;
  /** A name of the IANA time zone database, or UTC. */
  readonly timeZone: string;
};

const Weekday = z.enum(weekdays).meta({ id: 'Weekday' });
const timeOfDay = z
  .string()
  .regex(/^([01]\d|2[0-3]):[0-5]\d$/, 'must be a time of day such as 22:30')
  .meta({ examples: ['22:00'] });

export const exampleWindow = { days: ['saturday', 'sunday'], from: '22:00', until: '04:00', timeZone: 'Europe/Berlin' } as const;

export const ScheduleWindow = z
  .object({
    days: z.array(Weekday).min(1).max(7).describe('Days on which the window opens.'),
    from: timeOfDay.describe('Time of day at which the window opens.'),
    until: timeOfDay.describe('Time of day at which the window closes; on the next day if not after `from`.').meta({ examples: ['04:00'] }),
    timeZone: z
      .string()
      .max(64)
      .describe('Time zone of `days`, `from` and `until`, by its name in the IANA time zone database.')
      .meta({ examples: ['Europe/Berlin'] }),
  })
  .meta({
    id: 'ScheduleWindow',
    description: 'Recurring time window in which loads begin. Loads in progress when it closes continue.',
    examples: [{ ...exampleWindow, days: [...exampleWindow.days] }],
  });

/** How far ahead to search for an opening: a week, and one day in case daylight saving time skips the first opening. */
const searchMilliseconds = 8 * 24 * 3_600_000;

/** Returns whether loads may begin at a time. @throws {RangeError} for an unknown time zone. */
export function isOpen(window: ScheduleWindow, at: Date): boolean {
  return isOpenByClock(window, zonedTime(window.timeZone, at).toPlainDateTime());
}

/**
 * Returns when the window next opens; `at` itself if it is open. Null if it does not open within 8 days: it has no day, or the clock skips it.
 * @throws {RangeError} for an unknown time zone.
 */
export function nextOpening(window: ScheduleWindow, at: Date): Date | null {
  const end = at.getTime() + searchMilliseconds;
  let moment: Temporal.ZonedDateTime | null = zonedTime(window.timeZone, at);
  // The offset from UTC is constant until the next transition, so wall-clock arithmetic finds an opening before the transition.
  while (moment !== null && moment.epochMilliseconds <= end) {
    const opening = moment.epochMilliseconds + millisecondsToOpening(window, moment.toPlainDateTime());
    const change: Temporal.ZonedDateTime | null = moment.getTimeZoneTransition('next');
    if (opening < (change?.epochMilliseconds ?? Number.POSITIVE_INFINITY)) return opening <= end ? new Date(opening) : null;
    moment = change;
  }
  return null;
}

/** Returns whether a name is in the runtime's IANA time zone database. UTC is; offsets such as +01:00 are not. */
export function isTimeZone(name: string): boolean {
  try {
    zonedTime(name, new Date());
    // Temporal also accepts offsets, and times such as T0000Z.
    return /^[A-Za-z]/.test(name) && new Intl.DateTimeFormat('en', { timeZone: name }) !== null;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

/** @param pointer JSON pointer of the window in the request. @throws {Problem} `invalid-value` if the time zone is unknown. */
export function checkTimeZone({ timeZone }: Pick<ScheduleWindow, 'timeZone'>, pointer: string): void {
  if (!isTimeZone(timeZone))
    throw invalidValue(`${pointer}/timeZone`, `unknown time zone "${timeZone}": use an IANA name such as Europe/Berlin, or UTC`);
}

function zonedTime(timeZone: string, at: Date): Temporal.ZonedDateTime {
  const instant = Temporal.Instant.fromEpochMilliseconds(at.getTime());
  try {
    return instant.toZonedDateTimeISO(timeZone);
  } catch {
    // Only Intl knows abbreviations such as PST.
    return instant.toZonedDateTimeISO(new Intl.DateTimeFormat('en', { timeZone }).resolvedOptions().timeZone);
  }
}

function isOpenByClock({ days, from, until }: ScheduleWindow, clock: Temporal.PlainDateTime): boolean {
  const today = clock.toPlainDate();
  // Times compare as strings: all begin with a two-digit hour and minute.
  const time = clock.toPlainTime().toString();
  if (from < until) return time >= from && time < until && isOn(days, today);
  return time >= from ? isOn(days, today) : time < until && isOn(days, today.add({ days: -1 }));
}

/** Returns the time until the window opens, ignoring time zone transitions: 0 if it is open, infinity if it never opens. */
function millisecondsToOpening(window: ScheduleWindow, clock: Temporal.PlainDateTime): number {
  if (isOpenByClock(window, clock)) return 0;
  const today = clock.toPlainDate();
  for (let ahead = 0; ahead < 8; ahead += 1) {
    const date = today.add({ days: ahead });
    const opening = date.toPlainDateTime(Temporal.PlainTime.from(window.from));
    if (isOn(window.days, date) && Temporal.PlainDateTime.compare(opening, clock) > 0) return clock.until(opening).total('milliseconds');
  }
  return Number.POSITIVE_INFINITY;
}

const isOn = (days: readonly Weekday[], { dayOfWeek }: Temporal.PlainDate) =>
  days.some((day) => weekdays.indexOf(day) === dayOfWeek % weekdays.length);
