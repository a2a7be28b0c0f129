// Groups: named label selectors, in every request and list that selects devices.

import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Publisher } from '../publishing.ts';
import { bearer, itemsOf, joinToken, type TestResponse, TestService, until, workModule } from '../test-service.ts';

const service = new TestService();
const labelled: Readonly<Record<string, Record<string, string>>> = {
  'north-1': { zone: 'north', tier: 'core' },
  'north-2': { zone: 'north', tier: 'edge' },
  'south-1': { zone: 'south', tier: 'edge' },
  'west-1': {},
};
const names = Object.keys(labelled);
const ids = new Map<string, string>();
const idOf = (name: string) => ids.get(name) ?? '';
const nameOf = (id: unknown) => names.find((name) => idOf(name) === id) ?? '';

beforeAll(async () => {
  await service.start();
  const devices = Object.entries(labelled).map(([name, labels]) => ({ name, labels, ramPages: 64 }));
  const registration = { name: 'rack', bootId: randomUUID(), capacity: 10, capabilities: ['unload-module'], devices };
  expect((await service.post('/agent/v1/hosts', registration, bearer(joinToken))).status).toBe(201);
  for (const { id, name } of itemsOf(await service.get('/v1/devices'))) ids.set(String(name), String(id));
  for (const version of ['1.0.0', '1.1.0']) await service.push('tcp', version, workModule(1));
});
afterAll(() => service.close());

const problem = (status: number, type: string, pointer?: string) => ({
  status,
  body: { type: `urn:patchbay:problem:${type}`, ...(pointer === undefined ? {} : { errors: [{ pointer }] }) },
});
const etagOf = ({ headers }: TestResponse<unknown>) => headers.get('etag') ?? '';
const put = (group: string, body: object, headers: Record<string, string> = {}) =>
  service.request('PUT', `/v1/groups/${group}`, body, headers);
const remove = (group: string, headers: Record<string, string> = {}) =>
  service.request('DELETE', `/v1/groups/${group}`, undefined, headers);

async function createGroup(name: string, selector: string) {
  const created = await service.post('/v1/groups', { name, selector });
  expect(created.status).toBe(201);
  return created.body;
}

describe('a group', () => {
  test('is created, read by identifier and by name, replaced and deleted, and each change is audited', async () => {
    const created = await service.post('/v1/groups', { name: 'north', selector: 'zone=north', description: 'the north' });
    const { id } = created.body;
    expect(created).toMatchObject({ status: 201, body: { name: 'north', selector: 'zone=north', description: 'the north' } });
    expect(created.headers.get('location')).toBe(`/v1/groups/${id}`);
    for (const reference of [id, 'north'])
      expect(await service.get(`/v1/groups/${reference}`)).toMatchObject({ status: 200, body: { ...created.body, devices: 2 } });
    expect(itemsOf(await service.get('/v1/groups'))).toEqual([created.body]);
    const replaced = await put('north', { name: 'south', selector: 'zone=south' });
    expect(replaced).toMatchObject({ status: 200, body: { id, name: 'south', selector: 'zone=south', description: null } });
    expect(await service.get('/v1/groups/north')).toMatchObject(problem(404, 'not-found'));
    expect((await service.get('/v1/groups/south')).body).toMatchObject({ id, devices: 1 });
    // The same content is no change.
    await put('south', { name: 'south', selector: 'zone=south' });
    expect(await remove('south')).toMatchObject({ status: 204 });
    expect(await service.get(`/v1/groups/${id}`)).toMatchObject(problem(404, 'not-found'));
    const events = itemsOf(await service.get(`/v1/audit?object=${id}&order=asc`));
    const [before, after] = [
      { name: 'north', selector: 'zone=north', description: 'the north' },
      { name: 'south', selector: 'zone=south' },
    ];
    expect(events.map(({ action, detail }) => [action, detail])).toEqual([
      ['group.created', before],
      ['group.replaced', { before, after }],
      ['group.removed', after],
    ]);
  });

  test('is replaced and deleted only if it has the expected ETag', async () => {
    await createGroup('tagged', 'zone');
    const first = etagOf(await service.get('/v1/groups/tagged'));
    const replaced = await put('tagged', { name: 'tagged', selector: 'tier' }, { 'if-match': first });
    expect(replaced.status).toBe(200);
    expect(etagOf(await service.get('/v1/groups/tagged'))).toBe(etagOf(replaced));
    const stale = { 'if-match': first };
    expect(await put('tagged', { name: 'tagged', selector: 'zone' }, stale)).toMatchObject(problem(412, 'precondition-failed'));
    expect(await remove('tagged', stale)).toMatchObject(problem(412, 'precondition-failed'));
    expect(await remove('tagged', { 'if-match': etagOf(replaced) })).toMatchObject({ status: 204 });
  });

  test('needs a free name without the form of an identifier, and a valid selector', async () => {
    const id = String((await createGroup('taken', 'zone')).id);
    await createGroup('other', 'zone');
    const content = { name: 'taken', selector: 'zone' };
    expect(await service.post('/v1/groups', content)).toMatchObject(problem(409, 'name-taken', '/name'));
    expect(await put('other', content)).toMatchObject(problem(409, 'name-taken', '/name'));
    expect(await service.post('/v1/groups', { ...content, name: id })).toMatchObject(problem(422, 'invalid-value', '/name'));
    expect(await service.post('/v1/groups', { name: 'x', selector: 'zone in' })).toMatchObject(problem(422, 'invalid-value', '/selector'));
    for (const name of ['taken', 'other']) await remove(name);
  });

  test('is created once with an Idempotency-Key', async () => {
    const [content, key] = [{ name: 'once', selector: 'zone' }, { 'idempotency-key': randomUUID() }];
    const first = await service.post('/v1/groups', content, key);
    const second = await service.post('/v1/groups', content, key);
    expect(second.body).toEqual(first.body);
    expect(second.headers.get('idempotency-replayed')).toBe('true');
    await remove('once');
  });
});

