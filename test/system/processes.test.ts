// Real processes over a real network: commands as a user starts them, killed and restarted.

import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { PatchbayProcess } from '../../src/cli/running/patchbay-process.ts';
import { type Client, unwrapAccepted, unwrapResponse } from '../../src/client/client.ts';
import { bearer, until, workModule } from '../service/test-service.ts';
import { retryingClient } from './retrying-client.ts';

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

function start(name: string, ...args: string[]): PatchbayProcess {
  const child = new PatchbayProcess(name, args);
  children.push(child);
  return child;
}

const keyFile = () => join(folder, 'data', 'admin-key');

async function startService(port = '0', ...args: string[]): Promise<{ service: PatchbayProcess; url: string; client: Client }> {
  const service = start(
    'the service',
    'serve',
    '--port',
    port,
    '--database',
    join(folder, 'data', 'patchbay.db'),
    '--unreachable-after',
    '2',
    ...args,
  );
  const [, url = ''] = await service.waitForLine(/API +(http:\S+)\/v1$/);
  return { service, url, client: retryingClient(url, keyFile()) };
}

const startHost = (url: string, name: string) =>
  start(
    name,
    'host',
    '--control',
    url,
    '--name',
    name,
    '--devices',
    '2',
    '--labels',
    `rack=${name}`,
    '--token-file',
    join(folder, 'data', 'join-token'),
  );

async function connected(client: Client, count: number): Promise<string[]> {
  return until(`${count} devices are connected`, async () => {
    const { items } = unwrapResponse(await client.GET('/v1/devices'));
    const ids = items.filter(({ status }) => status === 'connected').map(({ id }) => id);
    return ids.length === count && ids;
  });
}

async function push(client: Client, version: string, plus: number): Promise<void> {
  unwrapResponse(
    await client.POST('/v1/modules/{module}/builds', {
      params: { path: { module: 'tcp' } },
      body: { version, language: 'wat', source: workModule(plus) },
    }),
  );
}

async function load(client: Client, version: string, devices: string[]) {
  const { batch } = unwrapAccepted(
    await client.POST('/v1/loads', { body: { module: 'tcp', version, devices, strategy: 'inject', invalidation: 'nx' } }),
  );
  return until('the loads are completed', async () => {
    const { items } = unwrapResponse(await client.GET('/v1/loads', { params: { query: { batch, state: 'completed' } } }));
    return items.length === devices.length && items;
  });
}

async function startProgram(
  client: Client,
  device: string,
  rounds: number,
): Promise<() => Promise<{ callsCompleted: number; callsFailed: number; versions: { version: string }[] } | null>> {
  const body = { module: 'tcp', export: 'work', arguments: [rounds], threads: 5, calls: null, pauseMilliseconds: 0 };
  const { id } = unwrapResponse(await client.POST('/v1/devices/{device}/programs', { params: { path: { device } }, body }));
  return async () =>
    unwrapResponse(await client.GET('/v1/devices/{device}/programs/{program}', { params: { path: { device, program: id } } })).statistics;
}

test('devices on two hosts are patched under live programs', async () => {
  const { client, url } = await startService('0', '--no-embedded-host');
  for (const name of ['a', 'b']) startHost(url, name);
  const devices = await connected(client, 4);
  await push(client, '1.0.0', 1);
  await push(client, '1.1.0', 2);
  expect(await load(client, '1.0.0', devices)).toMatchObject(devices.map(() => ({ outcome: 'installed' })));
  const programs = await Promise.all(devices.map((device) => startProgram(client, device, 2_000_000_000)));
  await until('all threads are inside', async () => {
    const tables = await Promise.all(
      devices.map(async (device) => unwrapResponse(await client.GET('/v1/devices/{device}', { params: { path: { device } } })).moduleTable),
    );
    return tables.every(([entry]) => entry?.referenceCount === 5);
  });
  expect(await load(client, '1.1.0', devices)).toMatchObject(
    devices.map(() => ({ outcome: 'replaced-interrupting', interrupted: 5, retried: 5, failed: 0 })),
  );
  for (const program of programs) expect(await program()).toMatchObject({ callsFailed: 0 });
});

test('a killed service has everything that it acknowledged after a restart, and its hosts reconnect', async () => {
  const { client, service, url } = await startService('0', '--no-embedded-host');
  startHost(url, 'a');
  const devices = await connected(client, 2);
  await push(client, '1.0.0', 1);
  await load(client, '1.0.0', devices);
  const program = await startProgram(client, devices[0] ?? '', 10);
  await until('calls complete', async () => (await program())?.callsCompleted);
  await push(client, '1.1.0', 2);
  const { batch } = unwrapAccepted(
    await client.POST('/v1/loads', { body: { module: 'tcp', version: '1.1.0', devices, strategy: 'inject', invalidation: 'nx' } }),
  );
  expect(await service.stop('SIGKILL')).toBe('SIGKILL');

  const again = await startService(new URL(url).port, '--no-embedded-host');
  expect(await connected(again.client, 2)).toEqual(devices);
  const loads = await until('the loads that were accepted have their outcomes', async () => {
    const { items } = unwrapResponse(await again.client.GET('/v1/loads', { params: { query: { batch, state: 'completed' } } }));
    return items.length === 2 && items;
  });
  expect(loads.map(({ outcome }) => outcome)).toEqual([expect.stringMatching(/^replaced/), expect.stringMatching(/^replaced/)]);
  await until('calls complete in the new version', async () => (await program())?.versions.some(({ version }) => version === '1.1.0'));
  expect(await program()).toMatchObject({ callsFailed: 0 });
});

