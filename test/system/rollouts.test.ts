// Rollouts to a fleet of real processes with live programs: stopped where a build is bad, and carried on when processes are killed in any phase.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Client, createPatchbayClient, type Schemas, unwrapResponse } from '../../src/client/client.ts';
import { workModule } from '../service/test-service.ts';
import { cameAbout, inParallel } from './chaos/async.ts';
import { freePort, hostProcess, type RestartedProcess, serviceProcess } from './chaos/processes.ts';
import { Random } from './chaos/random.ts';
import { readDevices, readPrograms } from './chaos/service-state.ts';

const hostCount = 3;
const devicesPerHost = 170;
const fleet = { fleet: 'chaos' };
/** How long what is waited for may take, in milliseconds. */
const patience = 300_000;
/** Requests at once. */
const atOnce = 8;

type Rollout = Schemas['Rollout'];

let folder: string;
let client: Client;
let service: RestartedProcess;
let hosts: RestartedProcess[];
let devices: string[];
/** The programs after the build that traps was rolled back: none of them fails any more. */
let before: ReadonlyMap<string, Schemas['ProgramStatistics']> = new Map();

/** As `workModule`, but that it traps on one of ten inputs: what it is given is the argument and how often it was called. */
const trappingModule = `
  (module
    (global $calls (mut i32) (i32.const 0))
    (func (export "work") (param $n i32) (result i32)
      (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
      (if (i32.eqz (i32.rem_u (i32.add (local.get $n) (global.get $calls)) (i32.const 10))) (then (unreachable)))
      (local.get $n)))`;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'patchbay-rollouts-'));
  const database = join(folder, 'patchbay.db');
  const port = await freePort(new Random(Math.floor(Math.random() * 2 ** 31)));
  service = serviceProcess('the service', port, database, folder);
  service.start();
  await service.ready();
  const url = `http://127.0.0.1:${port}`;
  client = createPatchbayClient(url, readFileSync(join(folder, 'admin-key'), 'utf8').trim());
  hosts = Array.from({ length: hostCount }, (_, index) => hostProcess(`fleet-${index + 1}`, url, devicesPerHost, folder));
  for (const host of hosts) host.start();
  for (const [version, source] of [
    ['1.0.0', workModule(1)],
    ['1.1.0', workModule(2)],
    ['1.2.0', trappingModule],
    ['1.3.0', workModule(4)],
  ] as const)
    await insist(async (key) => {
      const request = { params: { path: { module: 'tcp' } }, headers: { 'Idempotency-Key': key } };
      return unwrapResponse(await client.POST('/v1/modules/{module}/builds', { ...request, body: { version, language: 'wat', source } }));
    });
  await until('every device is connected', async () => {
    const { items } = unwrapResponse(await client.GET('/v1/devices', { params: { query: { status: 'connected', limit: 1 } } }));
    return items.length > 0 && unwrapResponse(await client.GET('/v1/health')).devices.connected === hostCount * devicesPerHost;
  });
  devices = (await readDevices(client)).map(({ id }) => id);
  const { batch } = unwrapResponse(await client.POST('/v1/loads', { body: { module: 'tcp', version: '1.0.0', labels: fleet } }));
  await until('the first version is everywhere', async () => {
    const open = await Promise.all(
      (['queued', 'dispatched'] as const).map(
        async (state) => unwrapResponse(await client.GET('/v1/loads', { params: { query: { batch, state } } })).items,
      ),
    );
    return open.flat().length === 0;
  });
  await inParallel(devices, atOnce, async (device) => {
    const body = { name: 'caller', module: 'tcp', export: 'work', arguments: [5], threads: 1, calls: null, pauseMilliseconds: 100 };
    await insist(async (key) => {
      const request = { params: { path: { device } }, headers: { 'Idempotency-Key': key } };
      return unwrapResponse(await client.POST('/v1/devices/{device}/programs', { ...request, body }));
    });
  });
}, 900_000);
afterAll(async () => {
  await Promise.all([service, ...hosts].map((one) => one.kill()));
  rmSync(folder, { recursive: true, force: true });
});

/** Waits for what may not be asked while the service is away. */
async function until(what: string, ask: () => Promise<boolean>): Promise<void> {
  if (!(await cameAbout(ask, patience)))
    throw new Error(`did not come about: ${what}\n${[service, ...hosts].map(({ tail }) => tail).join('\n')}`);
}

/** Asks until the service answers, which may be away or overloaded; the key has it done once. */
async function insist<Answer>(ask: (key: string) => Promise<Answer>): Promise<Answer> {
  const key = crypto.randomUUID();
  const answers: Answer[] = [];
  await until('the service answers', async () => answers.push(await ask(key)) > 0);
  const [answer] = answers;
  if (answer === undefined) throw new Error('the service did not answer');
  return answer;
}

async function kill(one: RestartedProcess): Promise<void> {
  await one.kill();
  one.start();
}

function roll(body: Omit<Schemas['NewRollout'], 'module' | 'labels'>): Promise<Rollout> {
  return insist(async (key) => {
    const { data, error } = await client.POST('/v1/rollouts', {
      headers: { 'Idempotency-Key': key },
      body: { module: 'tcp', labels: fleet, ...body },
    });
    if (data === undefined || !('state' in data)) throw new Error(JSON.stringify(error ?? data));
    return data;
  });
}

const read = async (rollout: string) => unwrapResponse(await client.GET('/v1/rollouts/{rollout}', { params: { path: { rollout } } }));

