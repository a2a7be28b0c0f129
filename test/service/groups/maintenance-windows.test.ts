// The windows of several groups together, compared with a model that looks at every minute.

import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { formatWindows, isAnyOpen, nextCommonOpening, readWindows } from '../../../src/service/groups/maintenance-windows.ts';
import { isOpen, type ScheduleWindow, weekdays } from '../../../src/service/groups/schedule-window.ts';

const minute = 60_000;
const day = 24 * 60 * minute;
const horizon = 30 * day;

/** Quarters of an hour, so that windows often meet. */
const anyTime = fc.nat(95).map((quarter) => {
  const [hours, minutes] = [Math.floor(quarter / 4), (quarter % 4) * 15];
  return `${String(hours).padStart(2, '0')}:${String(minutes).padStart(2, '0')}`;
});
const anyWindow: fc.Arbitrary<ScheduleWindow> = fc.record({
  days: fc.subarray([...weekdays], { minLength: 1, maxLength: 3 }),
  from: anyTime,
  until: anyTime,
  timeZone: fc.constantFrom('UTC', 'Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'Asia/Kathmandu'),
});
const anyGroups = fc.array(fc.array(anyWindow, { maxLength: 3 }), { maxLength: 3 });
/** Around transitions of these zones, and elsewhere; not only at whole minutes. */
const anyMoment = fc
  .tuple(
    fc.constantFrom(
      '2026-03-08T07:00Z',
      '2026-03-29T01:00Z',
      '2026-04-04T15:00Z',
      '2026-10-25T01:00Z',
      '2026-11-01T06:00Z',
      '2026-07-01T00:00Z',
    ),
    fc.integer({ min: -9 * day, max: day }),
  )
  .map(([change, from]) => new Date(Date.parse(change) + from));

const areOpen = (groups: readonly (readonly ScheduleWindow[])[], at: Date) =>
  groups.every((windows) => windows.some((window) => isOpen(window, at)));

/** Windows open and close at whole minutes, so it is enough to look at these. */
function openingByModel(groups: readonly (readonly ScheduleWindow[])[], at: Date): Date | null {
  if (areOpen(groups, at)) return at;
  const end = at.getTime() + horizon;
  for (let moment = Math.ceil(at.getTime() / minute) * minute; moment <= end; moment += minute)
    if (areOpen(groups, new Date(moment))) return new Date(moment);
  return null;
}

test('groups open together when a model finds the first minute in which all of them are open', () => {
  let opened = 0;
  fc.assert(
    fc.property(anyGroups, anyMoment, (groups, at) => {
      const expected = openingByModel(groups, at);
      if (expected !== null && expected > at) opened += 1;
      expect(nextCommonOpening(groups, at)).toEqual(expected);
    }),
    { numRuns: 60 },
  );
  expect(opened).toBeGreaterThan(5);
});

const window = (days: readonly (typeof weekdays)[number][], hours: string, timeZone = 'UTC'): ScheduleWindow => {
  const [from = '', until = ''] = hours.split('-');
  return { days, from, until, timeZone };
};
const at = new Date('2026-06-01T12:00Z');

test('without groups every moment is open; a group without windows never is', () => {
  expect(nextCommonOpening([], at)).toEqual(at);
  expect(nextCommonOpening([[]], at)).toBe(null);
  expect(isAnyOpen([], at)).toBe(false);
});

test('windows that never meet do not open, and windows in different zones open where they meet', () => {
  const berlin = window(['monday', 'tuesday'], '22:00-04:00', 'Europe/Berlin');
  expect(nextCommonOpening([[berlin], [window(['thursday'], '00:00-00:00')]], at)).toBe(null);
  expect(nextCommonOpening([[berlin], [window(['monday'], '21:30-23:00')]], at)).toEqual(new Date('2026-06-01T21:30Z'));
  expect(nextCommonOpening([[berlin, window(['monday'], '13:00-14:00')], [window(['monday'], '13:30-13:45')]], at)).toEqual(
    new Date('2026-06-01T13:30Z'),
  );
});

test('the search through the windows of 100 groups that are never open together asks for each opening about once', () => {
  const asked = vi.spyOn(Temporal.ZonedDateTime.prototype, 'getTimeZoneTransition');
  const groups = Array.from({ length: 100 }, (_, group) =>
    Array.from({ length: 10 }, (__, hour) => {
      const minutes = (from: number) => `${String(2 * hour).padStart(2, '0')}:${String(from % 60).padStart(2, '0')}`;
      return window(weekdays, `${minutes(group % 50)}-${minutes((group % 50) + 1)}`);
    }),
  );
  expect(nextCommonOpening(groups, at)).toBe(null);
  // Two groups that never meet have 600 openings in 30 days.
  expect(asked.mock.calls.length).toBeLessThan(3_000);
  asked.mockRestore();
});

test('a weekly window that daylight saving time skips opens a week later, more than eight days away', () => {
  const skipped = window(['sunday'], '02:15-02:45', 'Europe/Berlin');
  expect(nextCommonOpening([[skipped]], new Date('2026-03-22T02:00Z'))).toEqual(new Date('2026-04-05T00:15Z'));
});

test('stored windows are read back, and damaged ones are recognised', () => {
  const windows = [window(['monday'], '22:00-04:00', 'Europe/Berlin')];
  expect(readWindows(JSON.stringify(windows))).toEqual(windows);
  expect(readWindows(windows)).toEqual(windows);
  for (const damaged of ['{', '{}', '[{"days":[]}]', 7]) expect(readWindows(damaged)).toBe(null);
  // The time zone database of a runtime may know fewer zones than that of the runtime that stored the windows.
  for (const unknown of [
    [window(['monday'], '22:00-04:00', 'Europe/Atlantis')],
    [...windows, window(['monday'], '22:00-04:00', '+01:00')],
  ]) {
    expect(readWindows(unknown)).toBe(null);
    expect(readWindows(JSON.stringify(unknown))).toBe(null);
  }
  expect(formatWindows([...windows, window(['sunday'], '00:00-06:00')])).toBe('monday 22:00-04:00 Europe/Berlin; sunday 00:00-06:00 UTC');
});
