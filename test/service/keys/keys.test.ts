// API keys: creation, listing, use and revocation.

import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Schemas } from '../../../src/client/client.ts';
import { isInDatabase } from '../../databases.ts';
import { bearer, itemsOf, TestService } from '../test-service.ts';

let service: TestService;
beforeEach(async () => {
  service = await new TestService().start();
});
afterEach(() => service.close());

const problem = (status: number, type: string) => ({ status, body: { type: `urn:patchbay:problem:${type}` } });
const create = (name: string, role: Schemas['Role'], headers: Record<string, string> = {}) =>
  service.post('/v1/keys', { name, role }, headers);

test('creates a key, shows its secret once, and lists it without the secret', async () => {
  const created = await create('pipeline', 'publisher');
  expect(created).toMatchObject({
    status: 201,
    body: { name: 'pipeline', role: 'publisher', host: null, expiresAt: null, requestsPerMinute: null, lastUsedAt: null, revokedAt: null },
  });
  expect(created.body.id).toMatch(/^key_[0-9a-f]{32}$/);
  expect(created.headers.get('location')).toBe(`/v1/keys/${created.body.id}`);
  expect(created.headers.get('cache-control')).toBe('no-store');
  const { secret, ...key } = created.body;
  expect(secret).toMatch(/^patchbay_[0-9a-f]{32}_[A-Za-z0-9_-]{43}$/);
  expect((await service.get(`/v1/keys/${key.id}`)).body).toEqual(key);
  const [newest, first, ...others] = itemsOf(await service.get('/v1/keys'));
  expect(newest).toEqual(key);
  expect(first).toMatchObject({ role: 'admin', createdBy: 'service' });
  expect(others).toEqual([]);
  expect(key.createdBy).toBe(first?.id);
  expect(itemsOf(await service.get('/v1/keys?role=publisher'))).toEqual([key]);
  expect(await service.get('/v1/keys/key_none')).toMatchObject(problem(404, 'not-found'));
});

test('returns the roles of the current key', async () => {
  const created = await create('on-call', 'operator');
  const current = await service.get('/v1/keys/current', bearer(String(created.body.secret)));
  expect(current).toMatchObject({ status: 200 });
  expect(current.body).toEqual({
    id: created.body.id,
    name: 'on-call',
    role: 'operator',
    expiresAt: null,
    grantedRoles: ['viewer', 'operator'],
    scope: null,
  });
  expect((await service.get('/v1/keys/current')).body).toMatchObject({
    role: 'admin',
    grantedRoles: ['viewer', 'operator', 'publisher', 'admin'],
  });
});

test('a service without authentication permits every request', async () => {
  const open = new TestService();
  open.keys = 'off';
  await open.start();
  try {
    const { body } = await open.get('/v1/keys/current');
    expect(body).toEqual({
      id: null,
      name: null,
      role: 'admin',
      expiresAt: null,
      grantedRoles: ['viewer', 'operator', 'publisher', 'admin'],
      scope: null,
    });
  } finally {
    await open.close();
  }
});

test('the database contains no secret, not even in a stored response', async () => {
  const headers = { 'idempotency-key': randomUUID() };
  const created = await create('pipeline', 'publisher', headers);
  const again = await create('pipeline', 'publisher', headers);
  expect(again).toMatchObject({ status: 201, body: created.body });
  await service.stop();
  expect(await isInDatabase(service.database, headers['idempotency-key'])).toBe(true);
  for (const secret of [service.key, String(created.body.secret)])
    expect(await isInDatabase(service.database, secret.slice(-43))).toBe(false);
  await service.start();
  expect(await create('pipeline', 'publisher', headers)).toMatchObject({ status: 201, body: created.body });
  expect(itemsOf(await service.get('/v1/keys'))).toHaveLength(2);
});

test('the same idempotency key of two API keys does not collide', async () => {
  const second = String((await create('second', 'admin')).body.secret);
  const headers = { 'idempotency-key': randomUUID() };
  const device = (name: string, key: string) => service.post('/v1/keys', { name, role: 'viewer' }, { ...headers, ...bearer(key) });
  expect((await device('one', service.key)).body.name).toBe('one');
  expect((await device('two', second)).body.name).toBe('two');
});