describe('selection by a group', () => {
  beforeAll(async () => {
    await createGroup('edge', 'tier=edge');
  });

  test('lists and loads select its devices; labels and a selector narrow them', async () => {
    const namesOf = async (query: string) => itemsOf(await service.get(`/v1/devices?sort=name&${query}`)).map(({ name }) => name);
    const { id } = (await service.get('/v1/groups/edge')).body;
    expect(await namesOf('group=edge')).toEqual(['north-2', 'south-1']);
    expect(await namesOf(`group=${id}`)).toEqual(['north-2', 'south-1']);
    expect(await namesOf('group=edge&selector=zone=north')).toEqual(['north-2']);
    expect(await namesOf('group=edge&label=zone=south')).toEqual(['south-1']);
    const load = async (body: object) => {
      const response = await service.postRaw('/v1/loads', { module: 'tcp', version: '1.0.0', supersede: true, ...body });
      expect(response).toMatchObject({ status: 202 });
      return response.body;
    };
    const { batch, loads } = await load({ group: 'edge' });
    expect(loads).toMatchObject([{}, {}]);
    const [requested] = itemsOf(await service.get(`/v1/audit?object=${batch}&action=load.requested`));
    expect(requested?.['detail']).toMatchObject({ group: 'edge' });
    expect(itemsOf(await service.get(`/v1/loads?batch=${batch}&group=edge`))).toHaveLength(2);
    expect(itemsOf(await service.get(`/v1/loads?batch=${batch}&group=edge&label=zone=north`))).toHaveLength(1);
    const narrowed = await load({ group: id, selector: 'zone!=south', labels: { tier: 'edge' } });
    expect(narrowed).toMatchObject({ loads: [{ device: idOf('north-2') }] });
  });

  test.each([
    ['/v1/loads', { module: 'tcp', version: '1.0.0' }],
    ['/v1/unloads', { module: 'tcp' }],
    ['/v1/rollbacks', { module: 'tcp', reason: 'why' }],
    ['/v1/rollouts', { module: 'tcp', version: '1.0.0' }],
    ['/v1/devices/decommission', { reason: 'why' }],
    ['/v1/devices/labels', { set: { x: 'y' } }],
    ['/v1/signature-policies', { name: 'policy', publisherKeys: [`pub_${'0'.repeat(32)}`] }],
  ])('%s rejects an unknown group, and a group with devices', async (path, body) => {
    const post = (members: object) => service.postRaw(path, { ...body, ...members });
    for (const group of ['nowhere', `grp_${'0'.repeat(32)}`])
      expect(await post({ group })).toMatchObject(problem(422, 'invalid-value', '/group'));
    const named = path === '/v1/signature-policies' ? { device: 'north-1' } : { devices: ['north-1'] };
    expect(await post({ group: 'edge', ...named })).toMatchObject(problem(422, 'invalid-value'));
  });

  test('lists reject an unknown group', async () => {
    for (const path of ['/v1/devices', '/v1/loads'])
      expect(await service.get(`${path}?group=nowhere`)).toMatchObject({
        status: 422,
        body: { errors: [{ in: 'query', pointer: '/group' }] },
      });
  });

  test('unloads and rollbacks select its devices', async () => {
    const unload = await service.post('/v1/unloads', { module: 'tcp', group: 'edge' });
    expect(unload).toMatchObject({ status: 409, body: { detail: expect.stringContaining('not loaded on north-2, south-1;') } });
    const rollback = await service.post('/v1/rollbacks', { module: 'tcp', group: 'edge', reason: 'why' });
    expect(rollback).toMatchObject({ status: 409, body: { detail: expect.stringContaining('on north-2, south-1;') } });
  });

  test('a dynamic rollout keeps the selector that the group had at its request', async () => {
    await createGroup('moving', 'zone=south');
    const rollout = await service.post('/v1/rollouts', { module: 'tcp', version: '1.1.0', group: 'moving', dynamic: true, soakSeconds: 0 });
    const { id } = (await service.get('/v1/groups/moving')).body;
    const view = async () => (await service.get(`/v1/rollouts/${rollout.body.id}`)).body;
    expect(rollout.body.selector).toMatchObject({ group: { id, name: 'moving', selector: 'zone=south' } });
    await put('moving', { name: 'renamed', selector: 'tier=core' });
    expect(await remove('renamed')).toMatchObject({ status: 204 });
    // A device that matches the earlier selector joins; the devices of the later one do not.
    await service.put(`/v1/devices/${idOf('west-1')}/labels`, { labels: { zone: 'south' } });
    await until('the device joins', async () => {
      const members = itemsOf(await service.get(`/v1/rollouts/${rollout.body.id}/devices`)).map(({ device }) => nameOf(device));
      return members.toSorted().join() === 'south-1,west-1';
    });
    expect((await view()).selector).toMatchObject({ group: { name: 'moving' } });
    await service.post(`/v1/rollouts/${rollout.body.id}/abort`, { reason: 'the test ends' });
  });

  test('a signature policy applies to the devices that are in its group at the request, and the group cannot be deleted', async () => {
    const publisher = await new Publisher(service, 'publisher').register();
    const { id } = await createGroup('signed', 'zone=north');
    const created = await service.post('/v1/signature-policies', { name: 'of-group', group: 'signed', publisherKeys: [publisher.id] });
    expect(created).toMatchObject({ status: 201, body: { group: id, device: null, labels: null, selector: null } });
    const refused = async () => {
      const body = { module: 'tcp', version: '1.1.0', selector: 'tier', waves: [{ upToPercent: 100 }], dryRun: true };
      const { items } = (await service.postRaw('/v1/rollouts', body)).body;
      return Array.isArray(items)
        ? items
            .filter(({ forecast }) => forecast === 'refused-image')
            .map(({ deviceName }) => deviceName)
            .toSorted()
        : [];
    };
    expect(await refused()).toEqual(['north-1', 'north-2']);
    await put('signed', { name: 'signed', selector: 'zone=south' });
    expect(await refused()).toEqual(['south-1']);
    expect(await remove('signed')).toMatchObject({
      status: 409,
      body: {
        type: 'urn:patchbay:problem:group-in-use',
        detail: expect.stringContaining('the signature policy of-group uses the group signed'),
      },
    });
    const [event] = itemsOf(await service.get(`/v1/audit?object=${created.body.id}&action=signature-policy.created`));
    expect(event?.['detail']).toMatchObject({ group: id });
    const byName = await service.post('/v1/signature-policies', { name: 'of-device', device: 'west-1', publisherKeys: [publisher.id] });
    expect(byName.body).toMatchObject({ device: idOf('west-1'), group: null });
    for (const policy of [created, byName]) await service.request('DELETE', `/v1/signature-policies/${policy.body.id}`);
    expect(await remove('signed')).toMatchObject({ status: 204 });
  });
});

test('limits the number of groups', async () => {
  const existing = itemsOf(await service.get('/v1/groups?limit=200')).length;
  const create = (index: number) => service.post('/v1/groups', { name: `group-${index}`, selector: 'zone' });
  for (let first = existing; first < 1_000; first += 50)
    await Promise.all(Array.from({ length: Math.min(50, 1_000 - first) }, (_, index) => create(first + index)));
  expect(await create(1_000)).toMatchObject({
    ...problem(409, 'too-many-groups'),
    body: { detail: expect.stringContaining('1000 groups') },
  });
});
