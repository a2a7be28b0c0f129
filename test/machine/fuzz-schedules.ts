// `npm run fuzz:schedules -- --minutes N`: runs random schedules of single loads and of patch sets. Prints the seed of a failing schedule and shrinks it.

import console from 'node:console';
import { parseArgs } from 'node:util';
import fc from 'fast-check';
import { PatchSetSimulation, patchSetSchedule } from './patch-set-simulation.ts';
import { Simulation, schedule } from './simulation.ts';
import { compiler } from './test-machine.ts';

/** Schedules between two clock checks. */
const batch = 2_000;

const { values } = parseArgs({
  options: { minutes: { type: 'string', default: '1' }, seed: { type: 'string' }, path: { type: 'string' }, only: { type: 'string' } },
});
const minutes = Number(values.minutes);
if (!(minutes > 0)) {
  console.error(`--minutes is "${values.minutes}": expected a number above 0`);
  process.exit(2);
}

const simulation = await Simulation.create();
const patchSetSimulation = await PatchSetSimulation.create();
await compiler.close();
const properties = {
  'single-loads': fc.asyncProperty(schedule, (operations) => simulation.run(operations)),
  'patch-sets': fc.asyncProperty(patchSetSchedule, (operations) => patchSetSimulation.run(operations)),
};
const wanted = Object.entries(properties).filter(([name]) => values.only === undefined || values.only === name);
if (wanted.length === 0) {
  console.error(`--only is "${values.only}": expected ${Object.keys(properties).join(' or ')}`);
  process.exit(2);
}
const deadline = Date.now() + minutes * 60_000;
let schedules = 0;
while (Date.now() < deadline) {
  for (const [name, property] of wanted) {
    const details = await fc.check<[unknown]>(property, {
      numRuns: batch,
      ...(values.seed === undefined ? {} : { seed: Number(values.seed) }),
      ...(values.path === undefined ? {} : { path: values.path }),
    });
    schedules += details.numRuns;
    if (!details.failed) continue;
    console.error(await fc.asyncDefaultReportMessage(details));
    console.error(`\nRun it again: npm run fuzz:schedules -- --only ${name} --seed=${details.seed} --path ${details.counterexamplePath}`);
    process.exit(1);
  }
  console.log(`${schedules} schedules, ${simulation.steps + patchSetSimulation.steps} steps: all invariants held`);
}
