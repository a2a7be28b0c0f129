// Ten thousand random schedules on the deterministic machine; `npm run fuzz:schedules` runs more. A failing one prints its seed and shrinks.

import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { Simulation, schedule } from './simulation.ts';
import { compiler } from './test-machine.ts';

afterAll(() => compiler.close());

test("at every step of a schedule each access has its own region of its module's stack, and an exclusive module is never lost", async () => {
  const simulation = await Simulation.create('with-stacks');
  await fc.assert(
    fc.asyncProperty(schedule, (one) => simulation.run(one)),
    { numRuns: 1_000 },
  );
  expect(simulation.steps).toBeGreaterThan(10_000);
}, 120_000);

test('what must hold does, after every step of every schedule', async () => {
  const simulation = await Simulation.create();
  await fc.assert(
    fc.asyncProperty(schedule, (one) => simulation.run(one)),
    { numRuns: 10_000 },
  );
  expect(simulation.steps).toBeGreaterThan(100_000);
  expect(simulation.callsMeasured).toBeGreaterThan(1_000);
}, 300_000);
