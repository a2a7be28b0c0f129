// `npm run fuzz -- --modules N --seed S --workers W`: compares random modules in plain V8 and on a device. Prints a difference with its seed and smallest run.

import { type ChildProcess, fork } from 'node:child_process';
import console from 'node:console';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { compareSet, Difference, type RunStatistics, shrink } from './differential.ts';
import { generateSet } from './module-generator.ts';

/** Sets between two progress reports of a worker. */
const batch = 500;
/** Number of differences after which a worker ends. */
const differenceLimit = 10;
const workerLimit = 64;

const { values } = parseArgs({
  options: {
    modules: { type: 'string', default: '1000' },
    seed: { type: 'string', default: '1' },
    workers: { type: 'string', default: '1' },
    /** Distance between two seeds; other workers run the seeds in between. */
    step: { type: 'string', default: '1' },
  },
});
const wanted = readInteger('modules', values.modules, 1);
const firstSeed = readInteger('seed', values.seed, 0);
const workers = readInteger('workers', values.workers, 1, Math.min(workerLimit, wanted));
const step = readInteger('step', values.step, 1);

type Totals = RunStatistics & { differences: number };
const counted = ['modules', 'calls', 'traps', 'patches', 'interrupted', 'steps', 'differences'] as const;
const noTotals: Totals = { modules: 0, calls: 0, traps: 0, patches: 0, interrupted: 0, steps: 0, differences: 0 };

const startedAt = performance.now();
// A worker ends with its parent process.
if (process.connected) process.on('disconnect', () => process.exit(1));
const passed = workers === 1 ? await runSeeds() : await runWorkers();
process.exit(passed ? 0 : 1);

/** Compares the sets of this process's seeds. Returns whether there was no difference. */
async function runSeeds(): Promise<boolean> {
  const totals = { ...noTotals };
  for (let seed = firstSeed, sets = 1; totals.modules < wanted && totals.differences < differenceLimit; seed += step, sets += 1) {
    try {
      addTo(totals, await compareSet(seed));
    } catch (error) {
      totals.differences += 1;
      totals.modules += generateSet(seed).modules.length;
      await printDifference(seed, error);
    }
    if (sets % batch === 0) await report(totals);
  }
  await report(totals);
  return totals.differences === 0;
}

/** Prints the totals, or sends them to the parent process. */
async function report(totals: Totals): Promise<void> {
  if (process.send === undefined) printTotals(totals);
  else await new Promise((resolve) => process.send?.({ ...totals }, resolve));
}

/** Runs worker processes that share the seeds: the first takes every W-th from S, the second every W-th from S + 1. Returns whether all passed. */
async function runWorkers(): Promise<boolean> {
  const reported: Totals[] = [];
  const children = Array.from({ length: workers }, (_, index) => {
    const modules = Math.ceil((wanted - index) / workers);
    const child = fork(fileURLToPath(import.meta.url), [
      '--modules',
      `${modules}`,
      '--seed',
      `${firstSeed + index}`,
      '--step',
      `${workers}`,
    ]);
    child.on('message', (totals: Totals) => {
      reported[index] = totals;
      if (index === 0 && totals.modules < modules) printTotals(addUp(reported));
    });
    return child;
  });
  const passed = await Promise.all(children.map(waitForExit));
  printTotals(addUp(reported));
  return passed.every(Boolean);
}

function waitForExit(child: ChildProcess, index: number): Promise<boolean> {
  return new Promise((resolve) => {
    child.on('exit', (code, signal) => {
      if (code !== 0 && code !== 1) console.error(`worker ${index} ended with ${signal ?? `exit code ${code}`}`);
      resolve(code === 0);
    });
  });
}

function addTo(totals: Totals, statistics: Partial<Totals>): void {
  for (const key of counted) totals[key] += statistics[key] ?? 0;
}

function addUp(reported: readonly Totals[]): Totals {
  const sum = { ...noTotals };
  for (const totals of Object.values(reported)) addTo(sum, totals);
  return sum;
}

function printTotals({ modules, calls, traps, patches, interrupted, differences }: Totals): void {
  const rate = Math.round((modules * 1_000) / (performance.now() - startedAt));
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

function readInteger(name: string, text: string, minimum: number, maximum = Number.MAX_SAFE_INTEGER): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= minimum && value <= maximum) return value;
  const limit = maximum === Number.MAX_SAFE_INTEGER ? `of at least ${minimum}` : `from ${minimum} to ${maximum}`;
  console.error(`--${name} is "${text}": expected an integer ${limit}`);
  process.exit(2);
}
