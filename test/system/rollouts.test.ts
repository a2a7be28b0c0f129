// Rollouts to a fleet of real processes with running programs: a failing build is stopped, and kills in any phase do not stop a rollout.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Client, type Schemas, unwrapAccepted, unwrapResponse } from '../../src/client/client.ts';
import { workModule } from '../service/test-service.ts';
import { inParallel, waitUntil } from './chaos/async.ts';
import { createHostProcess, createServiceProcess, findFreePort, type RestartableProcess } from './chaos/processes.ts';
import { Random } from './chaos/random.ts';
import { readDevices, readPrograms } from './chaos/service-state.ts';
import { retryingClient } from './retrying-client.ts';

const hostCount = 3;
const devicesPerHost = 170;
const fleet = { fleet: 'chaos' };
/** Maximum wait for a condition, in milliseconds. */
const conditionTimeout = 300_000;
/** Concurrent requests. */
const concurrency = 8;

type Rollout = Schemas['Rollout'];

let folder: string;
let client: Client;
let service: RestartableProcess;
let hosts: RestartableProcess[];
let devices: string[];
/** The statistics after the rollback of the build that traps: from then on no program fails. */
let before: ReadonlyMap<string, Schemas['ProgramStatistics']> = new Map();

/** Like `workModule`, but traps on one of ten inputs: the input is the sum of the argument and the number of calls. */
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
  const port = await findFreePort(new Random(Math.floor(Math.random() * 2 ** 31)));
  service = createServiceProcess('the service', port, database, folder);
  service.start();
  await service.ready();
  const url = `http://127.0.0.1:${port}`;
  client = retryingClient(url, join(folder, 'admin-key'));
  hosts = Array.from({ length: hostCount }, (_, index) => createHostProcess(`fleet-${index + 1}`, url, devicesPerHost, folder));
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
  const { batch } = unwrapAccepted(await client.POST('/v1/loads', { body: { module: 'tcp', version: '1.0.0', labels: fleet } }));
  await until('the first version is installed on every device', async () => {
    const open = await Promise.all(
      (['queued', 'dispatched'] as const).map(
        async (state) => unwrapResponse(await client.GET('/v1/loads', { params: { query: { batch, state } } })).items,
      ),
    );
    return open.flat().length === 0;
  });
  await inParallel(devices, concurrency, async (device) => {
    const body = { name: 'caller', module: 'tcp', export: 'work', arguments: [5], threads: 1, calls: null, pauseMilliseconds: 100 };
    await insist(async (key) => {
      const request = { params: { path: { device } }, headers: { 'Idempotency-Key': key } };
      return unwrapResponse(await client.POST('/v1/devices/{device}/programs', { ...request, body }));
    });
  });
}, 900_000);
afterAll(async () => {
  await Promise.all([service, ...hosts].map((process) => process.kill()));
  rmSync(folder, { recursive: true, force: true });
});

/** Polls a condition, also while the service is unreachable. */
async function until(condition: string, poll: () => Promise<boolean>): Promise<void> {
  if (!(await waitUntil(poll, conditionTimeout)))
    throw new Error(`condition not met: ${condition}\n${[service, ...hosts].map(({ lastLines: tail }) => tail).join('\n')}`);
}

/** Repeats a request with one key until the service, which may be unreachable or overloaded, responds. */
async function insist<Data>(request: (key: string) => Promise<Data>): Promise<Data> {
  const key = crypto.randomUUID();
  const responses: Data[] = [];
  await until('the service responds', async () => responses.push(await request(key)) > 0);
  const [response] = responses;
  if (response === undefined) throw new Error('the service did not respond');
  return response;
}

