// Measures the throughput and latency of a number of replicas against floors measured in between, and the work of the database.

import { unwrapAccepted, unwrapResponse } from '../../src/client/client.ts';
import { inParallel } from '../../test/system/chaos/async.ts';
import { EndedLoads } from '../service/ended-loads.ts';
import { startFloor } from '../service/floor.ts';
import { Installation, module, pushBuilds, versionOf } from '../service/installation.ts';
import { type Course, carryOut } from '../service/latency.ts';
import type { Fired, Target } from '../service/load-generator.ts';
import { connections, fireWell, rateOf } from '../service/loads.ts';
import { median, percentile, until } from '../service/measuring.ts';
import type { Figure } from '../service/results.ts';
import { registerSilentHost } from '../service/silent-host.ts';
import { newDatabase, Replicas } from './replicas.ts';
import type { Work } from './server-view.ts';

export type Sizes = {
  /** Devices of a silent host, whose loads stay queued. */
  readonly silent: number;
  readonly seconds: number;
  readonly rounds: number;
  /** Sequential loads, and warm-up loads before them. */
  readonly single: number;
  readonly warmUps: number;
  /** Devices that get a build with one request. */
  readonly fleet: number;
  /** How many of these run programs. */
  readonly running: number;
  /** Seconds without requests. */
  readonly rest: number;
};

/** Requests and loads accepted in a run, with the floor. */
export type Taken = {
  readonly requests: number;
  readonly floor: number;
  readonly p50: number;
  readonly p99: number;
  readonly floorP99: number;
};
/** Durations of sequential loads, in milliseconds. */
type Single = { readonly patched: readonly number[]; readonly floor: readonly number[] };

const warmUpSeconds = 2;
/** Devices of the host that executes sequential loads. */
const singleDevices = 10;
const startedPrograms = `SELECT COUNT(*) FROM "Program" WHERE "started"`;
/** Labels of the devices that get a build with one request. */
const labels = { fleet: 'carried-out' };

/** Measures the throughput of one service on SQLite. */
export async function takenOnSqlite(sizes: Sizes): Promise<Taken> {
  const installation = await Installation.start('cluster-sqlite', { profile: null });
  const floor = await startFloor(installation.file('floor.db'));
  try {
    await installation.pushBuilds(1);
    await registerSilentHost(installation, 'silent', sizes.silent);
    return await take(sizes, { urls: [installation.url], key: installation.key, devices: installation.view.devices(), floor: floor.url });
  } finally {
    await floor.process.end();
    await installation.end();
  }
}

