// How a wave is judged: what its programs have done against the version before, and each threshold.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DeviceState } from '../../../src/protocol/device-state.ts';
import { newIdentifier } from '../../../src/protocol/identifiers.ts';
import { noCallers } from '../../../src/service/rollouts/callers.ts';
import { aggregate, captureBaseline, type Measurement, measureActivity } from '../../../src/service/rollouts/measurement.ts';
import { defaultThresholds, type Thresholds } from '../../../src/service/rollouts/plan.ts';
import {
  describeFailure,
  describeShortfall,
  evaluateThresholds,
  type WaveResults,
} from '../../../src/service/rollouts/threshold-evaluation.ts';
import { state } from '../agents/agent.ts';

const measured: Measurement = {
  calls: 1_000,
  failedCalls: 0,
  p99Microseconds: 100,
  abiViolations: 0,
  before: { calls: 1_000, failedCalls: 0, p99Microseconds: 100 },
};
const well: WaveResults = { devices: 100, loaded: 100, failedLoads: 0, interruptedAccesses: 0, measured };

const failure = (thresholds: Partial<Thresholds>, results: Partial<WaveResults>, figures: Partial<Measurement> = {}) =>
  describeFailure({ ...defaultThresholds, ...thresholds }, { ...well, ...results, measured: { ...measured, ...figures } });

test('a wave in which all goes well has not failed', () => {
  expect(failure({ latencyIncreasePercent: 0, interruptedAccesses: 0 }, {})).toBeNull();
});

test('loads that have not succeeded count in percent of the devices of the wave', () => {
  expect(failure({ failedLoadsPercent: 5 }, { failedLoads: 5 })).toBeNull();
  expect(failure({ failedLoadsPercent: 5 }, { failedLoads: 6 })).toBe('6 of 100 loads have not succeeded, and 5 % may');
  expect(failure({}, { failedLoads: 1 })).toMatch(/^1 of 100/);
  expect(failure({ failedLoadsPercent: null }, { failedLoads: 100 })).toBeNull();
  expect(failure({}, { devices: 0, loaded: 0 })).toBeNull();
});

test('interrupted accesses count on the average of the devices that have the version', () => {
  expect(failure({ interruptedAccesses: 2 }, { loaded: 10, interruptedAccesses: 20 })).toBeNull();
  expect(failure({ interruptedAccesses: 2 }, { loaded: 10, interruptedAccesses: 21 })).toBe(
    '2.1 accesses were interrupted on each device, and 2 may be',
  );
  expect(failure({}, { interruptedAccesses: 1_000_000 })).toBeNull();
});

test('failed calls count by how many more of a hundred fail than in the version before', () => {
  expect(failure({}, {}, { failedCalls: 10 })).toBeNull();
  expect(failure({}, {}, { failedCalls: 11 })).toMatch(
    /^11 of 1000 calls have failed since .* \(0 of 1000 in the version before\), and 1 percentage points more may$/,
  );
  const before = { calls: 100, failedCalls: 50, p99Microseconds: null };
  expect(failure({}, {}, { failedCalls: 500, before })).toBeNull();
  expect(failure({}, {}, { failedCalls: 511, before })).toMatch(/^511 of 1000/);
  expect(failure({}, {}, { failedCalls: 1_000, before: { ...before, calls: 0, failedCalls: 0 } })).toMatch(/^1000 of 1000/);
});

test('calls are judged when there are as many as are to be judged by', () => {
  expect(failure({ minimumCalls: 20 }, {}, { calls: 19, failedCalls: 19 })).toBeNull();
  expect(failure({ minimumCalls: 20 }, {}, { calls: 20, failedCalls: 20 })).toMatch(/^20 of 20/);
  expect(failure({ minimumCalls: 0 }, {}, { calls: 0, failedCalls: 0 })).toBeNull();
});

test('violations of the ABI count on all devices together', () => {
  expect(failure({}, {}, { abiViolations: 1 })).toBe('1 program holds on to code that has gone, and 0 may');
  expect(failure({ abiViolations: 1 }, {}, { abiViolations: 1 })).toBeNull();
});