async function restart(process: RestartableProcess): Promise<void> {
  await process.kill();
  process.start();
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

async function waitForRollout(id: string, condition: string, isMet: (rollout: Rollout) => boolean): Promise<Rollout> {
  let last: Rollout | null = null;
  const poll = async () => {
    last = await read(id);
    return isMet(last);
  };
  if (!(await waitUntil(poll, conditionTimeout)))
    throw new Error(`condition not met: the rollout ${condition}: ${JSON.stringify(last)}\n${service.lastLines}`);
  return insist(() => read(id));
}

const ended = (id: string) => waitForRollout(id, 'has ended', ({ endedAt }) => endedAt !== null);

/** Returns the statistics that devices last reported, by device. */
async function readStatistics(selected: readonly string[] = devices): Promise<Map<string, Schemas['ProgramStatistics']>> {
  const found = new Map<string, Schemas['ProgramStatistics']>();
  await inParallel(selected, concurrency, async (device) => {
    for (const { statistics } of await insist(() => readPrograms(client, device))) if (statistics !== null) found.set(device, statistics);
  });
  return found;
}

/** Waits until every program has completed this many more calls. Returns how many calls failed meanwhile. */
async function failuresSince(earlier: ReadonlyMap<string, Schemas['ProgramStatistics']>, calls: number): Promise<number> {
  let failures = 0;
  // Only the remaining devices are read again.
  const remaining = new Set(devices);
  await until(`every program has completed ${calls} more calls`, async () => {
    for (const [device, { callsCompleted, callsFailed }] of await readStatistics([...remaining])) {
      const start = earlier.get(device);
      if (start === undefined || callsCompleted < start.callsCompleted + calls) continue;
      remaining.delete(device);
      failures += callsFailed - start.callsFailed;
    }
    return remaining.size === 0;
  });
  return failures;
}

test('a build that traps on one of ten inputs fails in the canary and is rolled back, although the service is killed', async () => {
  const { id } = await roll({
    version: '1.2.0',
    waves: [{ devices: 5, soakSeconds: 600 }, { upToPercent: 20 }, { upToPercent: 100 }],
    onFailure: 'rollback',
  });
  await waitForRollout(id, 'is rolling back', ({ state }) => state === 'rolling-back' || state === 'rolled-back');
  await restart(service);
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

test('a rollout to the whole fleet completes although processes are killed in each phase, and no call fails', async () => {
  const { id } = await roll({
    version: '1.1.0',
    waves: [{ devices: 5, soakSeconds: 3 }, { upToPercent: 20, approval: true }, { upToPercent: 100 }],
    soakSeconds: 1,
    devicesInFlight: 40,
  });
  await restart(service);
  await waitForRollout(id, 'soaks its canary', ({ waitingFor }) => waitingFor === 'soak');
  await restart(service);
  await waitForRollout(id, 'waits for approval', ({ state }) => state === 'awaiting-approval');
  await restart(service);
  await insist(async (key) =>
    unwrapResponse(
      await client.POST('/v1/rollouts/{rollout}/approve', {
        params: { path: { rollout: id } },
        headers: { 'Idempotency-Key': key },
        body: { wave: 2 },
      }),
    ),
  );
  await restart(service);
  await waitForRollout(id, 'is in its last wave', ({ wave, deviceCounts }) => wave === 3 && deviceCounts.loaded > devices.length / 3);
  await Promise.all([restart(service), restart(hosts[0] ?? service)]);
  await waitForRollout(id, 'is almost complete', ({ deviceCounts }) => deviceCounts.loaded > (devices.length * 2) / 3);
  await restart(service);
  const rollout = await ended(id);
  expect(rollout).toMatchObject({ state: 'completed', deviceCounts: { loaded: devices.length, failed: 0, skipped: 0 } });
  expect(rollout.waves.map(({ state, deviceCounts }) => [state, deviceCounts.loaded])).toEqual([
    ['passed', 5],
    ['passed', Math.ceil(devices.length / 5) - 5],
    ['passed', devices.length - Math.ceil(devices.length / 5)],
  ]);
  // The programs of the killed host were restarted.
  for (const [device, statistics] of await readStatistics())
    expect(statistics.callsFailed).toBeLessThanOrEqual(before.get(device)?.callsFailed ?? 0);
  const params = { path: { module: 'tcp', version: '1.1.0' }, query: { running: true, limit: 1 } };
  const { items } = await insist(async () => unwrapResponse(await client.GET('/v1/modules/{module}/builds/{version}/devices', { params })));
  expect(items).toHaveLength(1);
}, 900_000);

test('an unreachable host delays a wave only until its deadline', async () => {
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
