// `npm run fuzz:schedules -- --minutes N`: runs random schedules. Prints the seed of a failing operations and shrinks it.

import console from 'node:console';
import { parseArgs } from 'node:util';
import fc from 'fast-check';
import { Simulation, schedule } from './simulation.ts';
import { compiler } from './test-machine.ts';

/** Schedules between two clock checks. */
const batch = 2_000;

const { values } = parseArgs({
  options: { minutes: { type: 'string', default: '1' }, seed: { type: 'string' }, path: { type: 'string' } },
});
const minutes = Number(values.minutes);
if (!(minutes > 0)) {
  console.error(`--minutes is "${values.minutes}": expected a number above 0`);
  process.exit(2);
}

const simulation = await Simulation.create();
await compiler.close();
const deadline = Date.now() + minutes * 60_000;
let schedules = 0;
while (Date.now() < deadline) {
  const details = await fc.check(
    fc.asyncProperty(schedule, (operations) => simulation.run(operations)),
    {
      numRuns: batch,
      ...(values.seed === undefined ? {} : { seed: Number(values.seed) }),
      ...(values.path === undefined ? {} : { path: values.path }),
    },
  );
  schedules += details.numRuns;
  if (details.failed) {
    console.error(await fc.asyncDefaultReportMessage(details));
    console.error(`\nRun it again: npm run fuzz:schedules -- --seed=${details.seed} --path ${details.counterexamplePath}`);
    process.exit(1);
  }
  console.log(`${schedules} schedules, ${simulation.steps} steps: all invariants held`);
}
