// How `rollout create` understands waves, windows and thresholds.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { readThreshold, readWave, readWindow } from '../../src/cli/operator/rollout-request.ts';

const days = ['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday'] as const;

test('a wave is parsed, with its options in any order', () => {
  const size = fc.oneof(
    fc.integer({ min: 1, max: 50_000 }).map((devices) => ({ text: `${devices}`, wave: { devices } })),
    fc.integer({ min: 0, max: 1_000 }).map((tenths) => ({ text: `${tenths / 10}%`, wave: { upToPercent: tenths / 10 } })),
  );
  const approval = fc.constant({ text: 'approval', wave: { approval: true } });
  const soak = fc.integer({ min: 0, max: 604_800 }).map((seconds) => ({ text: `soak=${seconds}`, wave: { soakSeconds: seconds } }));
  const options = fc.tuple(fc.option(approval), fc.option(soak), fc.boolean());
  fc.assert(
    fc.property(size, options, (first, [one, other, isReversed]) => {
      const given = [one, other].filter((option) => option !== null);
      const parts = [first, ...(isReversed ? given.toReversed() : given)];
      expect(readWave(parts.map(({ text }) => text).join(','))).toEqual(Object.assign({}, ...parts.map(({ wave }) => wave)));
    }),
  );
});

test.each([
  ['', 'expected a size with options, like 5, 10%'],
  ['0', 'expected a size with options, like 5, 10%'],
  ['2.5', 'expected a size with options, like 5, 10%'],
  ['-1', 'expected a size with options, like 5, 10%'],
  ['100.1%', 'expected a size with options, like 5, 10%'],
  ['ten', 'expected a size with options, like 5, 10%'],
  ['5,', 'expected a size with options, like 5, 10%'],
  ['5,approve', 'expected a size with options, like 5, 10%'],
  ['5,soak', 'expected a size with options, like 5, 10%'],
  ['5,approval=yes', 'expected a size with options, like 5, 10%'],
  ['5,soak=', 'soak: expected a number from 0 to 604800, received ""'],
  ['5,soak=-1', 'soak: expected a number from 0 to 604800, received "-1"'],
  ['5,soak=604801', 'soak: expected a number from 0 to 604800, received "604801"'],
  ['5,soak=1,soak=2', 'an option is given twice'],
  ['5,approval,approval', 'an option is given twice'],
])('the wave "%s" is rejected', (text, message) => {
  expect(() => readWave(text)).toThrow(message);
});

test('a window is parsed, with full or abbreviated days', () => {
  const time = fc
    .tuple(fc.integer({ min: 0, max: 23 }), fc.integer({ min: 0, max: 59 }))
    .map((numbers) => numbers.map((number) => String(number).padStart(2, '0')).join(':'));
  const day = fc.tuple(fc.constantFrom(...days), fc.integer({ min: 3, max: 9 }), fc.boolean()).map(([name, length, isLoud]) => {
    const short = name.slice(0, length);
    return { name, text: isLoud ? short.toUpperCase() : short };
  });
  const some = fc.uniqueArray(day, { minLength: 1, maxLength: 7, selector: ({ name }) => name });
  fc.assert(
    fc.property(some, time, time, fc.constantFrom('UTC', 'Europe/Berlin', 'America/Argentina/Salta'), (on, from, until, timeZone) => {
      const text = `${on.map((one) => one.text).join(',')} ${from}-${until} ${timeZone}`;
      expect(readWindow(text)).toEqual({ days: on.map(({ name }) => name), from, until, timeZone });
    }),
  );
});

test.each(days.flatMap((first, from) => days.map((last, to) => ({ first, last, from, to }))))(
  'the range from $first to $last contains both and the days between',
  ({ first, last, from, to }) => {
    const expected = days.slice(from, to + 1);
    const across = [...days.slice(from), ...days.slice(0, to + 1)];
    const range = { days: from <= to ? expected : across, from: '22:00', until: '04:00', timeZone: 'UTC' };
    expect(readWindow(`${first.slice(0, 3)}-${last.toUpperCase()} 22:00-04:00 UTC`)).toEqual(range);
    expect(readWindow(`${first},${first.slice(0, 3)}-${last} 22:00-04:00 UTC`)).toEqual(range);
  },
);

test.each([
  '',
  'sat',
  'sat- 22:00-04:00 UTC',
  '-sat 22:00-04:00 UTC',
  'mon-wed-fri 22:00-04:00 UTC',
  'mon-satyr 22:00-04:00 UTC',
  'sat 22:00-04:00',
  'sa 22:00-04:00 UTC',
  'satyr 22:00-04:00 UTC',
  'sat, sun 22:00-04:00 UTC',
  'sat,,sun 22:00-04:00 UTC',
  'sat 24:00-04:00 UTC',
  'sat 22:60-04:00 UTC',
  'sat 2:00-04:00 UTC',
  'sat 22:00-04:00 Europe/Berlin now',
])('the window "%s" is rejected', (text) => {
  expect(() => readWindow(text)).toThrow('--window: expected days, times and a time zone');
});

test('a threshold is a number or off', () => {
  expect(readThreshold('failed-loads', 'off', 100)).toBe('off');
  expect(readThreshold('failed-loads', '0', 100)).toBe(0);
  expect(readThreshold('failed-loads', '2.5', 100)).toBe(2.5);
  expect(readThreshold('latency-increase', '250')).toBe(250);
  for (const text of ['', 'on', '-1', '100.5', 'NaN'])
    expect(() => readThreshold('failed-loads', text, 100)).toThrow(
      `--failed-loads: expected a number from 0 to 100, or off; received "${text}"`,
    );
});
