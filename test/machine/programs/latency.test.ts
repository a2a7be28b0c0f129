// Latency and failures in a program's statistics, by version.

import fc from 'fast-check';
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
import type { LoadOptions } from '../../../src/machine/device.ts';
import { Processor } from '../../../src/machine/index.ts';
import { LatencyHistogram } from '../../../src/machine/programs/latency-histogram.ts';
import type { VersionStatistics } from '../../../src/machine/programs/version-counters.ts';
import { Latency, latencyCalls, latencyQuantile } from '../../../src/protocol/latency.ts';
import { SimulatedClock, settle } from '../simulated-clock.ts';
import { compiler, createTestMachine, moduleImage, referenceCount, type TestMachine, until } from '../test-machine.ts';

/** Time passes only while threads sleep or pause, so that the duration of each call is known exactly. */
let clock: SimulatedClock;
let machine: TestMachine;
beforeEach(() => {
  clock = new SimulatedClock(0);
  machine = createTestMachine({ processor: new Processor({ clock: clock }) });
});
afterEach(() => drive(machine.close()));
afterAll(() => compiler.close());

/** Lets time pass until a promise settles. */
async function drive<Value>(promise: Promise<Value>): Promise<Value> {
  let isSettled = false;
  const settled = promise.finally(() => {
    isSettled = true;
  });
  settled.catch(() => {});
  await settle();
  while (!isSettled) if (!(await clock.step())) await settle();
  return settled;
}

async function driveUntil(condition: () => boolean): Promise<void> {
  await settle();
  for (let step = 0; !condition(); step += 1) {
    if (step > 100_000) throw new Error(`condition not met:  ${condition}`);
    if (!(await clock.step())) await settle();
  }
}

const driveToEnd = (program: string, { statistics } = machine) => driveUntil(() => statistics(program).state !== 'running');

const nothing = { microseconds: [], calls: [] };
/** Compiles first, because time would pass while the compiler works. */
async function load(version: string, text: string, { module = 'tcp', ...options }: Omit<LoadOptions, 'image'> & { module?: string } = {}) {
  const image = await moduleImage(module, version, text);
  return drive(machine.device.load({ image, ...options }));
}

const versionsOf = (program: string) => machine.statistics(program).versions;
const sumOf = (versions: readonly VersionStatistics[], what: 'callsCompleted' | 'callsFailed') =>
  versions.reduce((sum, version) => sum + version[what], 0);

/** `work(factor, modulus)` sleeps for one millisecond more than (factor · number of calls so far) modulo modulus. */
const sleepingModule = `
  (module
    (import "kernel" "sleep" (func $sleep (param i32)))
    (global $calls (mut i32) (i32.const 0))
    (func (export "work") (param $factor i32) (param $most i32) (result i32)
      (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
      (call $sleep (i32.add (i32.rem_u (i32.mul (global.get $calls) (local.get $factor)) (local.get $most)) (i32.const 1)))
      (global.get $calls)))`;

/** Sleeps in each call, and traps in every n-th one. */
const trappingModule = (every: number, milliseconds = 1) => `
  (module
    (import "kernel" "sleep" (func $sleep (param i32)))
    (global $calls (mut i32) (i32.const 0))
    (func (export "work") (param i32) (result i32)
      (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
      (call $sleep (i32.const ${milliseconds}))
      (if (i32.eqz (i32.rem_u (global.get $calls) (i32.const ${every}))) (then (unreachable)))
      (global.get $calls)))`;

test('measures all slow calls of any mix: each quantile is at most a sixteenth too high, and pauses do not count', async () => {
  const mix = fc.record({
    factor: fc.integer({ min: 1, max: 1_000 }),
    modulus: fc.integer({ min: 1, max: 20_000 }),
    calls: fc.integer({ min: 1, max: 60 }),
    pauseMilliseconds: fc.constantFrom(0, 0, 1, 100_000),
  });
  await fc.assert(
    fc.asyncProperty(mix, fc.double({ min: 0, max: 1, noNaN: true }), async ({ factor, modulus, calls, pauseMilliseconds }, quantile) => {
      const own = createTestMachine({ processor: machine.processor });
      await drive(own.load('tcp', '1.0.0', sleepingModule));
      await own.start('p', { module: 'tcp', arguments: [String(factor), String(modulus)], calls, pauseMilliseconds });
      await driveToEnd('p', own);
      const latency = own.statistics('p').versions[0]?.latency ?? nothing;
      await drive(own.device.close());
      const took = Array.from({ length: calls }, (_, index) => 1_000 * ((((index + 1) * factor) % modulus) + 1));
      const exact = took.toSorted((left, right) => left - right)[Math.max(0, Math.ceil(quantile * calls) - 1)] ?? 0;
      expect(latencyCalls(latency)).toBe(calls);
      expect(latencyQuantile(latency, quantile)).toBeGreaterThanOrEqual(exact);
      expect(latencyQuantile(latency, quantile)).toBeLessThanOrEqual(exact * (1 + 1 / 16));
    }),
    { numRuns: 100 },
  );
});