async function when(id: string, what: string, holds: (rollout: Rollout) => boolean): Promise<Rollout> {
  let last: Rollout | null = null;
  const ask = async () => {
    last = await read(id);
    return holds(last);
  };
  if (!(await cameAbout(ask, patience)))
    throw new Error(`it did not come about that the rollout ${what}: ${JSON.stringify(last)}\n${service.tail}`);
  return insist(() => read(id));
}

const ended = (id: string) => when(id, 'has ended', ({ endedAt }) => endedAt !== null);

/** The programs of devices, as their devices last reported. */
async function readStatistics(ofDevices: readonly string[] = devices): Promise<Map<string, Schemas['ProgramStatistics']>> {
  const found = new Map<string, Schemas['ProgramStatistics']>();
  await inParallel(ofDevices, atOnce, async (device) => {
    for (const { statistics } of await insist(() => readPrograms(client, device))) if (statistics !== null) found.set(device, statistics);
  });
  return found;
}

/** Waits until every program has made so many calls more; answers how many of these have failed. */
async function failuresSince(earlier: ReadonlyMap<string, Schemas['ProgramStatistics']>, calls: number): Promise<number> {
  let failures = 0;
  // Those that have not made as many: the fleet is not read again and again for the slowest.
  const left = new Set(devices);
  await until(`every program has made ${calls} calls more`, async () => {
    for (const [device, { callsCompleted, callsFailed }] of await readStatistics([...left])) {
      const start = earlier.get(device);
      if (start === undefined || callsCompleted < start.callsCompleted + calls) continue;
      left.delete(device);
      failures += callsFailed - start.callsFailed;
    }
    return left.size === 0;
  });
  return failures;
}

test('a build that traps on one input of ten is stopped in the canary and rolled back, though the service is killed meanwhile', async () => {
  const { id } = await roll({
    version: '1.2.0',
    waves: [{ devices: 5, soakSeconds: 600 }, { upToPercent: 20 }, { upToPercent: 100 }],
    onFailure: 'rollback',
  });
  await when(id, 'has begun to go back', ({ state }) => state === 'rolling-back' || state === 'rolled-back');
  await kill(service);
  const rollout = await ended(id);
  expect(rollout).toMatchObject({
    state: 'rolled-back',
    deviceCounts: { loaded: 5, failed: 0, waiting: 0, loading: 0, skipped: devices.length - 5 },
  });
  expect(rollout.reason).toMatch(/^wave 1 failed: \d+ of \d+ calls failed \(before: /);
  expect(await ended(rollout.rolledBackBy ?? '')).toMatchObject({ state: 'completed', deviceCounts: { loaded: 5 } });
  const statistics = await readStatistics();
  expect([...statistics.values()].filter(({ callsFailed }) => callsFailed > 0)).toHaveLength(5);
  expect(await failuresSince(statistics, 10)).toBe(0);
  before = statistics;
}, 900_000);

test('a rollout to the whole fleet comes to its end when processes are killed in each of its phases, and no call fails', async () => {
  const { id } = await roll({
    version: '1.1.0',
    waves: [{ devices: 5, soakSeconds: 3 }, { upToPercent: 20, approval: true }, { upToPercent: 100 }],
    soakSeconds: 1,
    devicesInFlight: 40,
  });
  await kill(service);
  await when(id, 'is watching its canary', ({ waitingFor }) => waitingFor === 'soak');
  await kill(service);
  await when(id, 'waits for approval', ({ state }) => state === 'awaiting-approval');
  await kill(service);
  await insist(async (key) =>
    unwrapResponse(
      await client.POST('/v1/rollouts/{rollout}/approve', {
        params: { path: { rollout: id } },
        headers: { 'Idempotency-Key': key },
        body: { wave: 2 },
      }),
    ),
  );
  await kill(service);
  await when(id, 'is in its last wave', ({ wave, deviceCounts }) => wave === 3 && deviceCounts.loaded > devices.length / 3);
  await Promise.all([kill(service), kill(hosts[0] ?? service)]);
  await when(id, 'is nearly there', ({ deviceCounts }) => deviceCounts.loaded > (devices.length * 2) / 3);
  await kill(service);
  const rollout = await ended(id);
  expect(rollout).toMatchObject({ state: 'completed', deviceCounts: { loaded: devices.length, failed: 0, skipped: 0 } });
  expect(rollout.waves.map(({ state, deviceCounts }) => [state, deviceCounts.loaded])).toEqual([
    ['passed', 5],
    ['passed', Math.ceil(devices.length / 5) - 5],
    ['passed', devices.length - Math.ceil(devices.length / 5)],
  ]);
  // The programs of the host that was killed have begun anew.
  for (const [device, statistics] of await readStatistics())
    expect(statistics.callsFailed).toBeLessThanOrEqual(before.get(device)?.callsFailed ?? 0);
  const ofBuild = { path: { module: 'tcp', version: '1.1.0' }, query: { running: true, limit: 1 } };
  const { items } = await insist(async () =>
    unwrapResponse(await client.GET('/v1/modules/{module}/builds/{version}/devices', { params: ofBuild })),
  );
  expect(items).toHaveLength(1);
}, 900_000);

test('a host that never answers holds a wave up no longer than its deadline', async () => {
  await hosts[2]?.kill();
  const { id } = await roll({
    version: '1.3.0',
    waves: [{ upToPercent: 100 }],
    deadlineSeconds: 3,
    soakSeconds: 0,
    devicesInFlight: 1_000,
    thresholds: { failedLoadsPercent: 50 },
  });
  const rollout = await ended(id);
  expect(rollout).toMatchObject({ state: 'completed', deviceCounts: { loaded: 2 * devicesPerHost, failed: devicesPerHost } });
  expect(await ended(id)).toMatchObject({ waves: [{ failure: null }] });
}, 900_000);