/** Measures a number of replicas on a server. @param others The throughput of one service on SQLite, and of one replica if there are more. */
export async function measureReplicas(
  count: number,
  { sizes, server, others, progress }: { sizes: Sizes; server: string; others: Map<string, Taken>; progress: (line: string) => void },
): Promise<{ readonly figures: Figure[]; readonly taken: Taken }> {
  const floor = await startFloor(await newDatabase(server));
  const replicas = await Replicas.start(count, server);
  const { view, client, urls, key } = replicas;
  const part = `${count} replica${count === 1 ? '' : 's'}`;
  const plain = (what: string, value: number, unit: string): Figure => ({ part, what, value, unit, base: null, goal: null });
  try {
    await pushBuilds(client, 2);
    const [resting, rested] = await watch(replicas, sizes.rest);
    const atRest = (what: keyof Work) => perSecond(resting, rested, what);

    await registerSilentHost(replicas, 'silent', sizes.silent);
    const registered = await view.work();
    const devices = await view.devices();
    progress(`${part}: ${sizes.silent} devices are registered`);
    const loadsBefore = await view.number('SELECT COUNT(*) FROM "Load"');
    const taken = await take(sizes, { urls, key, devices, floor: floor.url });
    const connectionsUsed = await view.connections();
    const asked = await view.work();
    const loads = (await view.number('SELECT COUNT(*) FROM "Load"')) - loadsBefore;
    progress(`${part}: ${taken.requests.toFixed(0)} requests/s, floor ${taken.floor.toFixed(0)}/s`);

    await replicas.addHost({ name: 'single', devices: singleDevices, labels: 'fleet=single' });
    const single = await oneAfterAnother(replicas, sizes, floor.url);
    progress(`${part}: ${sizes.single} sequential loads are executed`);

    await replicas.addHost({ name: 'fleet', devices: sizes.fleet, labels: 'fleet=carried-out' });
    // The first build is installed on empty devices; the second replaces it.
    await carryOutAll(replicas, 0);
    const beforeFleet = await view.work();
    const carriedOut = await carryOutAll(replicas, 1);
    const afterFleet = await view.work();
    progress(`${part}: ${sizes.fleet} loads of one request are executed in ${carriedOut.toFixed(0)} ms`);

    await startPrograms(replicas, sizes.running);
    const [running, ran] = await watch(replicas, sizes.rest);
    const ofRunning = (what: keyof Work) => (perSecond(running, ran, what) - atRest(what)) / sizes.running;
    progress(`${part}: programs run on ${sizes.running} devices`);

    const ofRegistered = (what: keyof Work) => (registered[what] - rested[what]) / sizes.silent;
    const ofAsked = (what: keyof Work) => (asked[what] - registered[what]) / loads;
    const ofCarriedOut = (what: keyof Work) => (afterFleet[what] - beforeFleet[what]) / sizes.fleet;
    const compared = (what: string, value: number, unit: string, base: Figure['base']): Figure => ({
      part,
      what,
      value,
      unit,
      base,
      goal: null,
    });
    const request = { what: 'one insert per request', value: taken.floor };
    const figures: Figure[] = [
      compared(`POST /v1/loads of one device, ${connections} connections`, taken.requests, 'requests/s', request),
      ...[...others].map(([what, other]) => compared('the same', taken.requests, 'requests/s', { what, value: other.requests })),
      plain('p50 of responses', taken.p50, 'ms'),
      compared('p99 of responses', taken.p99, 'ms', { what: 'one insert per request', value: taken.floorP99 }),
      ...[0.5, 0.99].map((share) =>
        compared(
          `request → patched by a host ${count === 1 ? '' : 'of another replica'}, p${100 * share}`,
          percentile(single.patched, share),
          'ms',
          {
            what: 'one insert',
            value: percentile(single.floor, share),
          },
        ),
      ),
      plain(`one request for ${sizes.fleet} devices of one host → all outcomes on disk`, (sizes.fleet * 1_000) / carriedOut, 'devices/s'),
      plain('connections to PostgreSQL per replica', connectionsUsed / count, ''),
      plain('transactions/s at rest', atRest('transactions'), ''),
      plain('WAL at rest', atRest('walBytes'), 'bytes/s'),
      plain('transactions per load, requested one by one', ofAsked('transactions'), ''),
      plain('WAL per load that waits', ofAsked('walBytes'), 'bytes'),
      plain('table size per queued load', ofAsked('tableBytes'), 'bytes'),
      plain('notifications per load, requested one by one', ofAsked('announcements'), ''),
      plain('WAL per executed load, requested together', ofCarriedOut('walBytes'), 'bytes'),
      plain('table size per executed load', ofCarriedOut('tableBytes'), 'bytes'),
      plain('transactions per 1,000 executed loads', 1_000 * ofCarriedOut('transactions'), ''),
      plain('notifications per 1,000 executed loads', 1_000 * ofCarriedOut('announcements'), ''),
      plain('table size per registered device', ofRegistered('tableBytes'), 'bytes'),
      plain('WAL per registered device', ofRegistered('walBytes'), 'bytes'),
      plain(`states written per device with a program, ${sizes.running}`, ofRunning('deviceWrites'), '/s'),
      plain('WAL per device with a program', ofRunning('walBytes'), 'bytes/s'),
      plain('resident memory of a replica', median(replicas.residentBytes()) / 1_024 ** 2, 'MiB'),
    ];
    return { figures, taken };
  } finally {
    await floor.process.end();
    await replicas.end();
  }
}