test('measures each thread separately, and counts the time that a call waits for other threads', async () => {
  await load('1.0.0', sleepingModule);
  await machine.start('p', { module: 'tcp', arguments: ['0', '1'], threads: 20, calls: 30 });
  await driveToEnd('p');
  expect(versionsOf('p')).toMatchObject([{ callsCompleted: 600, latency: { microseconds: [1_024], calls: [600] } }]);
});

/** `work(n)` returns immediately. */
const fastModule = '(module (func (export "work") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1))))';

/** Maximum calls of one thread after the last sample. */
const maxCallsAfterSample = 66_000;

test('samples fast calls, and the samples stand for all calls but the last ones of each thread', async () => {
  const real = createTestMachine();
  await real.load('tcp', '1.0.0', fastModule);
  await real.start('p', { module: 'tcp', threads: 3, calls: 2_000_000 });
  await until(() => real.statistics('p').state === 'finished');
  const [version] = real.statistics('p').versions;
  await real.close();
  expect(version).toMatchObject({ callsCompleted: 6_000_000, callsFailed: 0 });
  const counted = latencyCalls(version?.latency ?? nothing);
  expect(counted).toBeLessThanOrEqual(6_000_000);
  expect(counted).toBeGreaterThan(6_000_000 - 3 * maxCallsAfterSample);
});

/** Sleeps for 2 ms in every n-th call, and otherwise returns immediately. */
const periodicModule = (every: number, from = 0) => `
  (module
    (import "kernel" "sleep" (func $sleep (param i32)))
    (global $calls (mut i32) (i32.const 0))
    (func (export "work") (param i32) (result i32)
      (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
      (if (i32.gt_u (global.get $calls) (i32.const ${from}))
        (then (if (i32.eqz (i32.rem_u (global.get $calls) (i32.const ${every}))) (then (call $sleep (i32.const 2))))))
      (i32.const 0)))`;

/** Returns the number of calls counted as 2 ms long. */
const slowCalls = ({ microseconds, calls }: VersionStatistics['latency']) => calls[microseconds.indexOf(2_048)] ?? 0;

test.each([2, 33, 100, 201, 1_000])('counts one slow call in %i as often as it occurs', async (every) => {
  await load('1.0.0', periodicModule(every));
  const calls = every * 20_000;
  await machine.start('p', { module: 'tcp', threads: 4, calls });
  await driveToEnd('p');
  const [version] = versionsOf('p');
  const share = slowCalls(version?.latency ?? nothing) / (4 * calls);
  expect(share * every).toBeGreaterThan(0.75);
  expect(share * every).toBeLessThan(1.35);
});

/** Maximum slow calls of one thread before the change is detected. */
const maxUndetected = 300;

test('detects that fast calls become slow, and does not count the earlier calls as slow', async () => {
  // Not a number of calls at which a sample is due: that sample would measure the first slow call, and stand for the fast calls before it.
  await load('1.0.0', periodicModule(1, 510_000));
  await machine.start('p', { module: 'tcp', calls: 512_000 });
  await driveToEnd('p');
  const [version] = versionsOf('p');
  const slow = slowCalls(version?.latency ?? nothing);
  expect(slow).toBeGreaterThan(2_000 - maxUndetected);
  expect(slow).toBeLessThanOrEqual(2_000);
});

/** Returns immediately a number of times, and then sleeps for an hour. */
const fadingModule = (calls: number) => `
  (module
    (import "kernel" "sleep" (func $sleep (param i32)))
    (global $calls (mut i32) (i32.const 0))
    (func (export "work") (param i32) (result i32)
      (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
      (if (i32.gt_u (global.get $calls) (i32.const ${calls})) (then (call $sleep (i32.const 3600000))))
      (i32.const 0)))`;

