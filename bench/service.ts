// `npm run bench`: measures throughput, latency and memory of the service over its public interfaces, each figure against a floor of the same run.

import console from 'node:console';
import { UsageError } from '../src/cli/errors.ts';
import { measureFleet } from './service/fleet.ts';
import { measureGrowth } from './service/growth.ts';
import { measureLatency } from './service/latency.ts';
import { measureLoads } from './service/loads.ts';
import { measureMemory } from './service/memory.ts';
import { endAll } from './service/processes.ts';
import { type ComparedFigure, compared, type Figure } from './service/results.ts';
import { Run } from './service/run.ts';
import { type Bench, type Part, readSettings, type Settings, usage } from './service/settings.ts';

const measurements: Readonly<Record<Part, (bench: Bench) => Promise<Figure[]>>> = {
  loads: measureLoads,
  fleet: measureFleet,
  growth: measureGrowth,
  memory: measureMemory,
  latency: measureLatency,
};

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));
try {
  const settings = readSettings(process.argv.slice(2));
  if (settings === 'help') console.log(usage);
  else process.exitCode = await run(settings);
} catch (error) {
  process.exitCode = isUsage(error) ? 2 : 1;
  console.error(isUsage(error) ? `${error.message}\nSee --help.` : error);
}

/** Runs the parts one after another, and returns the exit code. */
async function run(settings: Settings): Promise<number> {
  const benchmark = new Run();
  const { progress } = benchmark;
  const figures: ComparedFigure[] = [];
  const failures: string[] = [];
  for (const part of settings.parts) {
    try {
      figures.push(...(await measurements[part]({ ...settings, progress })).map(compared));
    } catch (error) {
      failures.push(part);
      console.error(`${part} failed:`, error);
    } finally {
      await endAll();
    }
  }
  const { out, isQuick, parts } = settings;
  benchmark.finish(out, figures, { isQuick, parts, failures });
  if (failures.length > 0) console.log(`Failed, not measured: ${failures.join(', ')}.`);
  return failures.length > 0 || (settings.isCheck && figures.some(({ holds }) => holds === false)) ? 1 : 0;
}

function isUsage(error: unknown): error is Error {
  return error instanceof UsageError || (error instanceof TypeError && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS'));
}
