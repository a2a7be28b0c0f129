// `npm run soak`: runs mixed load on many devices for a given time, and checks whether the memory of the service or the hosts grows. The exit code is 1 if it does.

import console from 'node:console';
import { setTimeout } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { readInteger } from '../src/cli/option-values.ts';
import { Inspector, inspectorFlags } from './service/inspector.ts';
import { Installation } from './service/installation.ts';
import { median } from './service/measuring.ts';
import { endAll, type MeasuredProcess } from './service/processes.ts';
import { compared, type Figure } from './service/results.ts';
import { Run } from './service/run.ts';
import { MixedLoad } from './soak/mixed-load.ts';

const usage = `Usage: npm run soak -- [options]

Runs loads, rollbacks, rollouts, programs, pushes, reads and bad requests against one service, and samples the memory of the service and its hosts.

Options:
  --minutes N  duration in minutes (default: 20)
  --devices N  number of devices, on five hosts (default: 500)
  --out FILE   write the figures as JSON to FILE (default: soak-results.json)
  --help       show this help
`;
const hostCount = 5;
/** Milliseconds between two samples of memory. */
const sampleInterval = 10_000;
/** The last quarter of a run may hold this many times what the second quarter held; the first quarter is warm-up. */
const limits = { heap: 1.1, resident: 1.15 } as const;

type Sample = { readonly heap: number; readonly resident: number };
type Watched = { readonly name: string; readonly process: MeasuredProcess; readonly inspector: Inspector; readonly samples: Sample[] };

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '20' },
    devices: { type: 'string', default: '500' },
    out: { type: 'string', default: 'soak-results.json' },
    help: { type: 'boolean', default: false },
  },
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));
if (values.help) console.log(usage);
else
  process.exitCode = await soak(
    readInteger('minutes', values.minutes, 1, 10_000),
    readInteger('devices', values.devices, hostCount, 10_000),
  );

/** Returns the exit code. */
async function soak(minutes: number, devices: number): Promise<number> {
  const benchmark = new Run();
  const installation = await Installation.start('soak', { profile: null, flags: inspectorFlags });
  let load: MixedLoad | null = null;
  try {
    const names = Array.from({ length: hostCount }, (_, index) => `rack-${index + 1}`);
    const devicesPerHost = Math.floor(devices / hostCount);
    await installation.addHosts(
      names.map((name) => ({ name, devices: devicesPerHost, labels: `fleet=soak,rack=${name}` })),
      inspectorFlags,
    );
    const processes = [
      { name: 'service', process: installation.service },
      ...names.map((name, index) => hostOf(installation, name, index)),
    ];
    const watched: Watched[] = [];
    for (const { name, process } of processes) watched.push({ name, process, inspector: await Inspector.of(process), samples: [] });
    const mixed = await MixedLoad.start(installation, names);
    load = mixed;
    await sampleFor(minutes * 60_000, watched, (line) => benchmark.progress(`${line}; ${mixed.summary()}`));
    load = null;
    const counts = await mixed.end();
    const figures = watched.flatMap(growthOf).map(compared);
    benchmark.finish(values.out, figures, { minutes, devices, counts });
    console.log(JSON.stringify(counts));
    return figures.every(({ holds }) => holds === true) && counts.unexpected === 0 ? 0 : 1;
  } finally {
    await load?.end();
    await installation.end();
    await endAll();
  }
}

function hostOf({ hosts }: Installation, name: string, index: number): { name: string; process: MeasuredProcess } {
  const process = hosts[index];
  if (process === undefined) throw new Error(`host ${name} was not started`);
  return { name, process };
}

async function sampleFor(milliseconds: number, watched: readonly Watched[], progress: (line: string) => void): Promise<void> {
  const end = performance.now() + milliseconds;
  while (performance.now() < end) {
    await setTimeout(Math.min(sampleInterval, Math.max(0, end - performance.now())));
    for (const { process, inspector, samples } of watched)
      samples.push({ heap: await inspector.heldBytes(), resident: process.residentBytes() });
    progress(
      watched.map(({ name, samples }) => `${name} ${megabytes(samples.at(-1)?.heap)}/${megabytes(samples.at(-1)?.resident)}`).join(' '),
    );
  }
}

/** Compares the medians of the second and the last quarter of the samples. */
function growthOf({ name, samples }: Watched): Figure[] {
  const quarter = Math.floor(samples.length / 4);
  return (['heap', 'resident'] as const).map((kind) => {
    const medianOf = (some: readonly Sample[]) => median(some.map((sample) => sample[kind])) / 2 ** 20;
    return {
      part: 'soak',
      what: `${name}: ${kind === 'heap' ? 'heap after a collection' : 'resident memory'}, last quarter`,
      value: medianOf(samples.slice(-quarter)),
      unit: 'MiB',
      base: { what: 'second quarter', value: medianOf(samples.slice(quarter, 2 * quarter)) },
      goal: { of: 'ratio', is: 'at most', bound: limits[kind] },
    };
  });
}

function megabytes(bytes = Number.NaN): string {
  return (bytes / 2 ** 20).toFixed(0);
}
