// Runs ten thousand random schedules on the deterministic machine; `npm run fuzz:schedules` runs more. A failing schedule prints its seed and shrinks.

import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { Simulation, schedule } from './simulation.ts';
import { compiler } from './test-machine.ts';

afterAll(() => compiler.close());

test("gives each access its own region of its module's stack, and always releases exclusive modules", async () => {
  const simulation = await Simulation.create('with-stacks');
  await fc.assert(
    fc.asyncProperty(schedule, (operations) => simulation.run(operations)),
    { numRuns: 1_000 },
  );
  expect(simulation.steps).toBeGreaterThan(10_000);
}, 120_000);

test('keeps all invariants after every step of every schedule', async () => {
  const simulation = await Simulation.create();
  await fc.assert(
    fc.asyncProperty(schedule, (operations) => simulation.run(operations)),
    { numRuns: 10_000 },
  );
  expect(simulation.steps).toBeGreaterThan(100_000);
  expect(simulation.callsMeasured).toBeGreaterThan(1_000);
  expect(simulation.drainsEnded.interrupted).toBeGreaterThan(10);
  expect(simulation.drainsEnded.cancelled).toBeGreaterThan(10);
  expect(simulation.unloadsRefused).toBeGreaterThan(100);
}, 300_000);
