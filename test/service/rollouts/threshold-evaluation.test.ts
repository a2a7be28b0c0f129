// Evaluation of a wave: the calls of its programs compared with the version before, and each threshold.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DeviceState } from '../../../src/protocol/device-state.ts';
import { newIdentifier } from '../../../src/protocol/identifiers.ts';
import { noCallers } from '../../../src/service/rollouts/callers.ts';
import { aggregate, Baseline, captureBaseline, type Measurement, measureActivity } from '../../../src/service/rollouts/measurement.ts';
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
  worstMember: null,
  before: { calls: 1_000, failedCalls: 0, p99Microseconds: 100 },
};
const well: WaveResults = { devices: 100, loaded: 100, failedLoads: 0, interruptedAccesses: 0, measured };

const failure = (thresholds: Partial<Thresholds>, results: Partial<WaveResults>, figures: Partial<Measurement> = {}) =>
  describeFailure({ ...defaultThresholds, ...thresholds }, { ...well, ...results, measured: { ...measured, ...figures } });

test('passes a wave without failures', () => {
  expect(failure({ latencyIncreasePercent: 0, interruptedAccesses: 0 }, {})).toBeNull();
});

test('compares failed loads as a percentage of the devices of the wave', () => {
  expect(failure({ failedLoadsPercent: 5 }, { failedLoads: 5 })).toBeNull();
  expect(failure({ failedLoadsPercent: 5 }, { failedLoads: 6 })).toBe('6 of 100 loads failed; limit: 5%');
  expect(failure({}, { failedLoads: 1 })).toMatch(/^1 of 100/);
  expect(failure({ failedLoadsPercent: null }, { failedLoads: 100 })).toBeNull();
  expect(failure({}, { devices: 0, loaded: 0 })).toBeNull();
});

test('compares interrupted accesses as an average per loaded device', () => {
  expect(failure({ interruptedAccesses: 2 }, { loaded: 10, interruptedAccesses: 20 })).toBeNull();
  expect(failure({ interruptedAccesses: 2 }, { loaded: 10, interruptedAccesses: 21 })).toBe(
    '2.1 accesses interrupted per device; limit: 2',
  );
  expect(failure({}, { interruptedAccesses: 1_000_000 })).toBeNull();
});

test('compares failed calls by the increase in percentage points over the version before', () => {
  expect(failure({}, {}, { failedCalls: 10 })).toBeNull();
  expect(failure({}, {}, { failedCalls: 11 })).toBe('11 of 1000 calls failed (before: 0 of 1000); limit: +1 percentage point');
  expect(failure({ failedCallsPercent: 0.5 }, {}, { failedCalls: 6 })).toMatch(/limit: \+0.5 percentage points$/);
  const before = { calls: 100, failedCalls: 50, p99Microseconds: null };
  expect(failure({}, {}, { failedCalls: 500, before })).toBeNull();
  expect(failure({}, {}, { failedCalls: 511, before })).toMatch(/^511 of 1000/);
  expect(failure({}, {}, { failedCalls: 1_000, before: { ...before, calls: 0, failedCalls: 0 } })).toMatch(/^1000 of 1000/);
});

test('ignores calls below the minimum number of calls', () => {
  expect(failure({ minimumCalls: 20 }, {}, { calls: 19, failedCalls: 19 })).toBeNull();
  expect(failure({ minimumCalls: 20 }, {}, { calls: 20, failedCalls: 20 })).toMatch(/^20 of 20/);
  expect(failure({ minimumCalls: 0 }, {}, { calls: 0, failedCalls: 0 })).toBeNull();
});

test('compares ABI violations as a total over all devices', () => {
  expect(failure({}, {}, { abiViolations: 1 })).toBe('1 program with a stale address; limit: 0');
  expect(failure({ abiViolations: 1 }, {}, { abiViolations: 1 })).toBeNull();
});

test('compares latency by the increase of the 99th percentile', () => {
  expect(failure({ latencyIncreasePercent: 50 }, {}, { p99Microseconds: 150 })).toBeNull();
  expect(failure({ latencyIncreasePercent: 50 }, {}, { p99Microseconds: 151 })).toBe(
    'p99 latency is 151 µs, 51% above 100 µs before; limit: +50%',
  );
  const before = { calls: 19, failedCalls: 0, p99Microseconds: 1 };
  expect(failure({ latencyIncreasePercent: 50 }, {}, { before })).toBeNull();
  expect(failure({ latencyIncreasePercent: 50 }, {}, { p99Microseconds: null })).toBeNull();
});

