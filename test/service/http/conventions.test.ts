// Conventions of every route: problems, request IDs, pagination, idempotency, the document.

import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { bearer, firstOf, itemsOf, prebuiltModule, TestService, workModule } from '../test-service.ts';

const service = new TestService();
beforeAll(async () => {
  await service.start();
  service.startHost('host', 1);
  await service.connectedDevices(1);
});
afterAll(() => service.close());

const names: string[] = [];

test('an unknown path returns a problem that refers to the documentation', async () => {
  const response = await service.get('/v1/modulez');
  expect(response).toMatchObject({
    status: 404,
    body: { type: 'urn:patchbay:problem:not-found', detail: 'no route matches /v1/modulez: see /documentation for the API' },
  });
  expect(response.headers.get('x-request-id')).toMatch(/^req_[0-9a-f]{32}$/);
});

test('an unsupported method returns the supported ones', async () => {
  const response = await service.request('DELETE', '/v1/devices/dev_00000000000000000000000000000000');
  expect(response).toMatchObject({ status: 405, body: { type: 'urn:patchbay:problem:method-not-allowed' } });
  expect(response.headers.get('allow')).toBe('GET, HEAD, PATCH');
});

test('pages of any size contain every item once, in order', async () => {
  for (let index = 0; index < 12; index += 1) names.push(`page-${index}`);
  for (const name of names) await service.post('/v1/devices', { name });
  await service.connectedDevices(1 + names.length);
  const lists = ['/v1/devices?', '/v1/devices?status=connected&', '/v1/audit?', '/v1/audit?order=asc&'];
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...lists), fc.integer({ min: 1, max: 20 }), async (list, limit) => {
      const all = itemsOf(await service.get(`${list}limit=200`));
      const collected: unknown[] = [];
      let path: string | null = `${list}limit=${limit}`;
      while (path !== null) {
        const response = await service.get(path);
        const items = itemsOf(response);
        expect(items.length).toBeLessThanOrEqual(limit);
        collected.push(...items);
        const link: RegExpExecArray | null = /^<(.+)>; rel="next"$/.exec(response.headers.get('link') ?? '');
        expect(link === null).toBe(response.body['next'] === null);
        path = link?.[1] ?? null;
      }
      expect(collected).toEqual(all);
    }),
    { numRuns: 30 },
  );
});

test.each(['limit=0', 'limit=201', 'limit=ten', 'cursor=', 'cursor=%00', 'cursor=not~base64', 'colour=red'])(
  'a list with %s is rejected with a correction',
  async (query) => {
    for (const list of ['/v1/devices', '/v1/modules', '/v1/loads', '/v1/audit', '/v1/hosts']) {
      expect(await service.get(`${list}?${query}`)).toMatchObject({ status: 422, body: { errors: [{ in: 'query' }] } });
    }
  },
);

test('a request that is retried with its key is executed once and gets the same response', async () => {
  const key = randomUUID();
  const first = await service.post('/v1/devices', { name: 'once' }, { 'idempotency-key': key });
  const again = await service.post('/v1/devices', { name: 'once' }, { 'idempotency-key': key });
  expect(first.status).toBe(201);
  expect(again).toMatchObject({ status: 201, body: first.body });
  expect(again.headers.get('location')).toBe(first.headers.get('location'));
  expect(again.headers.get('idempotency-replayed')).toBe('true');
});

test('retried requests for loads and programs get the identical response', async () => {
  const device = String(itemsOf(await service.get('/v1/devices?status=connected&limit=1'))[0]?.id);
  await service.push('again', '1.0.0', workModule(1));
  await service.load('again', '1.0.0', [device]);
  const requests = [
    ['/v1/loads', { module: 'again', version: '1.0.0', devices: [device] }],
    ['/v1/loads', { module: 'again', version: '1.0.0', devices: [device, device] }],
    [`/v1/devices/${device}/programs`, { module: 'again', export: 'work', arguments: [1], calls: 1 }],
    ['/v1/modules/again/builds', { version: 'next-minor', language: 'wat', source: workModule(2) }],
  ] as const;
  for (const [path, body] of requests) {
    const ask = async (headers: Record<string, string>) => {
      const content = { ...bearer(service.key), 'content-type': 'application/json', ...headers };
      const received = await fetch(`${service.url}${path}`, { method: 'POST', headers: content, body: JSON.stringify(body) });
      const [type, location] = [received.headers.get('content-type'), received.headers.get('location')];
      return { status: received.status, type, location, text: await received.text() };
    };
    const headers = { 'idempotency-key': randomUUID() };
    const first = await ask(headers);
    expect(first.status).toBeLessThan(300);
    expect(await ask(headers)).toEqual(first);
  }
});

