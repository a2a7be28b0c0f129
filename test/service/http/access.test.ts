// Access control: every operation of the document, with every kind of key and token, and without.

import { request as httpRequest } from 'node:http';
import Fastify from 'fastify';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { addAccessControl } from '../../../src/service/http/access.ts';
import { Installation } from '../../../src/service/installation.ts';
import { defaultSettings } from '../../default-settings.ts';
import { Agent } from '../agents/agent.ts';
import { bearer, joinToken, TestService } from '../test-service.ts';
import { type Operation, operations } from './fuzzing/document.ts';

const service = new TestService();
const credentials = new Map<string, Record<string, string>>([
  ['nothing', { authorization: '' }],
  ['an unknown key', bearer(`patchbay_${'0'.repeat(32)}_${'x'.repeat(43)}`)],
  ['a join token that is none', bearer('no-such-join-token')],
  ['the join token', bearer(joinToken)],
]);
const agent = new Agent(service);
const otherAgent = new Agent(service);

beforeAll(async () => {
  await service.start();
  for (const role of ['viewer', 'operator', 'publisher', 'admin', 'agent'] as const) {
    const { body } = await service.post('/v1/keys', { name: role, role, ...(role === 'agent' ? { host: 'bound' } : {}) });
    credentials.set(role, bearer(String(body.secret)));
  }
  const { body } = await service.post('/v1/keys', { name: 'revoked', role: 'admin' });
  await service.post(`/v1/keys/${body.id}/revoke`, undefined);
  credentials.set('a revoked key', bearer(String(body.secret)));
  await agent.register('played', ['d1']);
  await otherAgent.register('other', ['d2']);
  credentials.set('its token', bearer(agent.token));
  credentials.set("another host's token", bearer(otherAgent.token));
});
afterAll(() => service.close());

const known = ['viewer', 'operator', 'publisher', 'admin', 'agent'];
/** Roles whose keys are allowed to call an operation; stated independently of the service. */
const allowed: Readonly<Record<string, readonly string[]>> = {
  viewer: ['viewer', 'operator', 'publisher', 'admin'],
  operator: ['operator', 'admin'],
  publisher: ['publisher', 'admin'],
  admin: ['admin'],
  agent: ['agent'],
};

/** Returns the status for a caller; null: neither 401 nor 403. */
function expectedStatus({ security, path }: Operation, who: string): 401 | 403 | null {
  if (security.length === 0) return null;
  const schemes = new Map(security.flatMap((one) => Object.entries(one)));
  const role = schemes.get('apiKey')?.[0];
  if (schemes.has('agentToken')) {
    if (who === 'its token') return null;
    if (who === "another host's token") return path.includes('{host}') ? 403 : null;
    return 401;
  }
  if (schemes.has('joinToken') && who === 'the join token') return null;
  if (role !== undefined && known.includes(who)) return allowed[role]?.includes(who) ? null : 403;
  return 401;
}

async function statusOf({ path, method }: Operation, headers: Record<string, string>, as = method): Promise<number> {
  const leaving = new AbortController();
  const isPost = as === 'POST';
  const asked = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => (name === 'host' ? agent.host : `no-${name}`));
  const response = await fetch(`${service.url}${asked}`, {
    method: as,
    headers: { ...headers, ...(isPost ? { 'content-type': 'application/json' } : {}) },
    ...(isPost ? { body: '{}' } : {}),
    signal: leaving.signal,
  });
  // A stream would not end.
  leaving.abort();
  return response.status;
}

describe.each(operations.map((operation) => [`${operation.method} ${operation.path}`, operation] as const))('%s', (_, operation) => {
  test('is allowed for the roles in the document only', async () => {
    const wrong: string[] = [];
    for (const [who, headers] of credentials) {
      const [status, expected] = [await statusOf(operation, headers), expectedStatus(operation, who)];
      const isAsExpected = expected === null ? status !== 401 && status !== 403 : status === expected;
      if (!isAsExpected) wrong.push(`${who}: ${status}, and not ${expected ?? 'let in'}`);
    }
    expect(wrong).toEqual([]);
    if (operation.method === 'GET' && operation.security.length > 0)
      expect([401, 405]).toContain(await statusOf(operation, { authorization: '' }, 'HEAD'));
  });
});

