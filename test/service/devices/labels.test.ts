// Labels of a device: read and replaced with ETags. A registration of the host does not change labels that an operator has set.

import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Schemas } from '../../../src/client/client.ts';
import { bearer, itemsOf, joinToken, TestService, workModule } from '../test-service.ts';

const service = new TestService();
let device: string;
let other: string;

/** Registers a new boot of the host with this label on its devices. */
async function register(zone: string): Promise<void> {
  const devices = ['played-1', 'played-2'].map((name) => ({ name, labels: { zone }, ramPages: 64 }));
  const registration = { name: 'played', bootId: randomUUID(), capacity: 5, devices };
  expect((await service.post('/agent/v1/hosts', registration, bearer(joinToken))).status).toBe(201);
}

beforeAll(async () => {
  await service.start();
  await register('north');
  [device = '', other = ''] = itemsOf(await service.get('/v1/devices?sort=name')).map(({ id }) => id);
});
afterAll(() => service.close());

const get = (headers: Record<string, string> = {}, of = device) => service.get(`/v1/devices/${of}/labels`, headers);
const put = (labels: Schemas['Labels'], headers: Record<string, string> = {}, of = device) =>
  service.put(`/v1/devices/${of}/labels`, { labels }, headers);
const etagOf = ({ headers }: { headers: Headers }) => headers.get('etag') ?? '';
const strongTag = /^"[!-~]+"$/;

test('labels are replaced, and the ETag changes only if they change', async () => {
  const first = await put({ zone: 'south', rack: '7' });
  expect(first).toMatchObject({ status: 200, body: { labels: { zone: 'south', rack: '7' } } });
  expect(etagOf(first)).toMatch(strongTag);
  const read = await get();
  expect(read).toMatchObject({ status: 200, body: first.body });
  expect(etagOf(read)).toBe(etagOf(first));
  expect((await service.get(`/v1/devices/${device}`)).body.labels).toEqual({ zone: 'south', rack: '7' });
  const second = await put({ zone: 'south' });
  expect(second.body).toEqual({ labels: { zone: 'south' } });
  expect(etagOf(second)).not.toBe(etagOf(first));
  expect(etagOf(await put({ rack: '7', zone: 'south' }))).toBe(etagOf(first));
  expect(itemsOf(await service.get('/v1/devices?label=rack=7')).map(({ id }) => id)).toEqual([device]);
});

test('a client that has the labels gets 304 without a body', async () => {
  const etag = etagOf(await get());
  for (const known of [etag, `W/${etag}`, `"other,one", ${etag}`, ` , "a" ,${etag},`, '*']) {
    const response = await get({ 'if-none-match': known });
    expect([known, response.status, etagOf(response), response.body]).toEqual([known, 304, etag, { text: '' }]);
  }
  for (const unknown of ['"other"', `"${etag.slice(1, 8)}"`, `W/"other", "${randomUUID()}"`]) {
    expect(await get({ 'if-none-match': unknown })).toMatchObject({ status: 200, body: { labels: {} } });
  }
});

test('rejects a replacement if the labels have changed since they were read', async () => {
  const etag = etagOf(await get());
  for (const named of ['"other"', `W/${etag}`, '"a", "b"']) {
    expect(await put({ lost: 'yes' }, { 'if-match': named })).toMatchObject({
      status: 412,
      body: { type: 'urn:patchbay:problem:precondition-failed', detail: expect.stringContaining('read them again') },
    });
  }
  expect(etagOf(await get())).toBe(etag);
  const replaced = await put({ kept: 'yes' }, { 'if-match': `"other", ${etag}` });
  expect(replaced).toMatchObject({ status: 200, body: { labels: { kept: 'yes' } } });
  expect(await put({ lost: 'yes' }, { 'if-match': etag })).toMatchObject({ status: 412 });
  expect(await put({ kept: 'still' }, { 'if-match': '*' })).toMatchObject({ status: 200 });
});