test('measures all calls of a new version at first, and attributes none of them to the old version', async () => {
  await load('1.0.0', fadingModule(500_000));
  await machine.start('p', { module: 'tcp', calls: 500_050 });
  await driveUntil(() => referenceCount(machine, 'tcp') === 1);
  await load('1.1.0', trappingModule(1_000, 5));
  await driveToEnd('p');
  const [old, current] = versionsOf('p');
  expect(old).toMatchObject({ version: '1.0.0', callsCompleted: 500_000, latency: { microseconds: [1] } });
  expect(latencyCalls(old?.latency ?? nothing)).toBeGreaterThan(500_000 - maxCallsAfterSample);
  expect(current).toMatchObject({ version: '1.1.0', callsCompleted: 50, latency: { microseconds: [5_120], calls: [49] } });
});

test('still reports calls of a deleted version', async () => {
  await load('1.0.0', trappingModule(1_000));
  await machine.start('p', { module: 'tcp', pauseMilliseconds: 10 });
  await driveUntil(() => clock.now() > 100);
  await load('1.1.0', trappingModule(1_000), { invalidation: 'delete' });
  await driveUntil(() => machine.processor.images.size === 1 && clock.now() > 200);
  await drive(machine.device.stopProgram('p'));
  const [old, current] = versionsOf('p');
  for (const [version, of] of [
    ['1.0.0', old],
    ['1.1.0', current],
  ] as const)
    expect(of).toMatchObject({ version, latency: { microseconds: [1_024], calls: [of?.callsCompleted] } });
  expect(old?.callsCompleted).toBeGreaterThan(5);
  expect(sumOf(versionsOf('p'), 'callsCompleted')).toBe(machine.statistics('p').callsCompleted);
});

test('does not measure an interrupted call, however long it was inside the old version', async () => {
  await load('1.0.0', trappingModule(1_000, 3_600_000));
  await machine.start('p', { module: 'tcp', threads: 3, calls: 5 });
  await driveUntil(() => referenceCount(machine, 'tcp') === 3);
  const options = { strategy: 'drain-then-inject', drainMilliseconds: 1_800_000 } as const;
  const report = await load('1.1.0', trappingModule(1_000, 10), options);
  expect(report).toMatchObject({ outcome: 'replaced-interrupting', interrupted: 3, retried: 3 });
  await driveToEnd('p');
  expect(versionsOf('p')).toEqual([
    { version: '1.1.0', callsCompleted: 15, callsFailed: 0, latency: { microseconds: [10_240], calls: [12] } },
  ]);
});

test('does not measure a failed call, and counts it for the version that it was inside', async () => {
  await load('1.0.0', trappingModule(3));
  await machine.start('p', { module: 'tcp', pauseMilliseconds: 10 });
  await driveUntil(() => machine.statistics('p').callsFailed === 7);
  await load('1.1.0', trappingModule(2, 5));
  await driveUntil(() => machine.statistics('p').callsFailed === 20);
  await drive(machine.device.stopProgram('p'));
  const [old, current] = versionsOf('p');
  expect(old).toMatchObject({ version: '1.0.0', callsFailed: 7, latency: { microseconds: [1_024], calls: [old?.callsCompleted] } });
  expect(old?.callsCompleted).toBeGreaterThanOrEqual(14);
  expect(current).toMatchObject({
    version: '1.1.0',
    callsFailed: 13,
    latency: { microseconds: [5_120], calls: [current?.callsCompleted] },
  });
  expect(current?.callsCompleted).toBe(13);
});

const outerModule =
  '(module (import "inner" "work" (func $inner (param i32) (result i32))) (func (export "work") (param i32) (result i32) (call $inner (local.get 0))))';

