// Real processes with temporarily wrong clocks: of a host, and of the service.

import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { PatchbayProcess } from '../../src/cli/running/patchbay-process.ts';
import { type Client, unwrapAccepted, unwrapResponse } from '../../src/client/client.ts';
import { until, workModule } from '../service/test-service.ts';
import { retryingClient } from './retrying-client.ts';

const hour = 3_600_000;
const minute = 60_000;
const year = 365 * 24 * hour;

/** Traps at every call. */
const trappingModule = '(module (func (export "work") (param i32) (result i32) (unreachable)))';

/** Replaces the wall clock of processes. */
class WrongClock {
  readonly #file: string;

  constructor(file: string) {
    this.#file = file;
    this.set(0);
  }

  /** @param ahead Milliseconds; negative: behind. */
  set(ahead: number): void {
    // Replaced atomically, so that no process reads a partial file.
    writeFileSync(`${this.#file}.new`, String(ahead));
    renameSync(`${this.#file}.new`, this.#file);
  }

  /** The Node flags of a process with this clock. */
  get flags(): string[] {
    const preload = new URL('wrong-clock.ts', import.meta.url);
    preload.searchParams.set('file', this.#file);
    return ['--import', preload.href];
  }
}

let folder: string;
let children: PatchbayProcess[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'patchbay-system-'));
  children = [];
});
afterEach(async () => {
  await Promise.all(children.map((child) => child.stop('SIGKILL')));
  rmSync(folder, { recursive: true, force: true });
});

function start(name: string, args: string[], flags: readonly string[] = []): PatchbayProcess {
  const child = new PatchbayProcess(name, args, { flags });
  children.push(child);
  return child;
}

async function startService(flags: readonly string[] = []): Promise<{ service: PatchbayProcess; url: string; client: Client }> {
  const database = join(folder, 'data', 'patchbay.db');
  const limits = ['--no-embedded-host', '--unreachable-after', '2'];
  const service = start('the service', ['serve', '--port', '0', '--database', database, ...limits], flags);
  const [, url = ''] = await service.waitForLine(/API +(http:\S+)\/v1$/);
  return { service, url, client: retryingClient(url, join(folder, 'data', 'admin-key')) };
}

function startHost(url: string, flags: readonly string[] = []): PatchbayProcess {
  const token = join(folder, 'data', 'join-token');
  return start('rack', ['host', '--control', url, '--name', 'rack', '--devices', '2', '--token-file', token], flags);
}

async function connected(client: Client): Promise<string[]> {
  return until('two devices are connected', async () => {
    const { items } = unwrapResponse(await client.GET('/v1/devices', { params: { query: { status: 'connected' } } }));
    return items.length === 2 && items.map(({ id }) => id);
  });
}

async function push(client: Client, version: string, source: string): Promise<void> {
  const path = { module: 'tcp' };
  unwrapResponse(await client.POST('/v1/modules/{module}/builds', { params: { path }, body: { version, language: 'wat', source } }));
}

/** Loads the first version on every device, and starts a program that calls it. */
async function prepare(client: Client): Promise<string[]> {
  const devices = await connected(client);
  await push(client, '1.0.0', workModule(1));
  const { batch } = unwrapAccepted(await client.POST('/v1/loads', { body: { module: 'tcp', version: '1.0.0', devices } }));
  await until('the first version is installed', async () => {
    const { items } = unwrapResponse(await client.GET('/v1/loads', { params: { query: { batch, state: 'completed' } } }));
    return items.length === devices.length;
  });
  for (const device of devices) {
    const body = { name: 'caller', module: 'tcp', export: 'work', arguments: [5], threads: 1, calls: null, pauseMilliseconds: 20 };
    unwrapResponse(await client.POST('/v1/devices/{device}/programs', { params: { path: { device } }, body }));
  }
  return devices;
}

/** Waits until the service has received a newer state of each device. */
async function waitForReports(client: Client, devices: readonly string[]): Promise<void> {
  const calls = async (device: string) => {
    const { items } = unwrapResponse(await client.GET('/v1/devices/{device}/programs', { params: { path: { device } } }));
    return items.reduce((total, { statistics }) => total + (statistics?.callsCompleted ?? 0) + (statistics?.callsFailed ?? 0), 0);
  };
  for (const device of devices) {
    const before = await calls(device);
    await until('the device has reported more calls', async () => (await calls(device)) > before);
  }
}