test('one of twenty concurrent replacements with the same tag succeeds', async () => {
  const etag = etagOf(await get());
  const responses = await Promise.all(Array.from({ length: 20 }, (_, index) => put({ writer: `w${index}` }, { 'if-match': etag })));
  const succeeded = responses.filter(({ status }) => status === 200);
  expect(succeeded).toHaveLength(1);
  expect(responses.filter(({ status }) => status === 412)).toHaveLength(19);
  expect((await get()).body).toEqual(succeeded[0]?.body);
});

test('a replacement of labels is audited once with the earlier labels, and the same labels again change nothing', async () => {
  const before = (await get()).body.labels;
  await put({ audited: 'yes' });
  await put({ audited: 'yes' });
  const [event, ...earlier] = itemsOf(await service.get(`/v1/audit?action=device.relabelled&object=${device}`));
  expect(event).toMatchObject({ actor: expect.stringMatching(/^key_/), detail: { before, after: { audited: 'yes' } } });
  expect(earlier.filter(({ detail }) => JSON.stringify(detail) === JSON.stringify(event?.detail))).toEqual([]);
});

test('a registration replaces the labels from the host but not those from an operator', async () => {
  const labels = { zone: 'of the operator' };
  await put(labels);
  await register('west');
  expect((await get()).body).toEqual({ labels });
  expect((await get({}, other)).body).toEqual({ labels: { zone: 'west' } });
  await put({ zone: 'west' }, {}, other);
  await register('east');
  expect((await get({}, other)).body).toEqual({ labels: { zone: 'west' } });
  await put({});
  await register('north');
  expect((await get()).body).toEqual({ labels: {} });
});

test.each([
  ['if-match', 'unquoted'],
  ['if-match', '"open'],
  ['if-match', '*, "a"'],
  ['if-match', ','],
])('%s: rejects %s with what to change', async (name, value) => {
  const response = await put({ lost: 'yes' }, { [name]: value });
  expect(response).toMatchObject({ status: 422, body: { errors: [{ in: 'header', pointer: `/${name}` }] } });
  expect((await get({ 'if-none-match': value })).status).toBe(422);
});

test('rejects invalid labels', async () => {
  const tooMany = Object.fromEntries(Array.from({ length: 17 }, (_, index) => [`k${index}`, 'v']));
  for (const labels of [{ Upper: 'x' }, { long: 'x'.repeat(64) }, { number: 1 }, tooMany])
    expect(await service.request('PUT', `/v1/devices/${device}/labels`, { labels })).toMatchObject({
      status: 422,
      body: { errors: [{ in: 'body' }] },
    });
});

test('labels of an unknown device are not found', async () => {
  const nowhere = 'dev_00000000000000000000000000000000';
  expect((await get({}, nowhere)).status).toBe(404);
  expect((await put({}, { 'if-match': '"a"' }, nowhere)).status).toBe(404);
});

test('a viewer can read labels but not replace them', async () => {
  const { body } = await service.post('/v1/keys', { name: 'reader', role: 'viewer' });
  const reader = bearer(String(body.secret));
  expect((await get(reader)).status).toBe(200);
  expect((await put({ lost: 'yes' }, reader)).status).toBe(403);
});

test('builds and images have ETags too, and are not sent to clients that have them', async () => {
  await service.push('tagged', '1.0.0', workModule(1));
  const tags = new Set<string>();
  for (const path of ['/v1/modules/tagged/builds/1.0.0', '/v1/modules/tagged/builds/1.0.0/image']) {
    const read = await service.get(path);
    expect(etagOf(read)).toMatch(strongTag);
    tags.add(etagOf(read));
    expect(etagOf(await service.get(path))).toBe(etagOf(read));
    expect(await service.get(path, { 'if-none-match': `"other", W/${etagOf(read)}` })).toMatchObject({ status: 304, body: { text: '' } });
    expect((await service.get(path, { 'if-none-match': '"other"' })).status).toBe(200);
  }
  expect(tags.size).toBe(2);
});