test('the devices of a killed host have their modules and programs again after a restart', async () => {
  const { client, url } = await startService('0', '--no-embedded-host');
  const host = startHost(url, 'a');
  const devices = await connected(client, 2);
  const [device = ''] = devices;
  await push(client, '1.0.0', 1);
  await load(client, '1.0.0', devices);
  const program = await startProgram(client, device, 10);
  await until('calls complete', async () => (await program())?.callsCompleted);
  await host.stop('SIGKILL');
  await until('the fleet is degraded', async () => unwrapResponse(await client.GET('/v1/health')).status === 'degraded');
  startHost(url, 'a');
  expect(await connected(client, 2)).toEqual(devices);
  const detail = await until('the device has reported', async () => {
    const found = unwrapResponse(await client.GET('/v1/devices/{device}', { params: { path: { device } } }));
    return found.reportedAt !== null && found;
  });
  expect(detail).toMatchObject({ attachFailure: null, moduleTable: [{ module: 'tcp', version: '1.0.0' }] });
  await until('the program calls again', async () => (await program())?.callsCompleted);
  const { items } = unwrapResponse(
    await client.GET('/v1/devices/{device}/modules/{module}/history', { params: { path: { device, module: 'tcp' } } }),
  );
  expect(items).toMatchObject([{ removedAt: null, load: null }, { removalCause: 'reboot' }]);
});

test('npm start runs a service with embedded devices, prints its URLs, and exits cleanly', async () => {
  const { client, service, url } = await startService('0', '--embedded-devices', '3');
  await connected(client, 3);
  const [, documentation = ''] = await service.waitForLine(/documentation +(\S+)/);
  expect((await fetch(documentation)).status).toBe(200);
  const [, health = ''] = await service.waitForLine(/health +(\S+)/);
  expect(await (await fetch(health, { headers: bearer(readFileSync(keyFile(), 'utf8').trim()) })).json()).toMatchObject({
    status: 'healthy',
  });
  expect(new URL(url).hostname).toBe('127.0.0.1');
  expect(await service.stop('SIGTERM')).toBe(0);
});

test('the service exits when npm is killed', async () => {
  const npm = spawn('npm', ['start', '--silent', '--', '--port', '0', '--database', join(folder, 'patchbay.db')]);
  const isAlive = (url: string) =>
    fetch(`${url}/health/live`).then(
      ({ ok }) => ok,
      () => false,
    );
  const url = await new Promise<string>((resolve) => {
    createInterface(npm.stdout).on('line', (line) => {
      const [, found] = /API +(http:\S+)\/v1$/.exec(line) ?? [];
      if (found !== undefined) resolve(found);
    });
  });
  expect(await isAlive(url)).toBe(true);
  npm.kill();
  await until('the service has exited', async () => !(await isAlive(url)));
  await until('the database is closed', async () => !existsSync(join(folder, 'patchbay.db-wal')));
});

test('the demo succeeds, and no call fails', async () => {
  const demo = new URL('../../src/cli/demo.ts', import.meta.url).pathname;
  const output = await new Promise<string>((resolve, reject) => {
    execFile(process.execPath, [demo], (error, stdout, stderr) =>
      error === null ? resolve(stdout) : reject(new Error(`${error.message}\n${stdout}\n${stderr}`)),
    );
  });
  const rows = output.split('\n').filter((line) => /^rack-[ab]-[1-4] /.test(line));
  expect(rows).toHaveLength(8);
  // A thread of the short calls may be between two calls when its device is patched.
  for (const row of rows) expect(row).toMatch(/replaced-interrupting +0x1000 → 0x2000 +(2[5-9]) +\1 +0 /);
  expect(output).toMatch(/1\.0\.0 +\d+ +65377/);
  expect(output).toMatch(/1\.1\.0 +\d+ +65376/);
  expect(output).toContain('Health: healthy');
});