type Asked = { readonly urls: readonly string[]; readonly key: string; readonly devices: string[]; readonly floor: string };

/** Sends load requests for one device each, alternating with the floor. */
async function take({ seconds, rounds }: Sizes, { urls, key, devices, floor }: Asked): Promise<Taken> {
  const request = {
    module,
    version: versionOf(0),
    devices,
    connections,
    headers: { authorization: `Bearer ${key}` },
    hasIdempotencyKeys: false,
  };
  const targets: Record<'floor' | 'service', Target> = {
    floor: { ...request, urls: [floor] },
    service: { ...request, urls: urls.map((url) => `${url}/v1/loads`) },
  };
  await fireWell(targets.floor, warmUpSeconds);
  await fireWell(targets.service, warmUpSeconds);
  const fired: Record<keyof typeof targets, Fired[]> = { floor: [], service: [] };
  for (let round = 0; round < rounds; round += 1)
    for (const name of ['floor', 'service'] as const) fired[name].push(await fireWell(targets[name], seconds));
  return {
    requests: rateOf(fired.service),
    floor: rateOf(fired.floor),
    p50: median(fired.service.map(({ p50 }) => p50)),
    p99: median(fired.service.map(({ p99 }) => p99)),
    floorP99: median(fired.floor.map(({ p99 }) => p99)),
  };
}

/** Runs sequential loads: requested at the first replica, for a host that is connected to the last. */
async function oneAfterAnother({ client, view }: Replicas, { single, warmUps }: Sizes, floor: string): Promise<Single> {
  const ended = await EndedLoads.follow({ client });
  try {
    const devices = (await view.devices()).slice(-singleDevices);
    const courses: Course[] = [];
    for (let load = 0; load < warmUps + single; load += 1) {
      const [device = '', build] = [devices[load % singleDevices], Math.floor(load / singleDevices) % 2];
      const course = await carryOut({ client }, ended, { device, build, floor });
      if (load >= warmUps) courses.push(course);
    }
    return { patched: courses.map(({ patched }) => patched), floor: courses.map((course) => course.floor) };
  } finally {
    ended.close();
  }
}

/** Returns the database statistics before and after a number of seconds without requests. */
async function watch({ view }: Replicas, seconds: number): Promise<[before: Work, after: Work]> {
  const before = await view.work();
  await until('the cluster is idle', 100, () => performance.now() - before.at > seconds * 1_000);
  return [before, await view.work()];
}

function perSecond(before: Work, after: Work, what: keyof Work): number {
  return ((after[what] - before[what]) * 1_000) / (after.at - before.at);
}

/** Starts a program on a number of devices of the fleet, which calls the module as long as the device runs. */
async function startPrograms({ client, view }: Replicas, count: number): Promise<void> {
  const devices = (await view.devices()).slice(-count);
  const endless = { export: 'work', arguments: [1, 100], threads: 1, calls: null, pauseMilliseconds: 100 };
  await inParallel(devices, 8, async (device) => {
    unwrapResponse(await client.POST('/v1/devices/{device}/programs', { params: { path: { device } }, body: { ...endless, module } }));
  });
  await until('the programs run', 100, async () => (await view.number(startedPrograms)) === count);
}

/** Requests a build on all devices of the fleet, and returns the milliseconds until every outcome is committed. */
async function carryOutAll({ client, view }: Replicas, build: number): Promise<number> {
  const began = performance.now();
  const { batch } = unwrapAccepted(await client.POST('/v1/loads', { body: { module, version: versionOf(build), labels } }));
  const open = `SELECT COUNT(*) FROM "Load" WHERE "batchId" = $1 AND "outcome" IS NULL`;
  await until('every load has ended', 10, async () => (await view.number(open, batch)) === 0);
  return performance.now() - began;
}