test.each(['', '?types=load'])('revoking a key ends its own stream of events%s only', async (query) => {
  const [one, another] = [
    await service.post('/v1/keys', { name: `one${query.length}`, role: 'viewer' }),
    await service.post('/v1/keys', { name: `another${query.length}`, role: 'viewer' }),
  ];
  const leaving = new AbortController();
  const follow = async ({ body }: typeof one) => {
    const headers = { authorization: `Bearer ${body.secret}` };
    return fetch(`${service.url}/v1/events${query}`, { headers, signal: leaving.signal });
  };
  const [streamOfOne, streamOfAnother] = [await follow(one), await follow(another)];
  let hasEnded = false;
  const text = streamOfAnother
    .text()
    .finally(() => (hasEnded = true))
    .catch(() => '');
  await service.post(`/v1/keys/${one.body.id}/revoke`, undefined);
  expect((await streamOfOne.text()).includes('event: key.revoked')).toBe(query === '');
  expect(hasEnded).toBe(false);
  leaving.abort();
  await text;
});

test('a revoked key stops working immediately, and its name is free', async () => {
  const { body } = await create('reader', 'viewer');
  const headers = bearer(String(body.secret));
  expect((await service.get('/v1/devices', headers)).status).toBe(200);
  const revoked = await service.post(`/v1/keys/${body.id}/revoke`, undefined);
  expect(revoked).toMatchObject({ status: 200, body: { revokedAt: expect.any(String) } });
  expect(await service.get('/v1/devices', headers)).toMatchObject(problem(401, 'unauthenticated'));
  expect((await service.post(`/v1/keys/${body.id}/revoke`, undefined)).body).toMatchObject({ revokedAt: revoked.body.revokedAt });
  expect(itemsOf(await service.get('/v1/keys?revoked=true'))).toMatchObject([{ id: body.id }]);
  expect(itemsOf(await service.get('/v1/keys?revoked=false'))).toMatchObject([{ role: 'admin' }]);
  expect((await create('reader', 'viewer')).status).toBe(201);
  expect(await create('reader', 'operator')).toMatchObject(problem(409, 'name-taken'));
});

test('a key stops working when it expires, its streams end, and its name is free', async () => {
  const expiresAt = new Date(Date.now() + 2_000);
  // Any offset is accepted, and UTC returned.
  const inAnotherZone = `${new Date(expiresAt.getTime() + 7_200_000).toISOString().slice(0, -1)}+02:00`;
  const { status, body } = await service.post('/v1/keys', { name: 'visitor', role: 'viewer', expiresAt: inAnotherZone });
  expect({ status, expiresAt: body.expiresAt }).toEqual({ status: 201, expiresAt: expiresAt.toISOString() });
  const headers = bearer(String(body.secret));
  const stream = await fetch(`${service.url}/v1/events`, { headers });
  expect((await service.get('/v1/keys/current', headers)).body).toMatchObject({ expiresAt: expiresAt.toISOString() });
  expect(await create('visitor', 'viewer')).toMatchObject(problem(409, 'name-taken'));
  await stream.text();
  expect(new Date() >= expiresAt).toBe(true);
  expect(await service.get('/v1/devices', headers)).toMatchObject({ status: 401, body: { detail: expect.stringContaining('expired at') } });
  expect((await create('visitor', 'viewer')).status).toBe(201);
});

test('rejects a key that would have expired already', async () => {
  const request = { name: 'late', role: 'viewer', expiresAt: '2020-01-01T00:00:00Z' } as const;
  expect(await service.post('/v1/keys', request)).toMatchObject({
    status: 422,
    body: { errors: [{ pointer: '/expiresAt', detail: expect.stringContaining('is not after the time of the service') }] },
  });
});

test('an admin key that expires does not replace one that does not', async () => {
  const [first] = itemsOf(await service.get('/v1/keys'));
  const expiresAt = new Date(Date.now() + 3_600_000).toISOString();
  const temporary = await service.post('/v1/keys', { name: 'temporary', role: 'admin', expiresAt });
  expect(await service.post(`/v1/keys/${first?.id}/revoke`, undefined)).toMatchObject(problem(409, 'last-admin'));
  expect((await service.post(`/v1/keys/${temporary.body.id}/revoke`, undefined)).status).toBe(200);
});

test('limits the requests of a key to its quota, and those of no other', async () => {
  const { body } = await service.post('/v1/keys', { name: 'script', role: 'viewer', requestsPerMinute: 3 });
  const headers = bearer(String(body.secret));
  const statuses: number[] = [];
  for (let count = 0; count < 4; count += 1) statuses.push((await service.get('/v1/devices', headers)).status);
  expect(statuses).toEqual([200, 200, 200, 429]);
  const refused = await service.get('/v1/devices', headers);
  expect(refused).toMatchObject({ status: 429, body: { detail: expect.stringContaining('3 requests per minute') } });
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
  expect((await service.get('/v1/devices')).status).toBe(200);
});