test('every operation requires a role, except the known public ones', () => {
  const open = operations.filter(({ security }) => security.length === 0).map(({ path }) => path);
  expect(open.toSorted()).toEqual(['/health/live', '/health/ready', '/v1/sign-in-options']);
});

test('a route that declares no access cannot be added', async () => {
  const installation = await Installation.open(`${service.folder}/other.db`, {
    joinToken,
    unreachableAfter: 60_000,
    adminKey: null,
    ...defaultSettings(),
  });
  try {
    const app = Fastify();
    addAccessControl(app, installation, 'required', async () => {});
    expect(() => app.get('/v1/forgotten', async () => 'open to all')).toThrow('GET /v1/forgotten declares no access');
    app.get('/v1/remembered', { config: { access: 'public' } }, async () => 'open to all');
    expect((await app.inject('/v1/remembered')).statusCode).toBe(200);
  } finally {
    await installation.close();
  }
});

test('a rejection says what to do', async () => {
  const unauthenticated = await service.get('/v1/devices', { authorization: '' });
  expect(unauthenticated).toMatchObject({ status: 401, body: { type: 'urn:patchbay:problem:unauthenticated' } });
  expect(unauthenticated.body.detail).toContain('Authorization: Bearer KEY');
  expect(unauthenticated.headers.get('www-authenticate')).toBe('Bearer');
  const viewer = credentials.get('viewer') ?? {};
  expect(await service.postRaw('/v1/loads', {}, viewer)).toMatchObject({
    status: 403,
    body: { type: 'urn:patchbay:problem:forbidden', detail: expect.stringContaining('the operation requires operator or admin') },
  });
  const revoked = credentials.get('a revoked key') ?? {};
  expect((await service.get('/v1/devices', revoked)).body.detail).toContain('the API key revoked was revoked');
});

test('a key with the role agent registers only its own host', async () => {
  const registration = { bootId: 'boot-of-the-test', capacity: 1, devices: [] };
  const headers = credentials.get('agent') ?? {};
  expect(await service.post('/agent/v1/hosts', { ...registration, name: 'stranger' }, headers)).toMatchObject({
    status: 403,
    body: { detail: 'the key is valid for the host bound only, not for stranger: use a key for stranger' },
  });
  expect(await service.post('/agent/v1/hosts', { ...registration, name: 'bound' }, headers)).toMatchObject({ status: 201 });
});

describe('without keys', () => {
  const open = new TestService();
  beforeAll(async () => {
    open.keys = 'off';
    await open.start();
  });
  afterAll(() => open.close());

  test('local clients need no key, and hosts still need their tokens', async () => {
    expect((await open.get('/v1/devices')).status).toBe(200);
    expect((await open.post('/v1/keys', { name: 'first', role: 'admin' })).status).toBe(201);
    expect((await open.post('/agent/v1/hosts', { name: 'x', bootId: 'long-enough', capacity: 1, devices: [] })).status).toBe(401);
  });

  test('a foreign host name that resolves to this machine is rejected', async () => {
    const statusFor = async (host: string) => {
      const { promise, resolve, reject } = Promise.withResolvers<number>();
      httpRequest(`${open.url}/v1/devices`, { headers: { host } }, (response) => resolve(response.resume().statusCode ?? 0))
        .on('error', reject)
        .end();
      return promise;
    };
    for (const host of ['localhost:7070', '127.0.0.1', '[::1]:80']) expect(await statusFor(host)).toBe(200);
    for (const host of ['attacker.example', '127.0.0.1.attacker.example', 'localhost.attacker.example:7070'])
      expect(await statusFor(host)).toBe(403);
  });
});
