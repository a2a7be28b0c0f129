// Two host processes with one name, as on a machine and its clone, and ordinary restarts of a host. Real processes on a real network.

import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest';
import { PatchbayProcess } from '../../../src/cli/running/patchbay-process.ts';
import { type Client, unwrapResponse } from '../../../src/client/client.ts';
import { kind, newDatabase } from '../../databases.ts';
import { retryingClient } from '../../system/retrying-client.ts';
import { until } from '../test-service.ts';

/** Maximum time until a process of a slow machine is ready. */
const readyMilliseconds = 90_000;

let folder: string;
let database: string;
let children: PatchbayProcess[];
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'patchbay-conflicts-'));
  database = await newDatabase(folder);
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

type Service = { readonly process: PatchbayProcess; readonly url: string; readonly client: Client };

async function startService(unreachableAfter: number, port = '0'): Promise<Service> {
  const process = start(
    'the service',
    ...['serve', '--no-embedded-host', '--port', port, '--database', database, '--unreachable-after', String(unreachableAfter)],
    ...['--token-file', join(folder, 'join-token'), '--admin-key-file', join(folder, 'admin-key')],
    ...['--signing-keys', join(folder, 'signing-keys'), '--log-level', 'error'],
  );
  const [, url = ''] = await process.waitForLine(/API +(http:\S+)\/v1$/, readyMilliseconds);
  return { process, url, client: retryingClient(url, join(folder, 'admin-key')) };
}

function startHost(url: string): PatchbayProcess {
  const args = ['--control', url, '--name', 'rack', '--devices', '2', '--token-file', join(folder, 'join-token')];
  return start('a host', 'host', ...args);
}

const registered = (host: PatchbayProcess) => host.waitForLine(/registered with the control service/, readyMilliseconds);
const refused = (host: PatchbayProcess) =>
  host.waitForLine(/another host called rack is connected: this host runs no devices/, readyMilliseconds);

/** Waits until both devices are connected. */
async function connected(client: Client): Promise<string[]> {
  return until('two devices are connected', async () => {
    const { items } = unwrapResponse(await client.GET('/v1/devices'));
    const ids = items.filter(({ status }) => status === 'connected').map(({ id }) => id);
    return ids.length === 2 && ids.toSorted();
  });
}

async function countEvents(client: Client, action: string): Promise<number> {
  return unwrapResponse(await client.GET('/v1/audit', { params: { query: { action, limit: 200 } } })).items.length;
}

const reasonsOf = async (client: Client) => unwrapResponse(await client.GET('/v1/health')).reasons;

test('a clone is refused while the first host is alive, health names both, and it takes over when the first is gone', async () => {
  const { client, url } = await startService(3);
  const first = startHost(url);
  const devices = await connected(client);
  const clone = startHost(url);
  await refused(clone);
  // The refused host says what to do, and tries again.
  await clone.waitForLine(/give one of the two another name \(--name\), or stop or decommission the other/);
  await until('the clone has tried again', async () => clone.lastLines.split('another host called rack is connected').length > 2);
  const [reason = ''] = (await reasonsOf(client)).filter((each) => each.includes('another host with the name rack is refused'));
  expect(reason).toMatch(/it registers from 127\.0\.0\.1, and the connected one from 127\.0\.0\.1/);
  expect(await connected(client)).toEqual(devices);
  expect(await countEvents(client, 'host.registered')).toBe(1);
  expect(await countEvents(client, 'device.attached')).toBe(2);
  expect(await countEvents(client, 'host.conflict')).toBe(1);
  expect(first.lastLines).not.toContain('another host called rack');

  await first.stop('SIGKILL');
  await registered(clone);
  expect(await connected(client)).toEqual(devices);
  expect(await countEvents(client, 'host.registered')).toBe(2);
});

