// Schedule windows, compared with a model that reads the wall clock, around daylight saving time transitions.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isOpen, isTimeZone, nextOpening, type ScheduleWindow, type Weekday } from '../../../src/service/groups/schedule-window.ts';

const weekdays = ['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday'] as const;
const minute = 60_000;
const day = 24 * 60 * minute;

const window = (days: readonly Weekday[], hours: string, timeZone = 'UTC'): ScheduleWindow => {
  const [from = '', until = ''] = hours.split('-');
  return { days, from, until, timeZone };
};

const anyTime = fc
  .tuple(fc.nat(23), fc.nat(59))
  .map(([hours, minutes]) => `${String(hours).padStart(2, '0')}:${String(minutes).padStart(2, '0')}`);
/** Zones with transitions of an hour, of half an hour and none, and with offsets that are not whole hours. */
const zones = ['UTC', 'Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'Asia/Kathmandu', 'America/St_Johns', 'Pacific/Apia'];
const anyWindow = (...timeZones: readonly string[]) =>
  fc.record({
    days: fc.subarray([...weekdays]),
    from: anyTime,
    until: fc.oneof(anyTime, fc.constant(null)),
    timeZone: fc.constantFrom(...timeZones),
  });
type AnyWindow = Omit<ScheduleWindow, 'until'> & { readonly until: string | null };
const toWindow = ({ until, ...rest }: AnyWindow): ScheduleWindow => ({ ...rest, until: until ?? rest.from });

/** Transitions of the zones. */
const changes = [
  '2026-03-08T07:00Z',
  '2026-03-29T01:00Z',
  '2026-04-04T15:00Z',
  '2026-10-03T15:30Z',
  '2026-10-25T01:00Z',
  '2026-11-01T06:00Z',
];
const anyMoment = fc
  .oneof(
    fc.tuple(fc.constantFrom(...changes.map(Date.parse)), fc.integer({ min: -3 * day, max: day })).map(([change, from]) => change + from),
    fc.integer({ min: Date.parse('2015-01-01T00:00Z'), max: Date.parse('2040-01-01T00:00Z') }),
  )
  .map((time) => new Date(time));

/** Returns what the wall clock of a zone shows. */
const clocks = new Map<string, Intl.DateTimeFormat>();
function clockOf(timeZone: string, at: Date): { readonly weekday: number; readonly time: string } {
  const clock =
    clocks.get(timeZone) ??
    new Intl.DateTimeFormat('en', { timeZone, weekday: 'long', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
  clocks.set(timeZone, clock);
  const parts = new Map(clock.formatToParts(at).map(({ type, value }) => [type, value]));
  const weekday = weekdays.map(String).indexOf(parts.get('weekday')?.toLowerCase() ?? '');
  return { weekday, time: `${parts.get('hour')}:${parts.get('minute')}` };
}

/** Returns whether a window is open by the wall clock. */
function isOpenByModel({ days, from, until, timeZone }: ScheduleWindow, at: Date): boolean {
  const { weekday, time } = clockOf(timeZone, at);
  const [today, yesterday] = [weekday, (weekday + 6) % 7].map((index) => days.some((name) => name === weekdays[index]));
  const isPastMidnight = until <= from;
  return (today && time >= from && (isPastMidnight || time < until)) || (yesterday === true && isPastMidnight && time < until);
}

test('is open while the wall clock of its zone shows a time in the window', () => {
  fc.assert(
    fc.property(anyWindow(...zones).map(toWindow), anyMoment, (any, at) => {
      expect(isOpen(any, at)).toBe(isOpenByModel(any, at));
    }),
    { numRuns: 2_000 },
  );
});

test('is open in UTC on each of its days for its full length', () => {
  fc.assert(
    fc.property(anyWindow('UTC').map(toWindow), anyMoment, (any, at) => {
      const [from = 0, until = 0] = [any.from, any.until].map((text) => Date.parse(`1970-01-01T${text}Z`));
      const length = until > from ? until - from : until - from + day;
      const midnight = Math.floor(at.getTime() / day) * day;
      const openings = Array.from({ length: 10 }, (_, index) => midnight + (index - 1) * day + from).filter((opening) =>
        any.days.some((name) => weekdays[new Date(opening).getUTCDay()] === name),
      );
      const isIn = openings.some((opening) => opening <= at.getTime() && at.getTime() < opening + length);
      expect(isOpen(any, at)).toBe(isIn);
      const next = isIn ? at.getTime() : (openings.find((opening) => opening > at.getTime()) ?? null);
      expect(nextOpening(any, at)?.getTime() ?? null).toBe(next);
    }),
    { numRuns: 1_000 },
  );
});

test('is open at its next opening and closed in every minute before', () => {
  fc.assert(
    fc.property(anyWindow(...zones).map(toWindow), anyMoment, (any, at) => {
      const next = nextOpening(any, at);
      const end = next?.getTime() ?? at.getTime() + 8 * day;
      if (next !== null) {
        expect(isOpenByModel(any, next)).toBe(true);
        if (next > at) expect(isOpenByModel(any, new Date(next.getTime() - 1))).toBe(false);
        else expect(next).toEqual(at);
      }
      const minutes = Array.from(
        { length: Math.ceil((end - at.getTime()) / minute) },
        (_, index) => new Date(at.getTime() + index * minute),
      );
      expect(minutes.find((time) => isOpenByModel(any, time))).toBe(undefined);
    }),
    { numRuns: 150 },
  );
});

describe('start of daylight saving time', () => {
  // In Berlin on 29 March 2026, 02:00 is 03:00, at 01:00 UTC; in New York on 8 March, at 07:00 UTC.
  test.each<[string, ScheduleWindow, string, string | null]>([
    ['opens before the gap', window(['sunday'], '01:00-04:00', 'Europe/Berlin'), '2026-03-28T23:00Z', '2026-03-29T00:00Z'],
    [
      'opens at the change if its start is skipped',
      window(['sunday'], '02:30-04:00', 'Europe/Berlin'),
      '2026-03-29T00:30Z',
      '2026-03-29T01:00Z',
    ],
    ['opens at the change if it starts then', window(['sunday'], '03:00-04:00', 'Europe/Berlin'), '2026-03-29T00:30Z', '2026-03-29T01:00Z'],
    [
      'opens before the change if its end is skipped',
      window(['sunday'], '01:30-02:30', 'Europe/Berlin'),
      '2026-03-29T00:00Z',
      '2026-03-29T00:30Z',
    ],
    [
      'opens on its next day if it is wholly skipped',
      window(['sunday'], '02:00-03:00', 'Europe/Berlin'),
      '2026-03-28T23:00Z',
      '2026-04-05T00:00Z',
    ],
    ['does not open within eight days', window(['sunday'], '02:15-02:45', 'Europe/Berlin'), '2026-03-22T02:00Z', null],
    [
      'opens on another of its days',
      window(['sunday', 'tuesday'], '02:15-02:45', 'Europe/Berlin'),
      '2026-03-28T23:00Z',
      '2026-03-31T00:15Z',
    ],
    [
      'stays open across the change if it began on the day before',
      window(['saturday'], '23:00-03:30', 'Europe/Berlin'),
      '2026-03-29T01:29Z',
      '2026-03-29T01:29Z',
    ],
    ['closes by the new time', window(['saturday'], '23:00-03:30', 'Europe/Berlin'), '2026-03-29T01:30Z', '2026-04-04T21:00Z'],
    ['opens at the change in New York', window(['sunday'], '02:30-04:00', 'America/New_York'), '2026-03-08T06:00Z', '2026-03-08T07:00Z'],
    [
      'opens at the half-hour change on Lord Howe Island',
      window(['sunday'], '02:15-04:00', 'Australia/Lord_Howe'),
      '2026-10-03T15:00Z',
      '2026-10-03T15:30Z',
    ],
  ])('%s', (_title, scheduleWindow, at, next) => {
    expect(nextOpening(scheduleWindow, new Date(at))).toEqual(next === null ? null : new Date(next));
  });
});

describe('end of daylight saving time', () => {
  // In Berlin on 25 October 2026, 03:00 is 02:00, at 01:00 UTC; in New York on 1 November, 02:00 is 01:00, at 06:00 UTC.
  const open = (scheduleWindow: ScheduleWindow, ...times: readonly string[]) => times.map((time) => isOpen(scheduleWindow, new Date(time)));

  test('is open twice at times that the clock shows twice', () => {
    const berlin = window(['sunday'], '02:00-02:30', 'Europe/Berlin');
    expect(open(berlin, '2026-10-25T00:00Z', '2026-10-25T00:29Z', '2026-10-25T00:30Z')).toEqual([true, true, false]);
    expect(open(berlin, '2026-10-25T01:00Z', '2026-10-25T01:29Z', '2026-10-25T01:30Z')).toEqual([true, true, false]);
    expect(nextOpening(berlin, new Date('2026-10-25T00:45Z'))).toEqual(new Date('2026-10-25T01:00Z'));
    const newYork = window(['sunday'], '01:15-01:45', 'America/New_York');
    expect(nextOpening(newYork, new Date('2026-11-01T05:00Z'))).toEqual(new Date('2026-11-01T05:15Z'));
    expect(nextOpening(newYork, new Date('2026-11-01T05:45Z'))).toEqual(new Date('2026-11-01T06:15Z'));
    const lordHowe = window(['sunday'], '01:45-02:00', 'Australia/Lord_Howe');
    expect(open(lordHowe, '2026-04-04T14:45Z', '2026-04-04T15:00Z', '2026-04-04T15:15Z', '2026-04-04T15:30Z')).toEqual([
      true,
      false,
      true,
      false,
    ]);
  });
});

test('uses the offset of its zone, even if it is not a whole hour', () => {
  const kathmandu = window(['monday'], '00:00-00:15', 'Asia/Kathmandu');
  expect(nextOpening(kathmandu, new Date('2026-06-07T12:00Z'))).toEqual(new Date('2026-06-07T18:15Z'));
  expect(isOpen(kathmandu, new Date('2026-06-07T18:30Z'))).toBe(false);
});

test('belongs to the day on which it opens, and lasts a whole day if both times are equal', () => {
  const night = window(['friday'], '22:00-06:00');
  expect(
    ['2026-06-05T05:59Z', '2026-06-05T22:00Z', '2026-06-06T05:59Z', '2026-06-06T06:00Z', '2026-06-06T22:00Z'].map((at) =>
      isOpen(night, new Date(at)),
    ),
  ).toEqual([false, true, true, false, false]);
  for (const [scheduleWindow, first, last] of [
    [window(['friday'], '00:00-00:00'), '2026-06-05T00:00:00.000Z', '2026-06-05T23:59:59.999Z'],
    [window(['friday'], '08:00-08:00'), '2026-06-05T08:00:00.000Z', '2026-06-06T07:59:59.999Z'],
  ] as const) {
    const [begin, end] = [Date.parse(first), Date.parse(last)];
    expect([begin - 1, begin, end, end + 1].map((at) => isOpen(scheduleWindow, new Date(at)))).toEqual([false, true, true, false]);
  }
});

test('never opens without a day', () => {
  expect(nextOpening(window([], '00:00-00:00'), new Date('2026-06-05T00:00Z'))).toBe(null);
});

test('accepts IANA names in any case and their aliases, but neither offsets nor times', () => {
  for (const name of ['UTC', 'Etc/UTC', 'Europe/Berlin', 'europe/berlin', 'Asia/Katmandu', 'Asia/Kathmandu', 'Australia/Lord_Howe', 'PST'])
    expect([name, isTimeZone(name)]).toEqual([name, true]);
  for (const name of ['', ' ', 'Berlin', 'Europe/Berlin ', 'Europe/Atlantis', '+01:00', '-0330', 'GMT+1', 'T0000Z', '2026-06-05T00:00Z'])
    expect([name, isTimeZone(name)]).toEqual([name, false]);
  expect(() => isOpen(window(['monday'], '00:00-01:00', 'Europe/Atlantis'), new Date())).toThrow(RangeError);
});

test('resolves an abbreviation that only Intl knows', () => {
  const pacific = window(['monday'], '09:00-10:00', 'PST');
  expect(nextOpening(pacific, new Date('2026-06-07T12:00Z'))).toEqual(new Date('2026-06-08T16:00Z'));
});

test('follows the wall clock in every zone of the runtime', () => {
  const names = Intl.supportedValuesOf('timeZone');
  expect(names.length).toBeGreaterThan(300);
  for (const timeZone of names) {
    const scheduleWindow = window(['wednesday'], '09:00-17:30', timeZone);
    for (const at of ['2026-01-14T00:30Z', '2026-07-15T12:00Z', '2026-07-15T23:30Z'].map((text) => new Date(text)))
      expect([timeZone, at, isOpen(scheduleWindow, at)]).toEqual([timeZone, at, isOpenByModel(scheduleWindow, at)]);
  }
});