test('rejects the revocation of the last admin key', async () => {
  const [first] = itemsOf(await service.get('/v1/keys'));
  const revokeFirst = () => service.post(`/v1/keys/${first?.id}/revoke`, undefined);
  expect(await revokeFirst()).toMatchObject(problem(409, 'last-admin'));
  const second = await create('second', 'admin');
  expect((await revokeFirst()).status).toBe(200);
  service.key = String(second.body.secret);
  expect(await service.post(`/v1/keys/${second.body.id}/revoke`, undefined)).toMatchObject(problem(409, 'last-admin'));
});

test('two admin keys that revoke each other concurrently leave one', async () => {
  const [first] = itemsOf(await service.get('/v1/keys'));
  const second = await create('second', 'admin');
  const responses = await Promise.all([
    service.post(`/v1/keys/${second.body.id}/revoke`, undefined),
    service.post(`/v1/keys/${first?.id}/revoke`, undefined, bearer(String(second.body.secret))),
  ]);
  expect(responses.map(({ status }) => status).toSorted()).toEqual([200, expect.any(Number)]);
  expect(responses.filter(({ status }) => status === 200)).toHaveLength(1);
});

test('stores the time of last use across a restart', async () => {
  const { body } = await create('reader', 'viewer');
  const before = new Date().toISOString();
  await service.get('/v1/devices', bearer(String(body.secret)));
  await service.stop();
  await service.start();
  const { lastUsedAt } = (await service.get(`/v1/keys/${body.id}`)).body;
  expect(String(lastUsedAt) >= before).toBe(true);
});

test('an audit event names the key of its request', async () => {
  const { body } = await create('pipeline', 'publisher');
  await service.post(
    '/v1/modules/tcp/builds',
    { version: '1.0.0', language: 'wat', source: '(module (func (export "f")))' },
    bearer(String(body.secret)),
  );
  expect(itemsOf(await service.get('/v1/audit?action=build.created'))).toMatchObject([{ actor: body.id }]);
  await service.post(`/v1/keys/${body.id}/revoke`, undefined);
  expect(itemsOf(await service.get(`/v1/audit?object=${body.id}`))).toMatchObject([
    { action: 'key.revoked', detail: { name: 'pipeline', role: 'publisher', host: null } },
    { action: 'key.created' },
  ]);
  expect(JSON.stringify((await service.get('/v1/audit')).body)).not.toContain('patchbay_');
});

test.each([
  [{ name: 'x', role: 'root' }, '/role'],
  [{ name: 'Not A Name', role: 'viewer' }, '/name'],
  [{ name: 'x', role: 'agent' }, '/host'],
  [{ name: 'x', role: 'viewer', host: 'rack-1' }, '/host'],
  [{ name: 'x', role: 'viewer', secret: 'mine' }, '/secret'],
])('rejects a key of %j', async (body, pointer) => {
  expect(await service.postRaw('/v1/keys', body)).toMatchObject({ status: 422, body: { errors: [{ in: 'body', pointer }] } });
});

test('rejects more than 1,000 keys', async () => {
  for (let count = 1; count < 1_000; count += 50) {
    const names = Array.from({ length: Math.min(50, 1_000 - count) }, (_, index) => `key-${count + index}`);
    for (const { status } of await Promise.all(names.map((name) => create(name, 'viewer')))) expect(status).toBe(201);
  }
  expect(await create('one-more', 'viewer')).toMatchObject(problem(409, 'too-many-keys'));
  const [newest] = itemsOf(await service.get('/v1/keys?limit=1'));
  await service.post(`/v1/keys/${newest?.id}/revoke`, undefined);
  expect((await create('one-more', 'viewer')).status).toBe(201);
});

test('records a denied operation once, however often it is repeated', async () => {
  const created = await create('pipeline', 'publisher');
  const asPublisher = bearer(String(created.body.secret));
  for (const name of ['one', 'two', 'three']) {
    expect(await service.post('/v1/keys', { name, role: 'viewer' }, asPublisher)).toMatchObject(problem(403, 'forbidden'));
  }
  expect(await service.get('/v1/keys', asPublisher)).toMatchObject(problem(403, 'forbidden'));
  const recorded = itemsOf(await service.get('/v1/audit?action=key.denied&outcome=refused'));
  expect(recorded.map(({ actor, object, detail }) => ({ actor, object, detail }))).toEqual(
    ['GET /v1/keys', 'POST /v1/keys'].map((operation) => ({
      actor: created.body.id,
      object: created.body.id,
      detail: { operation, role: 'publisher', needed: 'admin' },
    })),
  );
});