test('latency counts by how much the 99th percentile has risen', () => {
  expect(failure({ latencyIncreasePercent: 50 }, {}, { p99Microseconds: 150 })).toBeNull();
  expect(failure({ latencyIncreasePercent: 50 }, {}, { p99Microseconds: 151 })).toBe(
    '99 % of the calls take up to 151 µs, 51 % more than the 100 µs of the version before, and 50 % more are allowed',
  );
  const before = { calls: 19, failedCalls: 0, p99Microseconds: 1 };
  expect(failure({ latencyIncreasePercent: 50 }, {}, { before })).toBeNull();
  expect(failure({ latencyIncreasePercent: 50 }, {}, { p99Microseconds: null })).toBeNull();
});

test('a share that is exactly the limit is within the limit', () => {
  // With floating point, 7 / 25 × 100 is 28.000000000000004, and so for 16 pairs up to 100 devices.
  expect(failure({ failedLoadsPercent: 28 }, { devices: 25, loaded: 18, failedLoads: 7 })).toBeNull();
  for (let devices = 1; devices <= 100; devices += 1)
    for (let failedLoads = 0; failedLoads <= devices; failedLoads += 1) {
      if ((failedLoads * 100) % devices !== 0) continue;
      const percent = (failedLoads * 100) / devices;
      expect(failure({ failedLoadsPercent: percent }, { devices, failedLoads })).toBeNull();
      expect(
        evaluateThresholds({ ...defaultThresholds, failedLoadsPercent: percent }, { ...well, devices, failedLoads })[0]?.measured,
      ).toBe(percent);
    }
  const before = { calls: 25, failedCalls: 3, p99Microseconds: null };
  expect(failure({ failedCallsPercent: 16 }, {}, { calls: 25, failedCalls: 7, before })).toBeNull();
  expect(failure({ interruptedAccesses: 0.3 }, { loaded: 10, interruptedAccesses: 3 })).toBeNull();
  // 1.1 / 1 - 1 is 0.10000000000000009.
  expect(failure({ latencyIncreasePercent: 10 }, {}, { p99Microseconds: 110 })).toBeNull();
});

test('a share that is a little more than the limit is shown as more', () => {
  expect(
    evaluateThresholds({ ...defaultThresholds, failedLoadsPercent: 28 }, { ...well, devices: 50_000, failedLoads: 14_001 })[0],
  ).toEqual({
    threshold: 'failedLoadsPercent',
    limit: 28,
    measured: 28.002,
    exceeded: true,
  });
  expect(
    failure({ latencyIncreasePercent: 50 }, {}, { p99Microseconds: 1_500_001, before: { ...measured.before, p99Microseconds: 1_000_000 } }),
  ).toMatch(/ 50\.0001 % more than .* 50 % more are allowed$/);
});

const counts = fc.integer({ min: 1, max: 200 }).chain((whole) => fc.tuple(fc.integer({ min: 0, max: whole }), fc.constant(whole)));

/** Two shares, and a limit as people write it, with up to three decimals: at random, or as near to one of both, or to their difference, as it can be. */
const cases = fc.tuple(counts, counts).chain(([now, before]) => {
  const shares = [now[0] / now[1], now[0] / now[1] / 100, now[0] / now[1] - before[0] / before[1], now[0] / now[1] - 1];
  const near = shares.map((share) => fc.constant(Math.max(0, Math.round(share * 100_000))));
  return fc.record({
    now: fc.constant(now),
    before: fc.constant(before),
    thousandths: fc.oneof(fc.integer({ min: 0, max: 100_000 }), ...near),
  });
});

/** The verdict about one threshold. */
const isExceeded = (thresholds: Partial<Thresholds>, results: Partial<WaveResults>, figures: Partial<Measurement> = {}) =>
  evaluateThresholds(
    { ...defaultThresholds, failedLoadsPercent: null, failedCallsPercent: null, abiViolations: null, minimumCalls: 0, ...thresholds },
    { ...well, ...results, measured: { ...measured, ...figures } },
  ).map(({ exceeded }) => exceeded);