async function reportTimes(client: Client, devices: readonly string[]): Promise<number[]> {
  const views = devices.map(async (device) => unwrapResponse(await client.GET('/v1/devices/{device}', { params: { path: { device } } })));
  return (await Promise.all(views)).map(({ reportedAt }) => Date.parse(reportedAt ?? ''));
}

async function rollOut(client: Client, version: string, devices: string[]) {
  const waves = [
    { devices: 1, soakSeconds: 2 },
    { upToPercent: 100, soakSeconds: 1 },
  ];
  const { data, error } = await client.POST('/v1/rollouts', { body: { module: 'tcp', version, devices, waves } });
  if (data === undefined || !('state' in data)) throw new Error(JSON.stringify(error ?? data));
  const { id } = data;
  return until('the rollout has stopped or ended', async () => {
    const rollout = unwrapResponse(await client.GET('/v1/rollouts/{rollout}', { params: { path: { rollout: id } } }));
    return ['completed', 'paused', 'rolled-back', 'aborted'].includes(rollout.state) && rollout;
  });
}

test('with a wrong clock of a host, no state is missed, no load expires, and a build that traps fails its wave', async () => {
  const clock = new WrongClock(join(folder, 'clock-of-the-host'));
  const { client, url } = await startService();
  startHost(url, clock.flags);
  const devices = await prepare(client);
  for (const ahead of [hour, 0, -10 * year, 0, 10 * year]) {
    clock.set(ahead);
    await waitForReports(client, devices);
    // A past time is shown unchanged.
    if (ahead < 0) for (const time of await reportTimes(client, devices)) expect(time).toBeLessThan(Date.now() - 9 * year);
  }
  // The reported times were in the future; the next are not.
  clock.set(0);
  await push(client, '1.1.0', trappingModule);
  const stopped = await rollOut(client, '1.1.0', devices);
  expect(stopped).toMatchObject({
    state: 'paused',
    deviceCounts: { loaded: 1 },
    reason: expect.stringMatching(/^wave 1 failed: .* calls failed \(before/),
  });
  unwrapResponse(
    await client.POST('/v1/rollouts/{rollout}/abort', { params: { path: { rollout: stopped.id } }, body: { reason: 'it traps' } }),
  );
  clock.set(11 * minute);
  await waitForReports(client, devices);
  await push(client, '1.2.0', workModule(2));
  expect(await rollOut(client, '1.2.0', devices)).toMatchObject({ state: 'completed', deviceCounts: { loaded: 2, failed: 0 } });
  for (const time of await reportTimes(client, devices)) expect(time).toBeLessThanOrEqual(Date.now());
});

test('with a wrong clock of the service, a killed host is detected, no request takes effect twice, and nothing expires early', async () => {
  const clock = new WrongClock(join(folder, 'clock-of-the-service'));
  const { service, client, url } = await startService(clock.flags);
  const host = startHost(url);
  const devices = await prepare(client);
  await push(client, '1.1.0', workModule(2));
  const headers = { 'Idempotency-Key': 'once' };
  const load = async (to: Client) =>
    unwrapAccepted(await to.POST('/v1/loads', { headers, body: { module: 'tcp', version: '1.1.0', devices } }));
  const first = await load(client);
  const jumps = async () => unwrapResponse(await client.GET('/v1/health')).reasons.filter((reason) => reason.includes(' jumped ')).length;
  for (const ahead of [hour, -hour, 10 * year]) {
    clock.set(ahead);
    await until('the jump is reported', async () => (await jumps()) === 1);
    await waitForReports(client, devices);
    expect(await load(client)).toEqual(first);
    clock.set(0);
    await until('the jump is no longer reported', async () => (await jumps()) === 0);
    expect(await load(client)).toEqual(first);
  }
  const { items } = unwrapResponse(await client.GET('/v1/loads', { params: { query: { batch: first.batch } } }));
  expect(items.map(({ outcome }) => outcome).filter((outcome) => !outcome?.startsWith('replaced'))).toEqual([]);
  clock.set(hour);
  await until('the jump is reported', async () => (await jumps()) === 1);
  await waitForReports(client, devices);
  clock.set(0);
  await host.stop('SIGKILL');
  await until('the host is unreachable', async () => unwrapResponse(await client.GET('/v1/health')).hosts.unreachable === 1);
  clock.set(10 * year);
  await service.stop('SIGTERM');
  const later = await startService(clock.flags);
  expect(await load(later.client)).toEqual(first);
  expect(unwrapResponse(await later.client.GET('/v1/health'))).toMatchObject({ status: 'degraded', hosts: { unreachable: 1 } });
});