test.each([
  [['serve', '--prot', '80'], /unknown option '--prot'/],
  [['serve', '--port', 'http'], /--port: expected a whole number from 0 to 65535, received "http"/],
  [['serve', '--address', '0.0.0.0', '--no-keys'], /--no-keys cannot be combined with --address 0\.0\.0\.0/],
  [['serve', '--rate-limit', '0'], /--rate-limit: expected a whole number from 1 to \d+, received "0"/],
  [['serve', '--log-level', 'loud'], /--log-level: expected .*, received "loud"/],
  [['host', '--control', 'there'], /--control: expected a URL like .*, received "there"/],
  [['host', '--devices', '-1'], /--devices/],
  [['host', '--log-level', 'loud'], /--log-level: expected .*, received "loud"/],
  [['host', '--name', 'My Rack'], /must be 1 to 63/],
  [['host', '--labels', 'north'], /--labels: expected key=value, received "north"/],
  [['hots'], /unknown command 'hots'/],
])('patchbay %j is a usage error', async (args, message) => {
  const child = start('patchbay', ...args);
  await child.waitForLine(message);
  expect(await child.exited).toBe(2);
});

test('flags override the environment, which overrides the configuration file of a host', async () => {
  const { client, url } = await startService('0', '--no-embedded-host');
  const tokenFile = join(folder, 'data', 'join-token');
  expect(statSync(tokenFile).mode & 0o777).toBe(0o600);
  const config = join(folder, 'host.json');
  writeFileSync(
    config,
    JSON.stringify({ control: url, name: 'from-file', devices: 9, labels: { zone: 'north', tier: 'edge' }, 'ram-pages': 32 }),
  );
  process.env['PATCHBAY_DEVICES'] = '3';
  process.env['PATCHBAY_TOKEN'] = readFileSync(tokenFile, 'utf8').trim();
  try {
    start('the host', 'host', '--config', config, '--name', 'from-flags', '--devices', '2');
    start('another', 'host', '--config', config);
  } finally {
    delete process.env['PATCHBAY_DEVICES'];
    delete process.env['PATCHBAY_TOKEN'];
  }
  await connected(client, 5);
  const { items } = unwrapResponse(await client.GET('/v1/devices'));
  expect(items.map(({ name }) => name).toSorted()).toEqual(['from-file-1', 'from-file-2', 'from-file-3', 'from-flags-1', 'from-flags-2']);
  for (const item of items) expect(item).toMatchObject({ labels: { zone: 'north', tier: 'edge' }, ramPages: 32 });
});

test.each([
  ['{', /cannot read --config/],
  ['{"device": 3}', /unknown setting "device" in --config .*: expected control, name/],
  ['{"devices": [3]}', /invalid settings in --config/],
  ['{"devices": 3}', /cannot read the join token from .*missing: give it with --token-file/],
  ['{"devices": "many"}', /--devices: expected a whole number .*, received "many"/],
])('a host rejects the configuration file %s', async (content, message) => {
  const config = join(folder, 'host.json');
  writeFileSync(config, content);
  const child = start('patchbay', 'host', '--config', config, '--token-file', join(folder, 'missing'));
  await child.waitForLine(message);
  expect(await child.exited).toBe(2);
});

test('a join token that is too short is rejected', async () => {
  mkdirSync(join(folder, 'data'));
  writeFileSync(join(folder, 'data', 'join-token'), 'short');
  const child = start('patchbay', 'serve', '--port', '0', '--database', join(folder, 'data', 'patchbay.db'));
  await child.waitForLine(/invalid join token in .*: expected 16 to 256 printable characters/);
  expect(await child.exited).toBe(2);
});

test('a port in use is reported', async () => {
  const { url } = await startService('0', '--no-embedded-host');
  const { port } = new URL(url);
  const second = start('patchbay', 'serve', '--port', port, '--database', join(folder, 'other.db'), '--no-embedded-host');
  await second.waitForLine(new RegExp(`^error: port ${port} on 127.0.0.1 is in use`));
  expect(await second.exited).toBe(1);
});

test('a database that cannot be opened is reported', async () => {
  const file = join(folder, 'notes.txt');
  writeFileSync(file, 'These are notes, not a database. '.repeat(100));
  const directory = join(folder, 'directory');
  mkdirSync(directory);
  for (const database of [file, directory, join(file, 'patchbay.db')]) {
    const child = start('patchbay', 'serve', '--port', '0', '--database', database);
    const [message] = await child.waitForLine(/^error: cannot open the database .*/);
    expect(message).toContain(database);
    expect(await child.exited).toBe(1);
  }
});

test.each([[['--help']], [['serve', '--help']], [['host', '--help']]])('patchbay %j prints its usage', async (args) => {
  const child = start('patchbay', ...args);
  await child.waitForLine(/^Usage: /);
  expect(await child.exited).toBe(0);
});

test('a host with an invalid join token reports the rejection and exits', async () => {
  const { url } = await startService();
  writeFileSync(join(folder, 'wrong-token'), 'a-token-of-another-service\n');
  const host = start('rack', 'host', '--control', url, '--name', 'rack', '--token-file', join(folder, 'wrong-token'));
  expect(await host.exited).toBe(1);
  expect(host.lastLines).toMatch(/rejects the registration of the host rack \(401\): registration requires .* with the join token/);
  expect(host.lastLines).not.toContain('trying again');
});