test('every threshold is compared as an exact fraction', () => {
  fc.assert(
    fc.property(cases, ({ now: [failed, whole], before: [failedBefore, wholeBefore], ...drawn }) => {
      const [limit, thousandths] = [drawn.thousandths / 1_000, BigInt(drawn.thousandths)];
      const [part, all, partBefore, allBefore] = [BigInt(failed), BigInt(whole), BigInt(failedBefore), BigInt(wholeBefore)];
      expect(isExceeded({ failedLoadsPercent: limit }, { devices: whole, failedLoads: failed })).toEqual([
        part * 100_000n > thousandths * all,
      ]);
      expect(isExceeded({ interruptedAccesses: limit }, { loaded: whole, interruptedAccesses: failed })).toEqual([
        part * 1_000n > thousandths * all,
      ]);
      const calls = { calls: whole, failedCalls: failed, before: { calls: wholeBefore, failedCalls: failedBefore, p99Microseconds: 1 } };
      expect(isExceeded({ failedCallsPercent: limit }, {}, calls)).toEqual([
        (part * allBefore - partBefore * all) * 100_000n > thousandths * all * allBefore,
      ]);
      const latencies = { p99Microseconds: failed, before: { calls: 1, failedCalls: 0, p99Microseconds: whole } };
      expect(isExceeded({ latencyIncreasePercent: limit }, {}, latencies)).toEqual([(part - all) * 100_000n > thousandths * all]);
    }),
    { numRuns: 2_000 },
  );
});

test('every threshold that is passed is told, and each that is judged has a verdict', () => {
  expect(failure({}, { failedLoads: 1 }, { abiViolations: 2 })).toMatch(/^1 of 100 .*; 2 programs/);
  expect(evaluateThresholds(defaultThresholds, { ...well, measured: { ...measured, calls: 3 } })).toEqual([
    { threshold: 'failedLoadsPercent', limit: 0, measured: 0, exceeded: false },
    { threshold: 'failedCallsPercent', limit: 1, measured: null, exceeded: false },
    { threshold: 'abiViolations', limit: 0, measured: 0, exceeded: false },
  ]);
});

test('where calls are required, a wave without them has not shown enough', () => {
  const few = { ...well, measured: { ...measured, calls: 19 } };
  expect(describeShortfall(defaultThresholds, few)).toBeNull();
  expect(describeShortfall({ ...defaultThresholds, requireCalls: true }, few)).toMatch(/have made 19 calls .* and 20 are required/);
  expect(describeShortfall({ ...defaultThresholds, requireCalls: true }, well)).toBeNull();
});

const caller = newIdentifier('program');
const other = newIdentifier('program');
const unrelated = newIdentifier('program');
/** One calls the module, and one calls a module that calls it. */
const callers = { direct: new Set([caller]), indirect: new Set([other]) };

const swap = { module: 'tcp', version: '1.1.0', previousVersion: '1.0.0', before: null };

type Version = { readonly version: string; readonly completed: number; readonly failed: number; readonly microseconds?: number };

/** @param held How many programs were found to hold on to code of the module; there is one of another module besides. */
function reported(programs: Readonly<Record<string, readonly Version[]>>, held = 0): DeviceState {
  const at = new Date().toISOString();
  const violation = (module: string, page: number) => {
    const kept = { version: '1.0.0', address: `0x${page}000`, page, flag: 'nx', at, lastAt: at, faults: 1 };
    return { program: caller, module, ...kept };
  };
  const newest = [violation('udp', 9), ...Array.from({ length: held }, (_, index) => violation('tcp', index + 1))];
  return DeviceState.parse({
    ...state(),
    programs: Object.entries(programs).map(([program, versions]) => ({
      program,
      state: 'running',
      threads: 1,
      callsCompleted: versions.reduce((sum, { completed }) => sum + completed, 0),
      callsFailed: versions.reduce((sum, { failed }) => sum + failed, 0),
      accessesInterrupted: 0,
      accessesRetried: 0,
      effects: 0,
      lastFailure: null,
      lastResult: null,
      versions: versions.map(({ version, completed, failed, microseconds }) => ({
        version,
        callsCompleted: completed,
        callsFailed: failed,
        latency: microseconds === undefined ? { microseconds: [], calls: [] } : { microseconds: [microseconds], calls: [completed] },
      })),
    })),
    abiViolations: { total: newest.length, newest },
  });
}

