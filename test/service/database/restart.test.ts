// A restart on the same database: acknowledged data is there, and hosts reconnect.

import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { TestService, until, workModule } from '../test-service.ts';

let service: TestService;
beforeEach(async () => {
  service = await new TestService().start();
});
afterEach(() => service.close());

test('builds, devices, loads, history, audit trail and stored responses survive a restart', async () => {
  service.startHost('host', 2);
  const devices = await service.connectedDevices(2);
  await service.push('tcp', '1.0.0', workModule(1));
  await service.push('tcp', '1.1.0', workModule(2));
  await service.load('tcp', '1.0.0', devices);
  await service.load('tcp', '1.1.0', devices);
  const key = randomUUID();
  const made = await service.post('/v1/devices', { name: 'once' }, { 'idempotency-key': key });
  const paths = [
    '/v1/modules',
    '/v1/modules/tcp/builds',
    '/v1/loads',
    `/v1/devices/${devices[0]}/modules/tcp/history`,
    '/v1/audit?action=load.completed',
  ];
  const read = () => Promise.all(paths.map(async (path) => (await service.get(path)).body));
  const before = await read();
  await service.stop();
  await service.start();
  expect(await read()).toEqual(before);
  await service.connectedDevices(3);
  expect((await service.post('/v1/devices', { name: 'once' }, { 'idempotency-key': key })).body.id).toBe(made.body.id);
});

test('programs continue while the service is down, and loads requested while hosts are disconnected run when they reconnect', async () => {
  const stop = service.startHost('host', 1);
  const [device = ''] = await service.connectedDevices(1);
  await service.push('tcp', '1.0.0', workModule(1));
  await service.push('tcp', '1.1.0', workModule(2));
  await service.load('tcp', '1.0.0', [device]);
  const program =
    (await service.post(`/v1/devices/${device}/programs`, { module: 'tcp', export: 'work', arguments: [10] })).headers.get('location') ??
    '';
  const calls = async () => {
    const { statistics } = (await service.get(program)).body;
    return typeof statistics === 'object' && statistics !== null && 'callsCompleted' in statistics ? Number(statistics.callsCompleted) : 0;
  };
  const before = await until('calls complete', async () => (await calls()) || null);
  await service.stop();
  await service.start();
  await until('more calls have completed', async () => (await calls()) > before);

  await stop();
  const accepted = await service.post('/v1/loads', { module: 'tcp', version: '1.1.0', devices: [device] });
  const load = accepted.headers.get('location') ?? '';
  expect((await service.get(load)).body).toMatchObject({ outcome: null });
  service.startHost('host', 1);
  await until('the load is completed', async () => (await service.get(load)).body['state'] === 'completed');
  expect((await service.get(load)).body).toMatchObject({ outcome: expect.stringMatching(/^replaced/) });
  expect((await service.get(`/v1/devices/${device}`)).body).toMatchObject({ attachFailure: null, moduleTable: [{ version: '1.1.0' }] });
  await until('the program runs again', async () => (await calls()) > 0);
});