test('does not measure a call that is interrupted repeatedly, even if its own version stays installed', async () => {
  await load('1.0.0', fadingModule(1), { module: 'inner' });
  await load('1.0.0', outerModule);
  await machine.start('p', { module: 'tcp', calls: 5 });
  for (const [version, milliseconds] of [
    ['1.1.0', 3_600_000],
    ['1.2.0', 3_600_000],
    ['1.3.0', 10],
  ] as const) {
    await driveUntil(() => referenceCount(machine, 'inner') === 1);
    expect(await load(version, trappingModule(1_000, milliseconds), { module: 'inner' })).toMatchObject({ retried: 1 });
  }
  await driveToEnd('p');
  expect(versionsOf('p')).toMatchObject([{ version: '1.0.0', callsCompleted: 5, latency: { microseconds: [1, 10_240], calls: [1, 3] } }]);
});

test('counts a call that fails in a nested module for the version that the program calls', async () => {
  await load('9.0.0', trappingModule(1), { module: 'inner' });
  await load('1.0.0', outerModule);
  await machine.start('p', { module: 'tcp', calls: 2 });
  await driveToEnd('p');
  expect(versionsOf('p')).toEqual([{ version: '1.0.0', callsCompleted: 0, callsFailed: 2, latency: { microseconds: [], calls: [] } }]);
});

test('counts calls that find no module for no version', async () => {
  await machine.start('p', { module: 'tcp', pauseMilliseconds: 1 });
  await driveUntil(() => machine.statistics('p').callsFailed === 2);
  expect(versionsOf('p')).toMatchObject([{ version: '', callsCompleted: 0, callsFailed: 2 }]);
  await load('1.0.0', trappingModule(1_000));
  await driveUntil(() => machine.statistics('p').callsCompleted > 2);
  await drive(machine.device.stopProgram('p'));
  expect(versionsOf('p')).toMatchObject([
    { version: '', callsCompleted: 0 },
    { version: '1.0.0', callsFailed: 0 },
  ]);
  expect(sumOf(versionsOf('p'), 'callsFailed')).toBe(machine.statistics('p').callsFailed);
});

test('loses no call past the limit of versions: older versions are merged into the oldest one', async () => {
  const versions = 105;
  await machine.start('p', { module: 'tcp', pauseMilliseconds: 1 });
  for (let minor = 1; minor <= versions; minor += 1) {
    const { callsFailed } = machine.statistics('p');
    await load(`1.${minor}.0`, trappingModule(2), { invalidation: 'delete' });
    await driveUntil(() => machine.statistics('p').callsFailed >= callsFailed + 2);
  }
  await drive(machine.device.stopProgram('p'));
  const { callsCompleted, callsFailed, versions: kept } = machine.statistics('p');
  expect(kept).toHaveLength(100);
  expect(kept.at(-1)?.version).toBe(`1.${versions}.0`);
  expect(callsFailed).toBeGreaterThanOrEqual(2 * versions);
  expect(sumOf(kept, 'callsFailed')).toBe(callsFailed);
  expect(sumOf(kept, 'callsCompleted')).toBe(callsCompleted);
  const [oldest, second] = kept;
  expect(oldest?.callsFailed).toBeGreaterThanOrEqual(10);
  expect(latencyCalls(oldest?.latency ?? nothing)).toBeGreaterThan(latencyCalls(second?.latency ?? nothing));
  for (const { callsCompleted: completed, latency } of kept) expect(latencyCalls(latency)).toBeLessThanOrEqual(completed);
});

test('has at most 512 buckets, whose bounds exceed the duration by at most a sixteenth or a microsecond', () => {
  const histogram = new LatencyHistogram();
  const times = fc.oneof(fc.double({ min: 0, max: 100, noNaN: true }), fc.double({ min: 0, max: 2 ** 35, noNaN: true }));
  fc.assert(
    fc.property(times, fc.integer({ min: 1, max: 1_000 }), (microseconds, calls) => {
      const alone = new LatencyHistogram();
      alone.add(microseconds, calls);
      const [bound = 0] = alone.toLatency().microseconds;
      expect(Number.isInteger(bound)).toBe(true);
      expect(bound).toBeGreaterThanOrEqual(microseconds);
      expect(bound).toBeLessThanOrEqual(Math.max(microseconds * (1 + 1 / 16), microseconds + 1));
      histogram.addAll(alone);
    }),
    { numRuns: 20_000 },
  );
  for (let power = 0; power < 60; power += 1) for (let part = 16; part < 32; part += 1) histogram.add(2 ** power * part, 1);
  expect(Latency.parse(histogram.toLatency()).microseconds.at(-1)).toBe(2 ** 35);
});