test('a host that restarts is registered again at once, however it ended', async () => {
  // An hour: a registration that waits for the timeout never succeeds.
  const { client, url, process } = await startService(3_600);
  let host = startHost(url);
  const devices = await connected(client);
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    await host.stop(signal);
    host = startHost(url);
    await registered(host);
  }
  await Promise.all([host.stop('SIGKILL'), process.stop('SIGKILL')]);
  const again = await startService(3_600, new URL(url).port);
  host = startHost(url);
  await registered(host);
  expect(host.lastLines).not.toContain('trying again');
  expect(await connected(again.client)).toEqual(devices);
  expect(await countEvents(again.client, 'host.registered')).toBe(4);
  expect(await countEvents(again.client, 'host.conflict')).toBe(0);
});

test('the first host keeps its name when the service restarts while a clone waits', async () => {
  const { client, url, process } = await startService(10);
  const first = startHost(url);
  await connected(client);
  const clone = startHost(url);
  await refused(clone);
  await process.stop('SIGKILL');
  await until('the clone notices', async () => clone.lastLines.includes('lost the connection'));
  const again = await startService(10, new URL(url).port);
  await connected(again.client);
  const attempts = () => clone.lastLines.split('another host called rack is connected').length;
  const before = attempts();
  await until('the clone has tried again', async () => attempts() > before);
  expect(await countEvents(again.client, 'host.registered')).toBe(1);
  expect(first.lastLines).not.toContain('another host called rack');
});

/** A network between a host and the service that can fall silent: connections stay open, and no byte passes. */
async function startNetwork(url: string) {
  const sockets = new Set<Socket>();
  let isSilent = false;
  const server = createServer((client) => {
    const service = connect(Number(new URL(url).port), '127.0.0.1');
    for (const [from, to] of [[client, service] as const, [service, client] as const]) {
      sockets.add(from);
      from.on('error', () => {});
      from.on('data', (bytes) => isSilent || to.write(bytes));
      from.on('close', () => isSilent || to.destroy());
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the network has no port');
  const closeAll = () => {
    for (const socket of sockets) socket.destroy();
  };
  onTestFinished(() => {
    closeAll();
    server.close();
  });
  return {
    url: `http://127.0.0.1:${address.port}`,
    fallSilent: () => {
      isSilent = true;
    },
    /** Passes new connections, and closes the silent ones. */
    restore: () => {
      isSilent = false;
      closeAll();
    },
  };
}

test('a host whose network fell silent is taken over after the timeout, and drops its devices when its network is back', async () => {
  const { client, url } = await startService(3);
  const network = await startNetwork(url);
  const first = startHost(network.url);
  const devices = await connected(client);
  network.fallSilent();
  const clone = startHost(url);
  await refused(clone);
  await registered(clone);
  expect(await countEvents(client, 'host.unreachable')).toBe(1);
  expect(await connected(client)).toEqual(devices);
  network.restore();
  await first.waitForLine(/another host called rack is connected: its devices run there, and have stopped here/);
  await refused(first);
  await clone.stop('SIGKILL');
  await until('the first host takes over again', async () => (await countEvents(client, 'host.registered')) === 3);
  expect(await connected(client)).toEqual(devices);
});

test.runIf(kind === 'postgresql')('replicas know the hosts of each other, but not those of a killed replica', async () => {
  const one = await startService(3_600);
  const other = await startService(3_600);
  const first = startHost(one.url);
  const devices = await connected(one.client);
  const clone = startHost(other.url);
  await refused(clone);
  await clone.stop('SIGKILL');
  // A restart at the other replica is no conflict.
  await first.stop('SIGKILL');
  const second = startHost(other.url);
  await registered(second);
  expect(second.lastLines).not.toContain('another host called rack');
  // The record of an order stream remains when its replica is killed.
  await Promise.all([other.process.stop('SIGKILL'), second.stop('SIGKILL')]);
  const third = startHost(one.url);
  await registered(third);
  expect(third.lastLines).not.toContain('another host called rack');
  expect(await connected(one.client)).toEqual(devices);
});
