// For any programs and any order of versions, every call is served exactly once, by the version in the module table.

import fc from 'fast-check';
import { compare } from 'semver';
import { afterAll, expect, test } from 'vitest';
import { randomCases } from '../random-cases.ts';
import { compiler, createTestMachine, referenceCount, until, workModule } from './test-machine.ts';

afterAll(() => compiler.close());

/** Calls `work` of tcp twice, with an effect of its own in between. */
const outer = `
  (module
    (import "kernel" "emit" (func $emit (param i32 i64)))
    (import "kernel" "sleep" (func $sleep (param i32)))
    (import "tcp" "work" (func $work (param i32) (result i32)))
    (func (export "work") (param $n i32) (result i32)
      (local $sum i32)
      (local.set $sum (call $work (local.get $n)))
      (call $emit (i32.const -1) (i64.const 0))
      (call $sleep (i32.const 1))
      (i32.add (local.get $sum) (call $work (local.get $n)))))`;

const version = fc
  .tuple(fc.nat(2), fc.nat(3), fc.constantFrom('', '-rc.1'))
  .map(([minor, patch, suffix]) => `1.${minor}.${patch}${suffix}`);

const program = fc.record({
  module: fc.constantFrom('tcp', 'http'),
  iterations: fc.constantFrom('1', '5000', '3000000'),
  threads: fc.integer({ min: 1, max: 20 }),
  calls: fc.integer({ min: 1, max: 30 }),
  pauseMilliseconds: fc.constantFrom(0, 0, 1),
});

test('loses no call, fails none, and lets none take effect twice', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(program, { minLength: 1, maxLength: 5 }), fc.array(version, { maxLength: 8 }), async (programs, versions) => {
      const machine = createTestMachine();
      await machine.load('tcp', '1.0.0-rc.0', workModule(0));
      await machine.load('http', '1.0.0', outer);
      for (const [index, { module, iterations, ...call }] of programs.entries())
        await machine.start(`p${index}`, { module, arguments: [iterations], ...call });
      let inMemory = '1.0.0-rc.0';
      for (const [index, offered] of versions.entries()) {
        const report = await machine.load('tcp', offered, workModule(index + 1));
        const isNewer = compare(offered, inMemory) > 0;
        expect(report.outcome).toMatch(isNewer ? /^replaced/ : 'refused-not-newer');
        expect(report.retried).toBe(report.interrupted);
        expect(report.failed).toBe(0);
        if (isNewer) inMemory = offered;
        expect(report.current?.version).toBe(inMemory);
      }
      await until(() => machine.device.state().programs.every(({ state }) => state === 'finished'), 'all programs finish');
      for (const [index, { module, threads, calls }] of programs.entries()) {
        const statistics = machine.statistics(`p${index}`);
        expect(statistics).toMatchObject({
          callsCompleted: threads * calls,
          callsFailed: 0,
          effects: threads * calls * (module === 'tcp' ? 1 : 3),
        });
        expect(statistics.accessesRetried).toBe(statistics.accessesInterrupted);
      }
      expect(referenceCount(machine, 'tcp')).toBe(0);
      expect(referenceCount(machine, 'http')).toBe(0);
      expect(machine.processor.runningThreads).toBe(0);
      await machine.close();
    }),
    { numRuns: randomCases(25) },
  );
}, 300_000);
