// The devices of a request: by identifiers or names, by labels, or by a label selector; in every request that selects devices.

import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { bearer, itemsOf, joinToken, TestService, workModule } from '../test-service.ts';

const service = new TestService();
const labelled: Readonly<Record<string, Record<string, string>>> = {
  'north-1': { zone: 'north', model: 'x' },
  'north-2': { zone: 'north', tier: 'edge' },
  'south-1': { zone: 'south', beta: 'yes' },
  'south-2': { zone: 'south', model: 'y', tier: '' },
  'west-1': { zone: 'west' },
  'west-10': {},
};
const names = Object.keys(labelled);
const ids = new Map<string, string>();
const idOf = (name: string) => ids.get(name) ?? '';
const nameOf = (id: unknown) => names.find((name) => idOf(name) === id);

beforeAll(async () => {
  await service.start();
  const devices = Object.entries(labelled).map(([name, labels]) => ({ name, labels, ramPages: 64 }));
  const registration = { name: 'rack', bootId: randomUUID(), capacity: 10, capabilities: ['unload-module'], devices };
  expect((await service.post('/agent/v1/hosts', registration, bearer(joinToken))).status).toBe(201);
  for (const { id, name } of itemsOf(await service.get('/v1/devices'))) ids.set(String(name), String(id));
  for (const version of ['1.0.0', '1.1.0']) await service.push('tcp', version, workModule(1));
});
afterAll(() => service.close());

test.each([
  ['zone=north', ['north-1', 'north-2']],
  ['zone in (north,south),!beta', ['north-1', 'north-2', 'south-2']],
  ['model!=x', ['north-2', 'south-1', 'south-2', 'west-1', 'west-10']],
  ['zone notin (north,south)', ['west-1', 'west-10']],
  ['tier', ['north-2', 'south-2']],
  ['tier in (,edge), model notin (x)', ['north-2', 'south-2']],
  ['tier=', ['south-2']],
  ['!zone', ['west-10']],
])('%s selects the devices that it matches, of loads and of lists', async (selector, matching) => {
  const response = await service.post('/v1/loads', { module: 'tcp', version: '1.0.0', selector, supersede: true });
  expect(response).toMatchObject({ status: 202 });
  const { batch, loads } = response.body;
  expect(loads?.map(({ device }) => nameOf(device)).toSorted()).toEqual(matching);
  const [requested] = itemsOf(await service.get(`/v1/audit?object=${batch}&action=load.requested`));
  expect(requested?.['detail']).toMatchObject({ selector });
  const query = new URLSearchParams({ selector });
  expect(itemsOf(await service.get(`/v1/devices?sort=name&${query}`)).map(({ name }) => name)).toEqual(matching);
  expect(itemsOf(await service.get(`/v1/loads?batch=${batch}&${query}`))).toHaveLength(matching.length);
  expect(itemsOf(await service.get(`/v1/loads?batch=${batch}&selector=none`))).toEqual([]);
});

test('labels and a selector of equalities select the same devices', async () => {
  const select = async (body: object) => {
    const { body: preview } = await service.postRaw('/v1/rollouts', { module: 'tcp', version: '1.1.0', dryRun: true, ...body });
    return preview['items'];
  };
  const selected = await select({ labels: { zone: 'north', model: 'x' } });
  expect(selected).toMatchObject([{ deviceName: 'north-1' }]);
  expect(await select({ selector: 'zone=north,model==x' })).toEqual(selected);
  expect(await select({ labels: { zone: 'north' }, selector: 'model=x' })).toEqual(selected);
  const both = itemsOf(await service.get('/v1/devices?label=zone=north&selector=tier'));
  expect(both.map(({ name }) => name)).toEqual(['north-2']);
});

test('a device is selected by its identifier or its name, once', async () => {
  const devices = ['west-1', idOf('north-1'), 'north-1', idOf('west-1'), 'west-1'];
  const { body } = await service.post('/v1/loads', { module: 'tcp', version: '1.0.0', devices, supersede: true });
  expect(body.loads?.map(({ device }) => nameOf(device))).toEqual(['west-1', 'north-1']);
  const unknown = await service.post('/v1/loads', { module: 'tcp', version: '1.0.0', devices: ['west-1', 'west-2'] });
  expect(unknown).toMatchObject({
    status: 422,
    body: { errors: [{ in: 'body', pointer: '/devices/1', detail: 'the device west-2 does not exist' }] },
  });
});

test('devices are listed by name, and by the start of their names', async () => {
  const namesOf = async (query: string) => itemsOf(await service.get(`/v1/devices?sort=name&${query}`)).map(({ name }) => name);
  expect(await namesOf('name=west-1')).toEqual(['west-1']);
  expect(await namesOf('namePrefix=west-1')).toEqual(['west-1', 'west-10']);
  expect(await namesOf('name=west-1&namePrefix=north')).toEqual([]);
  expect(itemsOf(await service.get('/v1/devices?name=west-1')).map(({ name }) => name)).toEqual(['west-1']);
});

