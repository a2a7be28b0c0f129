// Reclaiming pages of old images when memory is needed, unless a program holds their address: a device can be patched forever.

import fc from 'fast-check';
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
import type { LoadReport, StepFacts } from '../../../src/machine/isolation/load-report.ts';
import { planReclamation } from '../../../src/machine/memory/random-access-memory.ts';
import {
  compiler,
  createTestMachine,
  endless,
  moduleImage,
  quickModule,
  referenceCount,
  type TestMachine,
  until,
  workModule,
} from '../test-machine.ts';
import { Versions, versionText } from '../versions.ts';
import { WatchedProcessor } from '../watched-processor.ts';

let processor: WatchedProcessor;
let machine: TestMachine;
beforeEach(() => {
  processor = new WatchedProcessor();
  machine = createTestMachine({ ramPages: 16, processor });
});
afterEach(() => machine.close());
afterAll(() => compiler.close());

function loadedFacts(report: LoadReport): StepFacts['loaded'] {
  const found = report.steps.find((step) => step.step === 'loaded');
  if (found?.step !== 'loaded') throw new Error(`the image was not loaded: ${report.reason}`);
  return found.facts;
}

const rangesOf = ({ device }: TestMachine) => device.state().memoryMap.ranges;

test('applies 10,000 patches and a rollback of a one-page module on a device of 16 pages, with default settings', async () => {
  const versions = await Versions.of('tcp', quickModule(1));
  const images = Array.from({ length: 20 }, (_, number) => versions.image(number));
  const imageOf = (patch: number) => {
    const image = images[patch % images.length];
    if (image === undefined) throw new Error('there are 20');
    return image;
  };
  expect((await machine.device.load({ image: imageOf(0) })).outcome).toBe('installed');
  await machine.start('calls', { module: 'tcp', threads: 2, pauseMilliseconds: 1 });
  let reclaimed = 0;
  for (let patch = 1; patch <= 10_000; patch += 1) {
    const report = await machine.device.load({ image: imageOf(patch), versionPolicy: 'different' });
    if (!report.outcome.startsWith('replaced')) throw new Error(`patch ${patch}: ${report.outcome}, ${report.reason}`);
    reclaimed += loadedFacts(report).reclaimedImages;
  }
  const rollback = await machine.device.load({ image: imageOf(9_999), versionPolicy: { downgrade: 'go back' } });
  expect(rollback).toMatchObject({ outcome: expect.stringMatching(/^replaced/), current: { version: versionText(9_999 % 20) } });
  // The old images that are still in memory have not been reclaimed.
  expect(reclaimed + loadedFacts(rollback).reclaimedImages).toBe(10_001 - (rangesOf(machine).length - 1));
  expect(machine.processor.images.size).toBe(rangesOf(machine).length);
  expect(machine.statistics('calls')).toMatchObject({ state: 'running', callsFailed: 0 });
}, 30_000);

test('reclaims the oldest image first, only when memory is needed, and lists it in the report', async () => {
  const versions = await Versions.of('tcp', quickModule(1));
  for (let number = 0; number < 15; number += 1) {
    expect(loadedFacts(await machine.device.load({ image: versions.image(number) }))).toMatchObject({ reclaimed: [], reclaimedImages: 0 });
  }
  expect(rangesOf(machine)).toHaveLength(15);
  expect(rangesOf(machine).filter(({ reclaimable }) => reclaimable)).toHaveLength(14);
  const report = await machine.device.load({ image: versions.image(15) });
  expect(loadedFacts(report)).toMatchObject({
    address: '0x1000',
    reclaimed: [{ module: 'tcp', version: versionText(0), address: '0x1000', pages: 1 }],
    reclaimedImages: 1,
  });
  expect(rangesOf(machine).map(({ owner }) => owner.version)).not.toContain(versionText(0));
});

test('never gives an address that a program holds to another image: its calls fault until the program stops', async () => {
  const versions = await Versions.of('tcp', quickModule(1));
  await machine.device.load({ image: versions.image(0) });
  await machine.start('stale', { module: 'tcp', addressing: 'hard-coded', pauseMilliseconds: 1 });
  await until(() => machine.statistics('stale').callsCompleted > 0);
  for (let number = 1; number < 100; number += 1) {
    const report = await machine.device.load({ image: versions.image(number) });
    expect(report.outcome).toMatch(/^replaced/);
    expect(report.current?.address).not.toBe('0x1000');
  }
  expect(rangesOf(machine)[0]).toMatchObject({ address: '0x1000', owner: { version: versionText(0) }, nx: true, reclaimable: false });
  const { faults, callsCompleted } = machine.statistics('stale');
  await until(() => machine.statistics('stale').faults > faults);
  expect(machine.statistics('stale').callsCompleted).toBe(callsCompleted);
  expect(machine.statistics('stale').lastFailure).toContain(`fetch from tcp@${versionText(0)} at 0x1000 (page 1), which is marked NX`);
  await machine.device.stopProgram('stale');
  for (let number = 100; number < 116; number += 1) await machine.device.load({ image: versions.image(number) });
  expect(rangesOf(machine).map(({ owner }) => owner.version)).not.toContain(versionText(0));
});

