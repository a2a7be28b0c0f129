// Measures the memory of the service per device, load in flight and connected host, and its start time with a long history.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { unwrapResponse } from '../../src/client/client.ts';
import { Inspector, inspectorFlags } from './inspector.ts';
import { addressOf, Installation, module, pushBuildBefore, startServe, versionOf } from './installation.ts';
import { median, timeOf, until } from './measuring.ts';
import { fillPast } from './past.ts';
import type { Figure } from './results.ts';
import type { Bench } from './settings.ts';
import { registerSilentHost } from './silent-host.ts';
import { SimulatedHost } from './simulated-host.ts';

const sizes = {
  full: { devices: 10_000, hosts: 200, carriers: 10, past: { devices: 10_000, residenciesPerDevice: 100 }, starts: 5 },
  quick: { devices: 1_000, hosts: 50, carriers: 2, past: { devices: 1_000, residenciesPerDevice: 50 }, starts: 3 },
} as const;
/** Number of samples, of which the minimum counts, and the interval in milliseconds. */
const looks = { count: 5, interval: 500 } as const;
/** Requests before a measurement, so that lazily created objects exist before and after. */
const requestsBefore = 20;

const part = 'memory' as const;

export async function measureMemory(bench: Bench): Promise<Figure[]> {
  return [...(await measureHeld(bench)), ...(await measureStarts(bench))];
}

/** Memory at rest in bytes: heap of the service, and resident memory of its process at the same time. */
type Held = { readonly resident: number; readonly heap: number };

async function measureHeld(bench: Bench): Promise<Figure[]> {
  const { devices, hosts, carriers } = bench.isQuick ? sizes.quick : sizes.full;
  const installation = await Installation.start('memory', { ...bench, flags: inspectorFlags }, pushBuildBefore);
  const inspector = await Inspector.of(installation.service);
  const simulated: SimulatedHost[] = [];
  const look = () => held(installation, inspector);
  try {
    const empty = await look();
    await registerSilentHost(installation, 'silent', devices);
    const registered = await look();
    const labels = { fleet: 'carriers' };
    for (let host = 1; host <= carriers; host += 1)
      simulated.push(await SimulatedHost.start(installation, `carrier-${host}`, devices / carriers, labels));
    await until('the simulated devices are attached', 100, () => installation.view.attachedDevices() === devices);
    const attached = await look();
    unwrapResponse(await installation.client.POST('/v1/loads', { body: { module, version: versionOf(0), labels } }));
    await until('every load has been sent to its host', 100, () => simulated.reduce((sum, host) => sum + host.loads, 0) === devices);
    const inFlight = await look();
    for (let host = 1; host <= hosts; host += 1) simulated.push(await SimulatedHost.start(installation, `host-${host}`, 0, {}));
    const connected = await look();
    bench.progress(`memory: service at rest ${JSON.stringify({ empty, registered, attached, inFlight, connected })}`);
    return [
      ...figuresOf('of the empty service', { resident: 0, heap: 0 }, empty, 1),
      ...figuresOf(`per device, ${devices} registered at once`, empty, registered, devices),
      ...figuresOf(`per load in flight, ${devices} loads`, attached, inFlight, devices),
      ...figuresOf(`per connected host, ${hosts} hosts`, inFlight, connected, hosts),
    ];
  } finally {
    inspector.close();
    for (const host of simulated) host.close();
    await installation.end();
  }
}

/** Returns the sample with the smallest heap, each taken after garbage collection. */
async function held({ service, client }: Installation, inspector: Inspector): Promise<Held> {
  for (let request = 0; request < requestsBefore; request += 1)
    unwrapResponse(await client.GET('/v1/devices', { params: { query: { limit: 200 } } }));
  const seen: Held[] = [];
  for (let look = 0; look < looks.count; look += 1) {
    await setTimeout(looks.interval);
    const heap = await inspector.heldBytes();
    seen.push({ resident: service.residentBytes(), heap });
  }
  return seen.reduce((least, one) => (one.heap < least.heap ? one : least));
}

/** A process keeps resident memory that it has freed: only its total is meaningful. */
function figuresOf(what: string, before: Held, after: Held, count: number): Figure[] {
  const kinds = count === 1 ? (['resident', 'heap'] as const) : (['heap'] as const);
  return kinds.map((kind) => {
    const value = (after[kind] - before[kind]) / count / 1_024;
    return { part, what: `${kind === 'heap' ? 'heap' : 'resident memory'} ${what}`, value, unit: 'KiB', base: null, goal: null };
  });
}

async function measureStarts(bench: Bench): Promise<Figure[]> {
  const { past, starts } = bench.isQuick ? sizes.quick : sizes.full;
  const folder = mkdtempSync(join(tmpdir(), 'patchbay-bench-starts-'));
  try {
    const [short, long] = [join(folder, 'short'), join(folder, 'long')];
    await fillPast(short, { devices: 1, residenciesPerDevice: 1 });
    await fillPast(long, past);
    bench.progress('memory: the long history is written');
    const times: { short: number; long: number; runtime: number }[] = [];
    // The first starts create the keys.
    for (const one of [short, long]) await startTime(bench, one);
    for (let start = 0; start < starts; start += 1) {
      const runtime = await timeOf(() => spawnSync(process.execPath, ['-e', '0']));
      // The order alternates, so that neither benefits from warm caches.
      const first = await startTime(bench, start % 2 === 0 ? short : long);
      const second = await startTime(bench, start % 2 === 0 ? long : short);
      times.push({ ...(start % 2 === 0 ? { short: first, long: second } : { short: second, long: first }), runtime });
    }
    bench.progress(`memory: start times ${JSON.stringify(times)}`);
    const of = (kind: 'short' | 'long' | 'runtime') => median(times.map((time) => time[kind])) / 1_000;
    const rows = past.devices * past.residenciesPerDevice;
    const what = `start → ready with ${rows} rows of history`;
    return [
      {
        part,
        what,
        value: of('long'),
        unit: 's',
        base: { what: 'without history', value: of('short') },
        goal: { of: 'figure', is: 'at most', bound: 2 },
      },
      { part, what: 'the runtime alone (node -e 0)', value: of('runtime'), unit: 's', base: null, goal: null },
    ];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Returns the time from the start of the process until it is ready, in milliseconds. */
async function startTime({ profile }: Bench, folder: string): Promise<number> {
  const began = performance.now();
  const service = startServe('start-service', join(folder, 'patchbay.db'), { profile });
  const url = await addressOf(service);
  await until('the service is ready', 5, async () => (await fetch(`${url}/health/ready`)).ok);
  const taken = performance.now() - began;
  await service.end();
  return taken;
}