test('a binary request that is retried with its key is executed once', async () => {
  const headers = { 'idempotency-key': randomUUID(), 'content-type': 'application/wasm' };
  const push = (version: string) => service.request('POST', `/v1/modules/bytes/builds?version=${version}`, prebuiltModule, headers);
  expect((await push('1.0.0')).status).toBe(201);
  expect((await push('1.0.0')).status).toBe(201);
  expect(await push('1.1.0')).toMatchObject({ status: 422, body: { errors: [{ in: 'header', pointer: '/idempotency-key' }] } });
  expect(itemsOf(await service.get('/v1/modules/bytes/builds'))).toHaveLength(1);
});

test('a rejection is replayed too, and a key is valid for one request', async () => {
  const key = randomUUID();
  const refused = await service.post('/v1/devices', { name: 'once', host: 'nowhere' }, { 'idempotency-key': key });
  expect(await service.post('/v1/devices', { name: 'once', host: 'nowhere' }, { 'idempotency-key': key })).toMatchObject({
    status: refused.status,
    body: refused.body,
  });
  expect(await service.post('/v1/devices', { name: 'twice' }, { 'idempotency-key': key })).toMatchObject({
    status: 422,
    body: { errors: [{ in: 'header', pointer: '/idempotency-key' }] },
  });
  expect(await service.post('/v1/devices', { name: 'long' }, { 'idempotency-key': 'k'.repeat(256) })).toMatchObject({ status: 422 });
});

test('one of a hundred identical concurrent requests is executed, and the others get its response', async () => {
  await service.push('raced', '1.0.0', workModule(1));
  const device = firstOf(await service.get('/v1/devices?limit=1'));
  const key = randomUUID();
  const body = { module: 'raced', version: '1.0.0', devices: [device.id] };
  const responses = await Promise.all(Array.from({ length: 100 }, () => service.post('/v1/loads', body, { 'idempotency-key': key })));
  expect(new Set(responses.map(({ status, body: { batch } }) => `${status} ${batch}`))).toEqual(
    new Set([`202 ${responses[0]?.body.batch}`]),
  );
  expect(itemsOf(await service.get('/v1/loads?module=raced'))).toHaveLength(1);
});

test('bodies above the limit are rejected', async () => {
  const received = await service.post('/v1/devices', { name: 'x', labels: { padding: 'y'.repeat(1024 * 1024) } });
  expect(received).toMatchObject({
    status: 413,
    body: { type: 'urn:patchbay:problem:too-large', detail: expect.stringContaining('1048576 bytes') },
  });
});

test('the served document equals the one in the repository, and its page exists', async () => {
  const committed = JSON.parse(readFileSync(new URL('../../../openapi/openapi.json', import.meta.url), 'utf8'));
  expect((await service.get('/documentation/json')).body).toEqual(committed);
  const page = await service.get('/documentation/');
  expect(page.headers.get('content-type')).toContain('text/html');
});

test('every operation of the document has a unique name, a tag, a summary and described responses', async () => {
  const { paths } = JSON.parse(readFileSync(new URL('../../../openapi/openapi.json', import.meta.url), 'utf8'));
  const operations = Object.values<Record<string, OperationObject>>(paths).flatMap((item) => Object.values(item));
  expect(operations.length).toBeGreaterThan(15);
  expect(new Set(operations.map(({ operationId }) => operationId)).size).toBe(operations.length);
  for (const { tags, summary, responses } of operations) {
    expect(tags).toHaveLength(1);
    expect(summary).toMatch(/^[A-Z]/);
    for (const { description } of Object.values(responses)) expect(description).not.toMatch(/^(Default Response)?$/);
  }
});

type OperationObject = { operationId: string; tags: string[]; summary: string; responses: Record<string, { description: string }> };