test('does not reclaim an old image that a hard-coded caller is inside', async () => {
  const versions = await Versions.of('tcp', workModule(1));
  await machine.device.load({ image: versions.image(0) });
  await machine.start('inside', { module: 'tcp', addressing: 'hard-coded', arguments: [endless] });
  await until(() => processor.accesses().length === 1);
  for (let number = 1; number < 40; number += 1) await machine.device.load({ image: versions.image(number), strategy: 'drain' });
  expect(rangesOf(machine)[0]).toMatchObject({ address: '0x1000', reclaimable: false });
  expect(processor.accesses()).toHaveLength(1);
  expect(referenceCount(machine, 'tcp')).toBe(0);
});

test('leaves reclaimable images unchanged when a load fails', async () => {
  const versions = await Versions.of('tcp', quickModule(1));
  for (let number = 0; number < 15; number += 1) {
    await machine.device.load({ image: versions.image(number), invalidation: number % 2 === 0 ? 'none' : 'nx' });
  }
  // This program's driver gives the test the address space.
  await machine.start('calls', { module: 'tcp', calls: 1 });
  await until(() => machine.statistics('calls').state === 'finished');
  const before = machine.device.state().memoryMap;
  const fetchableBefore = processor.fetchable();
  expect(fetchableBefore.map((image) => image?.range.owner.version)).toContain(versionText(14));
  const failing = '(module (func (export "self_check") (result i32) (i32.const 7)))';
  const report = await machine.device.load({ image: await moduleImage('udp', '1.0.0', failing) });
  expect(report).toMatchObject({ outcome: 'failed', reason: expect.stringContaining('self-check') });
  expect(machine.device.state().memoryMap).toEqual(before);
  expect(processor.fetchable()).toEqual(fetchableBefore);
});

test('fails the load of an image that fits no gap between used pages, and reclaims nothing', async () => {
  const versions = await Versions.of('tcp', quickModule(1));
  for (let number = 0; number < 8; number += 1) await machine.device.load({ image: versions.image(number) });
  await machine.load('between', '1.0.0', quickModule(1));
  const before = machine.device.state().memoryMap;
  // Pages 1 to 7 are reclaimable, pages 8 and 9 are in use, and pages 10 to 15 are free.
  const large = `(module (memory 1) (data (i32.const 0) "${'x'.repeat(8 * 4096)}") (func (export "work") (param i32) (result i32) (i32.load (local.get 0))))`;
  const report = await machine.device.load({ image: await moduleImage('udp', '1.0.0', large) });
  expect(report.reason).toBe('out of memory: udp@1.0.0 needs 9 contiguous pages; 6 of 16 are free, 7 more are reclaimable');
  expect(machine.device.state().memoryMap).toEqual(before);
});

test('makes a gap from the fewest of the oldest images whenever a gap is possible', () => {
  const model = fc.record({
    memoryPages: fc.integer({ min: 2, max: 40 }),
    wanted: fc.integer({ min: 1, max: 12 }),
    ranges: fc.array(fc.record({ gap: fc.integer({ min: 0, max: 2 }), pages: fc.integer({ min: 1, max: 4 }), age: fc.option(fc.nat()) })),
  });
  fc.assert(
    fc.property(model, ({ memoryPages, wanted, ranges: specification }) => {
      let next = 1;
      const all = specification
        .map(({ gap, pages, age }) => {
          const firstPage = next + gap;
          next = firstPage + pages;
          return { firstPage, pages, age };
        })
        .filter(({ firstPage, pages }) => firstPage + pages <= memoryPages);
      const reclaimable = all.filter(({ age }) => age !== null).toSorted((left, right) => (left.age ?? 0) - (right.age ?? 0));
      const fits = (reclaimed: ReadonlySet<(typeof all)[number]>) => longestGap(all, reclaimed, memoryPages) >= wanted;
      const plan = planReclamation(all, reclaimable, wanted, memoryPages);
      const fewest = reclaimable.findIndex((_, count) => fits(new Set(reclaimable.slice(0, count))));
      const needed = fewest >= 0 ? fewest : fits(new Set(reclaimable)) ? reclaimable.length : null;
      expect(plan === null).toBe(needed === null);
      if (plan === null || needed === null) return;
      expect(fits(plan)).toBe(true);
      const oldest = new Set(reclaimable.slice(0, needed));
      expect([...plan].every((range) => oldest.has(range))).toBe(true);
    }),
    { numRuns: 500 },
  );
});

function longestGap<Range extends { firstPage: number; pages: number }>(
  ranges: readonly Range[],
  without: ReadonlySet<Range>,
  memoryPages: number,
): number {
  let [longest, from] = [0, 1];
  for (const range of ranges) {
    if (without.has(range)) continue;
    longest = Math.max(longest, range.firstPage - from);
    from = range.firstPage + range.pages;
  }
  return Math.max(longest, memoryPages - from);
}
