// A device has something else in memory than the service knows, as after a restored backup: the service finds out, says so, and corrects itself.

import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { kind, newPostgresql } from '../databases.ts';
import { Bench, itemsOf, until, workModule } from './fixture.ts';

let bench: Bench;
beforeEach(async () => {
  bench = await new Bench().start();
});
afterEach(() => bench.close());

/** Stops the service for as long as it takes to copy its database. Returns what starts it on the copy. */
async function backUp(): Promise<() => Promise<void>> {
  await bench.stop();
  const copy = await copyOf(bench.database);
  await bench.start();
  return async () => {
    await bench.stop();
    bench.database = copy;
    await bench.start();
  };
}

async function copyOf(database: string): Promise<string> {
  if (kind === 'postgresql') return newPostgresql(new URL(database).pathname.slice(1));
  const copy = join(bench.folder, 'backup.db');
  cpSync(database, copy);
  return copy;
}

const versions = ['1.0.0', '1.1.0', '1.2.0'] as const;
async function pushAll(): Promise<void> {
  for (const [index, version] of versions.entries()) await bench.push('tcp', version, workModule(index));
}

const deviceOf = async (id: string) => (await bench.get(`/v1/devices/${id}`)).body;
const historyOf = async (id: string) => itemsOf(await bench.get(`/v1/devices/${id}/modules/tcp/history`));
const drifted = async () => itemsOf(await bench.get('/v1/audit?action=device.drifted'));
const health = async () => (await bench.get('/v1/health')).body;

/** Waits until the service knows what a device runs. */
async function untilRuns(device: string, version: string): Promise<void> {
  await until(`the history says ${version}`, async () => {
    const [newest] = await historyOf(device);
    return newest?.['version'] === version && newest['leftAt'] === null;
  });
}

async function rollBack(device: string): Promise<unknown> {
  const accepted = await bench.post('/v1/rollbacks', { module: 'tcp', devices: [device], reason: 'it drops packets' });
  expect(accepted.status).toBe(202);
  const [load] = await until('the rollback has an outcome', async () => {
    const items = itemsOf(await bench.get(`/v1/loads?batch=${accepted.body['batch']}`));
    return items.every(({ state }) => state === 'completed') && items;
  });
  return load;
}

test('after a backup from before a load is restored, the service finds what the device runs, and a rollback starts from it', async () => {
  bench.startHost('host', 1);
  const [device = ''] = await bench.connectedDevices(1);
  await pushAll();
  for (const version of ['1.0.0', '1.1.0']) await bench.load('tcp', version, [device]);
  const restore = await backUp();
  await bench.connectedDevices(1);
  await bench.load('tcp', '1.2.0', [device]);
  await restore();

  await untilRuns(device, '1.2.0');
  expect(await historyOf(device)).toMatchObject([
    { version: '1.2.0', source: 'observed', load: null, requestedBy: null, leftAt: null },
    { version: '1.1.0', source: 'load', leftBy: 'drifted', leftThrough: null },
    { version: '1.0.0', source: 'load', leftBy: 'replaced' },
  ]);
  expect(await drifted()).toMatchObject([
    { object: device, detail: { module: 'tcp', expected: '1.1.0', observed: '1.2.0', resolved: false } },
  ]);
  expect(await deviceOf(device)).toMatchObject({
    modules: { tcp: '1.2.0' },
    drift: [{ module: 'tcp', expected: '1.1.0', observed: '1.2.0' }],
  });
  expect(itemsOf(await bench.get('/v1/devices?module=tcp&version=1.2.0'))).toMatchObject([{ id: device, drift: [{ expected: '1.1.0' }] }]);
  expect(await health()).toMatchObject({ status: 'degraded', reasons: [expect.stringContaining('host-1 (tcp@1.2.0, expected 1.1.0)')] });

  expect(await rollBack(device)).toMatchObject({ version: '1.1.0', outcome: 'replaced' });
  expect(await deviceOf(device)).toMatchObject({ modules: { tcp: '1.1.0' }, drift: [] });
  expect(await health()).toMatchObject({ status: 'healthy', reasons: [] });
  expect(await rollBack(device)).toMatchObject({ version: '1.0.0', outcome: 'replaced' });
  expect(await drifted()).toHaveLength(1);
});

test('the drift is resolved when an operator loads the version that the device has, which is refused', async () => {
  bench.startHost('host', 1);
  const [device = ''] = await bench.connectedDevices(1);
  await pushAll();
  await bench.load('tcp', '1.0.0', [device]);
  const restore = await backUp();
  await bench.connectedDevices(1);
  await bench.load('tcp', '1.1.0', [device]);
  await restore();
  await untilRuns(device, '1.1.0');
  expect(await bench.load('tcp', '1.0.0', [device])).toMatchObject([{ outcome: 'refused-not-newer' }]);
  expect(await deviceOf(device)).toMatchObject({ drift: [{ module: 'tcp' }] });
  expect(await bench.load('tcp', '1.1.0', [device])).toMatchObject([{ outcome: 'refused-not-newer' }]);
  expect(await deviceOf(device)).toMatchObject({ drift: [] });
  expect(await health()).toMatchObject({ status: 'healthy' });
});

test('a host that the restored database does not know registers by itself, and its devices keep what they run', async () => {
  await pushAll();
  const restore = await backUp();
  bench.startHost('host', 1);
  const [before = ''] = await bench.connectedDevices(1);
  await bench.load('tcp', '1.0.0', [before]);
  await restore();
  const [device = ''] = await bench.connectedDevices(1);
  expect(device).not.toBe(before);
  await untilRuns(device, '1.0.0');
  expect(await historyOf(device)).toMatchObject([{ version: '1.0.0', source: 'observed', leftAt: null }]);
  expect(await deviceOf(device)).toMatchObject({ drift: [{ module: 'tcp', expected: null, observed: '1.0.0' }] });
  expect(await bench.load('tcp', '1.1.0', [device])).toMatchObject([{ outcome: 'replaced' }]);
  expect(await health()).toMatchObject({ status: 'healthy' });
});

test('a backup from before the host was restarted does not take from a device what it runs', async () => {
  const stop = bench.startHost('host', 1);
  const [device = ''] = await bench.connectedDevices(1);
  await pushAll();
  await bench.load('tcp', '1.0.0', [device]);
  const restore = await backUp();
  await bench.connectedDevices(1);
  await stop();
  bench.startHost('host', 1);
  await bench.connectedDevices(1);
  await bench.load('tcp', '1.1.0', [device]);
  await bench.post(`/v1/devices/${device}/programs`, { module: 'tcp', export: 'work', arguments: [5] });
  const running = async () => itemsOf(await bench.get(`/v1/devices/${device}/programs`)).filter(({ state }) => state === 'running').length;
  await until('the program runs', async () => (await running()) === 1);
  await restore();

  await untilRuns(device, '1.1.0');
  expect(await historyOf(device)).toMatchObject([
    { version: '1.1.0', source: 'observed', leftAt: null },
    { version: '1.0.0', source: 'load', leftBy: 'reboot' },
  ]);
  expect(await deviceOf(device)).toMatchObject({
    attachFailure: null,
    modules: { tcp: '1.1.0' },
    drift: [{ expected: '1.0.0', observed: '1.1.0' }],
  });
  expect(await rollBack(device)).toMatchObject({ version: '1.0.0', outcome: 'replaced' });
});
