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

const minute = 60_000;
const day = 24 * 60 * minute;
/** How far an opening is looked for, in milliseconds: every day of the week, and one more where the first has no such time. */
const farthest = 8 * day;
/** Milliseconds in which no zone changes its clock twice. */
const changeApart = 6 * 60 * minute;
/** Formatters that are kept, for they are slow to make; the oldest goes first. */
const formattersKept = 200;
const formatters = new Map<string, Intl.DateTimeFormat>();

/** Whether loads may begin at that moment. @throws {RangeError} where there is no such time zone. */
export function isOpen(window: ScheduleWindow, at: Date): boolean {
  return isOpenByClock(window, at.getTime() + offsetAt(window.timeZone, at.getTime()));
}

/**
 * When the window next opens: `at` itself where it is open. Null where it does not within 8 days: it is of no day, or the clock skips it.
 * @throws {RangeError} where there is no such time zone.
 */
export function nextOpening(window: ScheduleWindow, at: Date): Date | null {
  const end = at.getTime() + farthest;
  // Between two changes of the clock it is so much ahead of UTC throughout, and openings are found by counting.
  for (let moment = at.getTime(); moment <= end; ) {
    const offset = offsetAt(window.timeZone, moment);
    const opening = nextOpeningByClock(window, moment + offset) - offset;
    const change = nextChange(window.timeZone, moment, Math.min(opening, end));
    if (change === null) return opening <= end ? new Date(opening) : null;
    moment = change;
  }
  return null;
}

/** Whether it is a name of the IANA time zone database that the runtime knows, or UTC; offsets like +01:00 are none. */
export function isTimeZone(name: string): boolean {
  try {
    return /^[A-Za-z]/.test(name) && formatterOf(name) !== null;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

/** @param clock What the wall clock shows, in milliseconds, as if it were UTC. */
function isOpenByClock({ days, from, until }: ScheduleWindow, clock: number): boolean {
  const [begin, end, time] = [timeOf(from), timeOf(until), clock - dayOf(clock)];
  if (begin < end) return time >= begin && time < end && isOn(days, clock);
  return time >= begin ? isOn(days, clock) : time < end && isOn(days, clock - day);
}

/** What the clock shows when the window next opens, as if it went on evenly; infinity where it never does. */
function nextOpeningByClock(window: ScheduleWindow, clock: number): number {
  if (isOpenByClock(window, clock)) return clock;
  const openings = Array.from({ length: 8 }, (_, index) => dayOf(clock) + index * day + timeOf(window.from));
  return openings.find((opening) => opening > clock && isOn(window.days, opening)) ?? Number.POSITIVE_INFINITY;
}

/** The first moment after `from` at which the clock differs from UTC by something else than then; null where there is none up to `until`. */
function nextChange(timeZone: string, from: number, until: number): number | null {
  const offset = offsetAt(timeZone, from);
  for (let before = from; before < until; before += changeApart) {
    let [same, changed] = [before, Math.min(before + changeApart, until)];
    if (offsetAt(timeZone, changed) === offset) continue;
    while (changed - same > 1) {
      const middle = Math.floor((same + changed) / 2);
      if (offsetAt(timeZone, middle) === offset) same = middle;
      else changed = middle;
    }
    return changed;
  }
  return null;
}

/** How far the zone's clock is ahead of UTC, in milliseconds. */
function offsetAt(timeZone: string, moment: number): number {
  const name = formatterOf(timeZone)
    .formatToParts(moment)
    .find(({ type }) => type === 'timeZoneName')?.value;
  // "GMT" alone, or with an offset like "+05:45", which has seconds where there was no standard time yet.
  const [, sign, hours = 0, minutes = 0, seconds = 0] = /^GMT(?:([+-])(\d\d):(\d\d)(?::(\d\d))?)?$/.exec(name ?? '') ?? [];
  const offset = (Number(hours) * 60 + Number(minutes)) * minute + Number(seconds) * 1_000;
  return sign === '-' ? -offset : offset;
}

function formatterOf(timeZone: string): Intl.DateTimeFormat {
  const known = formatters.get(timeZone);
  if (known !== undefined) return known;
  const made = new Intl.DateTimeFormat('en', { timeZone, timeZoneName: 'longOffset' });
  const [oldest] = formatters.keys();
  if (formatters.size >= formattersKept && oldest !== undefined) formatters.delete(oldest);
  formatters.set(timeZone, made);
  return made;
}

/** Milliseconds from midnight to a time of the day. */
function timeOf(text: string): number {
  const [hours, minutes] = text.split(':');
  return (Number(hours) * 60 + Number(minutes)) * minute;
}

/** The midnight before. */
const dayOf = (clock: number) => Math.floor(clock / day) * day;

function isOn(days: readonly Weekday[], clock: number): boolean {
  const weekday = new Date(clock).getUTCDay();
  return days.some((one) => weekdays.indexOf(one) === weekday);
}
