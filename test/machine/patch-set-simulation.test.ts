// Runs random schedules of patch sets on the deterministic machine: ten thousand with `npm run test:everything`. A failing schedule prints its seed and shrinks.

import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { randomCases } from '../random-cases.ts';
import { PatchSetSimulation, patchSetSchedule } from './patch-set-simulation.ts';
import { compiler } from './test-machine.ts';

afterAll(() => compiler.close());

test('no stack ever has frames of an old and a new version of a patch set', async () => {
  const simulation = await PatchSetSimulation.create();
  await fc.assert(
    fc.asyncProperty(patchSetSchedule, (schedule) => simulation.run(schedule)),
    { numRuns: randomCases(10_000) },
  );
  expect(simulation.steps).toBeGreaterThan(randomCases(100_000));
  const { setsSwapped, setsInterrupting, setsFailed, setsReverted, unloaded, oldStacks } = simulation.reached;
  expect(setsSwapped).toBeGreaterThan(randomCases(500));
  expect(setsInterrupting).toBeGreaterThan(randomCases(50));
  expect(setsFailed).toBeGreaterThan(randomCases(50));
  expect(setsReverted).toBeGreaterThan(randomCases(10));
  expect(unloaded).toBeGreaterThan(randomCases(50));
  // Stacks of old versions seen after their set had swapped: most of them of drains.
  expect(oldStacks).toBeGreaterThan(randomCases(500));
}, 300_000);
