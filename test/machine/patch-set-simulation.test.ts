// Runs ten thousand random schedules of patch sets on the deterministic machine. A failing schedule prints its seed and shrinks.

import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { PatchSetSimulation, patchSetSchedule } from './patch-set-simulation.ts';
import { compiler } from './test-machine.ts';

afterAll(() => compiler.close());

test('no stack ever has frames of an old and a new version of a patch set', async () => {
  const simulation = await PatchSetSimulation.create();
  await fc.assert(
    fc.asyncProperty(patchSetSchedule, (schedule) => simulation.run(schedule)),
    { numRuns: 10_000 },
  );
  expect(simulation.steps).toBeGreaterThan(100_000);
  const { setsSwapped, setsInterrupting, setsFailed, setsReverted, unloaded, oldStacks } = simulation.reached;
  expect(setsSwapped).toBeGreaterThan(1_000);
  expect(setsInterrupting).toBeGreaterThan(100);
  expect(setsFailed).toBeGreaterThan(100);
  expect(setsReverted).toBeGreaterThan(50);
  expect(unloaded).toBeGreaterThan(100);
  // Stacks of old versions seen after their set had swapped: most of them of drains.
  expect(oldStacks).toBeGreaterThan(1_000);
}, 300_000);
