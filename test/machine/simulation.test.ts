// Runs random schedules on the deterministic machine: ten thousand with `npm run test:everything`, more with `npm run fuzz:schedules`. A failing schedule prints its seed and shrinks.

import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { randomCases } from '../random-cases.ts';
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
    { numRuns: randomCases(10_000) },
  );
  expect(simulation.steps).toBeGreaterThan(randomCases(100_000));
  expect(simulation.callsMeasured).toBeGreaterThan(randomCases(1_000));
  // A few in a thousand schedules.
  expect(simulation.drainsEnded.interrupted + simulation.drainsEnded.cancelled).toBeGreaterThan(0);
  expect(simulation.unloadsRefused).toBeGreaterThan(randomCases(50));
}, 300_000);