test('accepts a value exactly at the limit', () => {
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

test('shows a value slightly above the limit as above it', () => {
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
  ).toMatch(/ 50\.0001% above .*; limit: \+50%$/);
});

const counts = fc.integer({ min: 1, max: 200 }).chain((whole) => fc.tuple(fc.integer({ min: 0, max: whole }), fc.constant(whole)));

/** Two fractions and a limit with up to three decimals: random, or the value nearest to one fraction or to their difference. */
const cases = fc.tuple(counts, counts).chain(([now, before]) => {
  const shares = [now[0] / now[1], now[0] / now[1] / 100, now[0] / now[1] - before[0] / before[1], now[0] / now[1] - 1];
  const near = shares.map((share) => fc.constant(Math.max(0, Math.round(share * 100_000))));
  return fc.record({
    now: fc.constant(now),
    before: fc.constant(before),
    thousandths: fc.oneof(fc.integer({ min: 0, max: 100_000 }), ...near),
  });
});

/** Evaluates a single threshold. */
const isExceeded = (thresholds: Partial<Thresholds>, results: Partial<WaveResults>, figures: Partial<Measurement> = {}) =>
  evaluateThresholds(
    { ...defaultThresholds, failedLoadsPercent: null, failedCallsPercent: null, abiViolations: null, minimumCalls: 0, ...thresholds },
    { ...well, ...results, measured: { ...measured, ...figures } },
  ).map(({ exceeded }) => exceeded);

test('compares every threshold as an exact fraction', () => {
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

test('reports every exceeded threshold and a verdict for every threshold that is set', () => {
  expect(failure({}, { failedLoads: 1 }, { abiViolations: 2 })).toMatch(/^1 of 100 .*; 2 programs/);
  expect(evaluateThresholds(defaultThresholds, { ...well, measured: { ...measured, calls: 3 } })).toEqual([
    { threshold: 'failedLoadsPercent', limit: 0, measured: 0, exceeded: false },
    { threshold: 'failedCallsPercent', limit: 1, measured: null, exceeded: false },
    { threshold: 'abiViolations', limit: 0, measured: 0, exceeded: false },
  ]);
});

test('reports a shortfall when required calls are missing', () => {
  const few = { ...well, measured: { ...measured, calls: 19 } };
  expect(describeShortfall(defaultThresholds, few)).toBeNull();
  expect(describeShortfall({ ...defaultThresholds, requireCalls: true }, few)).toBe('19 calls since the load; required: 20');
  expect(describeShortfall({ ...defaultThresholds, requireCalls: true }, well)).toBeNull();
});

const caller = newIdentifier('program');
const other = newIdentifier('program');
const unrelated = newIdentifier('program');
/** One program calls the module, another calls a module that imports it. */
const callers = { direct: new Map([[caller, 'tcp']]), indirect: new Set([other]) };

const versions = { version: '1.1.0', previousVersion: '1.0.0' };
const swap = { modules: ['tcp'], versions: new Map([['tcp', versions]]), before: null };

type Version = { readonly version: string; readonly completed: number; readonly failed: number; readonly microseconds?: number };

/** @param violations ABI violations of the module `tcp`; one of another module is added. */
function reported(programs: Readonly<Record<string, readonly Version[]>>, violations = 0): DeviceState {
  const at = new Date().toISOString();
  const violation = (module: string, page: number) => {
    const facts = { version: '1.0.0', address: `0x${page}000`, page, flag: 'nx', at, lastAt: at, faults: 1 };
    return { program: caller, module, ...facts };
  };
  const newest = [violation('udp', 9), ...Array.from({ length: violations }, (_, index) => violation('tcp', index + 1))];
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

test('measures the calls since the load, and the calls of the version before', () => {
  const atLoad = reported(
    {
      [caller]: [
        { version: '0.9.0', completed: 500, failed: 400, microseconds: 9_000 },
        { version: '1.0.0', completed: 100, failed: 1, microseconds: 50 },
        { version: '1.1.0', completed: 2, failed: 0, microseconds: 60 },
      ],
      // Calls another module, whose version did not change.
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
  expect(aggregate([measureActivity(baseline, later, ['tcp'], noCallers)])).toEqual({
    // The new version served two calls before the device reported.
    calls: 42 + 5 + 7 + 1,
    failedCalls: 5 + 1,
    p99Microseconds: 60,
    abiViolations: 2,
    worstMember: null,
    before: { calls: 101 + 12, failedCalls: 1 + 2, p99Microseconds: 50 },
  });
  expect(aggregate([measureActivity(baseline, atLoad, ['tcp'], noCallers)])).toMatchObject({
    calls: 2,
    failedCalls: 0,
    abiViolations: 0,
  });
  expect(
    aggregate([measureActivity(baseline, later, ['tcp'], noCallers), measureActivity(baseline, later, ['tcp'], noCallers)]),
  ).toMatchObject({
    calls: 110,
    abiViolations: 4,
    before: { calls: 226 },
  });
});

test('ignores calls of an earlier residency of the version, and earlier ABI violations', () => {
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
  const before = measureActivity(captureBaseline(atLoad, { ...swap, before: earlier }, callers), atLoad, ['tcp'], noCallers);
  expect(aggregate([before])).toMatchObject({ calls: 5, failedCalls: 1, abiViolations: 3, before: { calls: 95 } });
  // The load did not cause violations by an address of a version that it did not replace, even if they were not reported before.
  const found = captureBaseline(
    atLoad,
    {
      ...swap,
      versions: new Map([['tcp', { ...versions, previousVersion: '1.0.5' }]]),
      before: earlier,
    },
    callers,
  );
  expect(aggregate([measureActivity(found, atLoad, ['tcp'], noCallers)])).toMatchObject({ abiViolations: 0 });
});

test('counts all calls of a new program and of a program restarted with its device', () => {
  const baseline = captureBaseline(
    reported({ [caller]: [{ version: '1.0.0', completed: 100, failed: 0 }] }, 4),
    { ...swap, before: reported({}, 4) },
    callers,
  );
  const restarted = reported(
    { [caller]: [{ version: '1.1.0', completed: 7, failed: 1 }], [other]: [{ version: '1.1.0', completed: 3, failed: 0 }] },
    1,
  );
  expect(aggregate([measureActivity(baseline, restarted, ['tcp'], callers)])).toMatchObject({
    calls: 11,
    failedCalls: 1,
    abiViolations: 1,
  });
});

test('measures the programs of all members of a patch set together', () => {
  const modules = ['tcp', 'dns', 'udp'];
  const calling = {
    direct: new Map([
      [caller, 'tcp'],
      [other, 'dns'],
      [unrelated, 'udp'],
    ]),
    indirect: new Set<string>(),
  };
  // The device had the udp of the set already.
  const swapped = new Map([
    ['tcp', versions],
    ['dns', { version: '3.0.0', previousVersion: '2.0.0' }],
  ]);
  const programs = (tcp: Version[], dns: Version[], udp: Version) => ({ [caller]: tcp, [other]: dns, [unrelated]: [udp] });
  const [oldTcp, oldDns] = [
    { version: '1.0.0', completed: 100, failed: 1 },
    { version: '2.0.0', completed: 50, failed: 2 },
  ];
  const udp = { version: '9.0.0', completed: 30, failed: 3 };
  const atLoad = reported(programs([oldTcp], [oldDns, { version: '3.0.0', completed: 1, failed: 0 }], udp), 2);
  const baseline = captureBaseline(atLoad, { modules, versions: swapped, before: reported({}, 2) }, calling);
  const later = reported(
    programs([oldTcp, { version: '1.1.0', completed: 10, failed: 4 }], [oldDns, { version: '3.0.0', completed: 20, failed: 5 }], {
      ...udp,
      completed: 37,
    }),
    3,
  );
  const activity = measureActivity(Baseline.parse(baseline), later, modules, noCallers);
  expect(aggregate([activity, activity])).toMatchObject({
    calls: 2 * (10 + 4 + 20 + 5 + 7),
    failedCalls: 2 * (4 + 5),
    // A violation of tcp was reported since; that of udp, whose version stays, was there before.
    abiViolations: 2,
    worstMember: 'dns',
    before: { calls: 2 * (101 + 52 + 33), failedCalls: 2 * (1 + 2 + 3) },
  });
  const one = captureBaseline(atLoad, { ...swap, before: null }, callers);
  expect(aggregate([measureActivity(one, later, ['tcp'], noCallers)])).toMatchObject({ worstMember: null });
});