test('unloads and rollbacks select devices by a selector', async () => {
  const selector = 'zone,zone!=west,!model';
  const unload = await service.post('/v1/unloads', { module: 'tcp', selector });
  expect(unload).toMatchObject({ status: 409, body: { detail: expect.stringContaining('not loaded on north-2, south-1;') } });
  const rollback = await service.post('/v1/rollbacks', { module: 'tcp', selector, reason: 'why' });
  expect(rollback).toMatchObject({ status: 409, body: { detail: expect.stringContaining('on north-2, south-1;') } });
});

test('a rollout stores and returns its selector', async () => {
  const selector = 'zone in (north, south), tier';
  const startAt = new Date(Date.now() + 3_600_000).toISOString();
  const created = await service.post('/v1/rollouts', { module: 'tcp', version: '1.1.0', selector, startAt });
  expect(created).toMatchObject({
    status: 202,
    body: { selector: { devices: null, labels: null, selector, runningVersion: null }, deviceCounts: { waiting: 2 } },
  });
  const [requested] = itemsOf(await service.get(`/v1/audit?object=${created.body.id}&action=rollout.requested`));
  expect(JSON.stringify(requested?.['detail'])).toContain(selector);
  const named = await service.post('/v1/rollouts', { module: 'tcp', version: '1.1.0', devices: ['south-1', idOf('west-1')], startAt });
  const members = itemsOf(await service.get(`/v1/rollouts/${named.body.id}/devices`));
  expect(members.map(({ deviceName }) => deviceName)).toEqual(['south-1', 'west-1']);
});

const requests: readonly (readonly [path: string, body: object])[] = [
  ['/v1/loads', { module: 'tcp', version: '1.0.0' }],
  ['/v1/unloads', { module: 'tcp' }],
  ['/v1/rollbacks', { module: 'tcp', reason: 'why' }],
  ['/v1/rollouts', { module: 'tcp', version: '1.0.0' }],
];
test.each(requests)('%s rejects an invalid selector with its position, and a selector with devices', async (path, body) => {
  const post = (members: object) => service.postRaw(path, { ...body, ...members });
  for (const [selector, detail] of [
    ['zone in north', 'at character 9: expected "(", received "north"'],
    ['', 'at character 1: expected a label key or "!", received the end of the selector'],
    ['k'.repeat(4_097), 'must have up to 4096 characters'],
    ['zone=nowhere', 'list the devices to see their labels'],
  ])
    expect(await post({ selector })).toMatchObject({
      status: 422,
      body: { errors: [{ in: 'body', pointer: '/selector', detail: expect.stringContaining(detail ?? '') }] },
    });
  for (const other of [{ labels: { zone: 'north' } }, { selector: 'zone' }])
    expect(await post({ devices: ['west-1'], ...other })).toMatchObject({
      status: 422,
      body: { errors: [{ detail: expect.stringContaining('either devices') }] },
    });
  expect(await post({ devices: ['No Name'] })).toMatchObject({ status: 422, body: { errors: [{ pointer: '/devices/0' }] } });
});

test('a path names a device by its identifier or its name', async () => {
  const id = idOf('west-1');
  for (const reference of [id, 'west-1']) {
    expect(await service.get(`/v1/devices/${reference}`)).toMatchObject({ status: 200, body: { id, name: 'west-1' } });
    expect(await service.get(`/v1/devices/${reference}/modules`)).toMatchObject({ status: 200 });
    expect((await service.get(`/v1/devices/${reference}/labels`)).body).toEqual({ labels: { zone: 'west' } });
  }
  const [byId, byName] = [await service.get(`/v1/loads?device=${id}`), await service.get('/v1/loads?device=west-1')];
  expect(itemsOf(byName)).toEqual(itemsOf(byId));
  expect(itemsOf(byName).length).toBeGreaterThan(0);
  expect(itemsOf(await service.get('/v1/loads?device=west-2'))).toEqual([]);
  for (const unknown of ['west-2', `dev_${'0'.repeat(32)}`, 'No%20Name'])
    expect(await service.get(`/v1/devices/${unknown}`)).toMatchObject({ status: 404, body: { type: 'urn:patchbay:problem:not-found' } });
});

test('a device in the form of an identifier cannot be created, and a path reads it as one', async () => {
  const name = `dev_${'0'.repeat(32)}`;
  expect(await service.post('/v1/devices', { name })).toMatchObject({ status: 422, body: { errors: [{ pointer: '/name' }] } });
  const renamed = await service.request('PATCH', '/v1/devices/west-1', { name });
  expect(renamed).toMatchObject({ status: 422, body: { errors: [{ pointer: '/name' }] } });
});