test('what has been done since is what there is more than at the load, and before is what the version before has served', () => {
  const atLoad = reported(
    {
      [caller]: [
        { version: '0.9.0', completed: 500, failed: 400, microseconds: 9_000 },
        { version: '1.0.0', completed: 100, failed: 1, microseconds: 50 },
        { version: '1.1.0', completed: 2, failed: 0, microseconds: 60 },
      ],
      // Calls another module, whose version nobody has changed.
      [other]: [
        { version: '0.9.0', completed: 1_000, failed: 1_000 },
        { version: '5.0.0', completed: 10, failed: 2, microseconds: 50 },
      ],
      [unrelated]: [{ version: '7.0.0', completed: 1_000, failed: 0, microseconds: 1 }],
    },
    3,
  );
  const baseline = captureBaseline(atLoad, { ...swap, before: reported({}, 3) }, callers);
  const later = reported(
    {
      [caller]: [
        { version: '0.9.0', completed: 500, failed: 400, microseconds: 9_000 },
        { version: '1.0.0', completed: 100, failed: 1, microseconds: 50 },
        { version: '1.1.0', completed: 42, failed: 5, microseconds: 60 },
      ],
      [other]: [
        { version: '0.9.0', completed: 1_000, failed: 1_000 },
        { version: '5.0.0', completed: 17, failed: 3, microseconds: 50 },
      ],
      [unrelated]: [{ version: '7.0.0', completed: 90_000, failed: 9, microseconds: 1 }],
    },
    5,
  );
  expect(aggregate([measureActivity(baseline, later, 'tcp', noCallers)])).toEqual({
    // Two of the new version before the device reported.
    calls: 42 + 5 + 7 + 1,
    failedCalls: 5 + 1,
    p99Microseconds: 60,
    abiViolations: 2,
    before: { calls: 101 + 12, failedCalls: 1 + 2, p99Microseconds: 50 },
  });
  expect(aggregate([measureActivity(baseline, atLoad, 'tcp', noCallers)])).toMatchObject({
    calls: 2,
    failedCalls: 0,
    abiViolations: 0,
  });
  expect(aggregate([measureActivity(baseline, later, 'tcp', noCallers), measureActivity(baseline, later, 'tcp', noCallers)])).toMatchObject(
    {
      calls: 110,
      abiViolations: 4,
      before: { calls: 226 },
    },
  );
});

test('what the version had served in an earlier stay is not counted, and neither is who held on to code before', () => {
  const earlier = reported(
    {
      [caller]: [
        { version: '1.0.0', completed: 90, failed: 0 },
        { version: '1.1.0', completed: 30, failed: 30 },
      ],
    },
    2,
  );
  const atLoad = reported(
    {
      [caller]: [
        { version: '1.0.0', completed: 95, failed: 0 },
        { version: '1.1.0', completed: 34, failed: 31 },
      ],
    },
    5,
  );
  const before = measureActivity(captureBaseline(atLoad, { ...swap, before: earlier }, callers), atLoad, 'tcp', noCallers);
  expect(aggregate([before])).toMatchObject({ calls: 5, failedCalls: 1, abiViolations: 3, before: { calls: 95 } });
  // Violations by the address of another version than the one replaced are not of this load, though no report has told of them before.
  const found = captureBaseline(atLoad, { ...swap, previousVersion: '1.0.5', before: earlier }, callers);
  expect(aggregate([measureActivity(found, atLoad, 'tcp', noCallers)])).toMatchObject({ abiViolations: 0 });
});

test('of a program that has begun anew with its device, and of one that is new, all counts', () => {
  const baseline = captureBaseline(
    reported({ [caller]: [{ version: '1.0.0', completed: 100, failed: 0 }] }, 4),
    { ...swap, before: reported({}, 4) },
    callers,
  );
  const anew = reported(
    { [caller]: [{ version: '1.1.0', completed: 7, failed: 1 }], [other]: [{ version: '1.1.0', completed: 3, failed: 0 }] },
    1,
  );
  expect(aggregate([measureActivity(baseline, anew, 'tcp', callers)])).toMatchObject({ calls: 11, failedCalls: 1, abiViolations: 1 });
});
