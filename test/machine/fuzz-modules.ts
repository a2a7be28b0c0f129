// `npm run fuzz -- --modules N --seed S`: random modules in plain V8 and on a device. A difference prints its seed and the smallest run that shows it.

import console from 'node:console';
import { parseArgs } from 'node:util';
import { compareSet, Difference, shrink } from './differential.ts';
import { generateSet } from './module-generator.ts';

/** Sets between two lines of progress. */
const batch = 500;
/** Differences after which the run ends. */
const differenceLimit = 10;

const { values } = parseArgs({ options: { modules: { type: 'string', default: '1000' }, seed: { type: 'string', default: '1' } } });
const wanted = readInteger('modules', values.modules, 1);
const first = readInteger('seed', values.seed, 0);

const begun = performance.now();
const totals = { modules: 0, calls: 0, traps: 0, patches: 0, interrupted: 0, steps: 0 };
let differences = 0;
for (let seed = first; totals.modules < wanted && differences < differenceLimit; seed += 1) {
  try {
    const statistics = await compareSet(seed);
    for (const key of ['modules', 'calls', 'traps', 'patches', 'interrupted', 'steps'] as const) totals[key] += statistics[key];
  } catch (error) {
    differences += 1;
    totals.modules += generateSet(seed).modules.length;
    await printDifference(seed, error);
  }
  if ((seed - first + 1) % batch === 0) printTotals();
}
printTotals();
process.exit(differences === 0 ? 0 : 1);

function printTotals(): void {
  const rate = Math.round((totals.modules * 1_000) / (performance.now() - begun));
  const { modules, calls, traps, patches, interrupted } = totals;
  console.log(
    `${modules} modules (${rate}/s), ${calls} calls (${traps} trapped), ${patches} patches, ${interrupted} accesses interrupted: ${differences} differences`,
  );
}

async function printDifference(seed: number, error: unknown): Promise<void> {
  const { kind, modules, calls } = generateSet(seed);
  console.error(`seed ${seed}: ${error instanceof Error ? (error instanceof Difference ? error.message : error.stack) : String(error)}`);
  const smallest = await shrink(seed);
  if (smallest === null) console.error('smaller runs of the set show no difference');
  else console.error(`smallest run: ${JSON.stringify(smallest.options)}: ${smallest.message}`);
  for (const [index, values] of calls.entries()) console.error(`call ${index} of the ${kind} set: run(${values.join(', ')})`);
  for (const { text } of modules) console.error(text);
  console.error(`Run it again: npm run fuzz -- --modules 1 --seed ${seed}`);
}

function readInteger(name: string, text: string, minimum: number): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= minimum) return value;
  console.error(`--${name} is "${text}": expected an integer of at least ${minimum}`);
  process.exit(2);
}
