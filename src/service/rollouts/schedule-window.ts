// When loads may begin: a window on some days of the week, by the wall clock of a time zone.

export const weekdays = ['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday'] as const;
export type Weekday = (typeof weekdays)[number];

/**
 * Open from `from` to just before `until` (both `HH:MM`, from 00:00 to 23:59) of each of the days. Where `until` is not after `from` it is of the
 * next day, and the window belongs to the day on which it began; where they are the same, it is open for a whole day from then on.
 *
 * It is open while the clock shows a time in it. What the clock skips in spring is never open: a window that begins there opens with the change,
 * one that is wholly there does not open on that day. What it shows twice in autumn is open twice.
 */
export type ScheduleWindow = {
  readonly days: readonly Weekday[];
  readonly from: string;
  readonly until: string;
  /** A name of the IANA time zone database, or UTC. */
  readonly timeZone: string;
};

/** Milliseconds after which a search for an opening ends: a week, and one day more in case the clock skips the first opening. */
const searchMilliseconds = 8 * 24 * 3_600_000;

/** Returns whether loads may begin at that moment. @throws {RangeError} for an unknown time zone. */
export function isOpen(window: ScheduleWindow, at: Date): boolean {
  return isOpenByClock(window, zonedTime(window.timeZone, at).toPlainDateTime());
}

/**
 * Returns when the window next opens: `at` itself if it is open. Null if it does not open within 8 days: it has no day, or the clock skips it.
 * @throws {RangeError} for an unknown time zone.
 */
export function nextOpening(window: ScheduleWindow, at: Date): Date | null {
  const end = at.getTime() + searchMilliseconds;
  let moment: Temporal.ZonedDateTime | null = zonedTime(window.timeZone, at);
  // The clock runs evenly until its next change, so an opening before the change is found by the clock alone.
  while (moment !== null && moment.epochMilliseconds <= end) {
    const opening = moment.epochMilliseconds + millisecondsToOpening(window, moment.toPlainDateTime());
    const change: Temporal.ZonedDateTime | null = moment.getTimeZoneTransition('next');
    if (opening < (change?.epochMilliseconds ?? Number.POSITIVE_INFINITY)) return opening <= end ? new Date(opening) : null;
    moment = change;
  }
  return null;
}

/** Returns whether a name is in the IANA time zone database of the runtime, UTC included. Offsets such as +01:00 are not. */
export function isTimeZone(name: string): boolean {
  try {
    zonedTime(name, new Date());
    // Temporal takes offsets, and times such as T0000Z.
    return /^[A-Za-z]/.test(name) && new Intl.DateTimeFormat('en', { timeZone: name }) !== null;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

function zonedTime(timeZone: string, at: Date): Temporal.ZonedDateTime {
  const instant = Temporal.Instant.fromEpochMilliseconds(at.getTime());
  try {
    return instant.toZonedDateTimeISO(timeZone);
  } catch {
    // Abbreviations such as PST are names to Intl only.
    return instant.toZonedDateTimeISO(new Intl.DateTimeFormat('en', { timeZone }).resolvedOptions().timeZone);
  }
}

function isOpenByClock({ days, from, until }: ScheduleWindow, clock: Temporal.PlainDateTime): boolean {
  const today = clock.toPlainDate();
  // Times are compared as texts: all begin with two digits for the hour and two for the minute.
  const time = clock.toPlainTime().toString();
  if (from < until) return time >= from && time < until && isOn(days, today);
  return time >= from ? isOn(days, today) : time < until && isOn(days, today.add({ days: -1 }));
}

/** Returns the time until the window opens on a clock that runs evenly: 0 if it is open, infinity if it never opens. */
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
