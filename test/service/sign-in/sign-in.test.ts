// Signing in with a real OpenID Connect provider: sessions of the dashboard, and tokens for the API.

import { generateKeyPair, type JWTPayload, SignJWT } from 'jose';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { parseLabelSelector } from '../../../src/protocol/label-selector.ts';
import { isInDatabase } from '../../databases.ts';
import { bearer, itemsOf, TestService, until, workModule } from '../test-service.ts';
import { Browser } from './browser.ts';
import { audience, clientSecret, TestProvider } from './test-provider.ts';

let service: TestService;
let provider: TestProvider;
let browser: Browser;

const problem = (status: number, type: string) => ({ status, body: { type: `urn:patchbay:problem:${type}` } });

beforeEach(async () => {
  service = await new TestService().start();
  provider = await TestProvider.start(`${service.url}/sign-in/callback`);
  await restartWith({});
  browser = new Browser();
  provider.people.set('grace', {
    name: 'Grace Hopper',
    email: 'grace@example.com',
    email_verified: true,
    groups: ['engineers', 'on-call'],
  });
  provider.people.set('ada', { name: 'Ada Lovelace', groups: ['admins'] });
  provider.people.set('mallory', { name: 'Mallory', groups: [] });
});
afterEach(async () => {
  await service.close();
  await provider.close();
});

async function restartWith(changes: Partial<NonNullable<TestService['provider']>>): Promise<void> {
  await service.stop();
  service.provider = provider.settings(changes);
  await service.start();
}

/** Signs a person in; returns the page of the dashboard that the browser ends on. */
async function signIn(person: string | null, path = '/sign-in'): Promise<string> {
  provider.next = person;
  return browser.follow(`${service.url}${path}`);
}

const session = () => browser.cookies(new URL(service.url).origin).get('patchbay-session');
const ask = async (path: string, init: { method?: string; headers?: Record<string, string> } = {}) => {
  const response = await browser.open(`${service.url}${path}`, init);
  const text = await response.text();
  return { status: response.status, body: text === '' ? null : JSON.parse(text) };
};

test('a person signs in, uses the API with the roles of the groups, and the audit trail names the person', async () => {
  expect((await ask('/v1/sign-in-options')).body).toEqual({ provider: { name: 'Example SSO', path: '/sign-in' } });
  expect(await signIn('grace', '/sign-in?return=/devices')).toBe(`${service.url}/devices`);
  const current = await ask('/v1/keys/current');
  expect(current).toMatchObject({
    status: 200,
    body: { name: 'Grace Hopper', role: 'operator', grantedRoles: ['viewer', 'operator', 'publisher'], expiresAt: expect.any(String) },
  });
  const user = current.body.id;
  expect((await ask(`/v1/users/${user}`)).body).toMatchObject({
    name: 'Grace Hopper',
    email: 'grace@example.com',
    subject: 'grace',
    issuer: provider.issuer.href,
  });
  expect(await ask('/v1/keys')).toMatchObject(problem(403, 'forbidden'));
  expect((await ask('/v1/loads', { method: 'POST' })).status).toBe(422);
  const events = itemsOf(await service.get(`/v1/audit?actor=${user}`));
  expect(events.map(({ action }) => action).toSorted()).toEqual(['user.created', 'user.denied', 'user.signed-in']);
  expect(events.find(({ action }) => action === 'user.signed-in')).toMatchObject({
    object: user,
    detail: { name: 'Grace Hopper', email: 'grace@example.com', subject: 'grace', roles: ['operator', 'publisher'] },
  });
});

test('scripts and other sites cannot use the session, and the database does not contain its secret', async () => {
  provider.next = 'grace';
  const pages = [await browser.open(`${service.url}/sign-in`)];
  for (let location = pages[0]?.headers.get('location'); location; ) {
    const page = await browser.open(new URL(location, pages.at(-1)?.url).href);
    pages.push(page);
    location = page.headers.get('location');
  }
  const lines = pages.flatMap((page) => page.headers.getSetCookie()).filter((line) => line.startsWith('patchbay-session='));
  expect(lines).toEqual([expect.stringMatching(/HttpOnly.*SameSite=Strict/)]);
  expect((await ask('/v1/devices', { headers: { 'sec-fetch-site': 'same-origin' } })).status).toBe(200);
  for (const headers of [{ 'sec-fetch-site': 'cross-site' }, { 'sec-fetch-site': 'same-site' }, { origin: 'https://evil.example.com' }])
    expect(await ask('/v1/devices', { headers })).toMatchObject(problem(403, 'cross-origin'));
  const secret = session()?.value ?? '';
  expect(secret).toMatch(/^ses_[0-9a-f]{32}_[\w-]{43}$/);
  expect(await ask('/v1/devices', { headers: bearer(secret) })).toMatchObject(problem(401, 'unauthenticated'));
  await service.stop();
  expect(await isInDatabase(service.database, secret.slice(0, 36))).toBe(true);
  expect(await isInDatabase(service.database, secret.slice(-43))).toBe(false);
  await service.start();
  expect((await ask('/v1/keys/current')).status).toBe(200);
});

test('a session ends when the person signs out, an administrator signs the person out, or it expires', async () => {
  await signIn('grace');
  expect((await ask('/v1/sessions/current', { method: 'DELETE' })).status).toBe(204);
  expect(session()).toBeUndefined();
  expect(await ask('/v1/devices')).toMatchObject(problem(401, 'unauthenticated'));
  await signIn('grace');
  const { id } = (await ask('/v1/keys/current')).body;
  const events = await browser.open(`${service.url}/v1/events?types=load`);
  expect((await service.post(`/v1/users/${id}/sign-out`, undefined)).body).toEqual({ sessions: 1 });
  expect(await ask('/v1/devices')).toMatchObject(problem(401, 'unauthenticated'));
  // The stream of the session ends too.
  await events.text();
  expect((await service.post(`/v1/users/${id}/sign-out`, undefined)).body).toEqual({ sessions: 0 });
  await restartWith({ sessionDuration: 1 });
  await signIn('grace');
  await until('the session has expired', async () => (await ask('/v1/devices')).status === 401);
});

test('a person has at most 20 sessions; the oldest ends', async () => {
  const browsers: Browser[] = [];
  for (let count = 0; count < 21; count += 1) {
    browser = new Browser();
    browsers.push(browser);
    await signIn('grace');
  }
  const statuses: number[] = [];
  for (const one of browsers) {
    browser = one;
    statuses.push((await ask('/v1/devices')).status);
  }
  expect(statuses).toEqual([401, ...Array<number>(20).fill(200)]);
});

test('someone without a role, who declines, or who returns with another state is not signed in, and learns why', async () => {
  expect(await signIn('mallory')).toBe(`${service.url}/?sign-in=no-role`);
  const [refused] = itemsOf(await service.get('/v1/audit?action=user.refused'));
  expect(refused).toMatchObject({ outcome: 'refused', detail: { name: 'Mallory', subject: 'mallory' } });
  browser = new Browser();
  expect(await signIn(null)).toBe(`${service.url}/?sign-in=failed`);
  expect(await browser.follow(`${service.url}/sign-in/callback?code=x&state=y`)).toBe(`${service.url}/?sign-in=expired`);
  provider.next = 'grace';
  const page = (await browser.open(`${service.url}/sign-in`)).headers.get('location') ?? '';
  const forged = new URL(page);
  forged.searchParams.set('state', 'chosen-by-another');
  expect(await browser.follow(forged.href)).toBe(`${service.url}/?sign-in=failed`);
  expect(session()).toBeUndefined();
});

test.each(['//evil.example.com', 'https://evil.example.com', '/\\evil.example.com', '/a\nb'])(
  'never leads to another site: %j',
  async (path) => {
    expect(await signIn('grace', `/sign-in?return=${encodeURIComponent(path)}`)).toBe(`${service.url}/`);
  },
);

test.each(['//evil.example.com', 'https://evil.example.com', '/a\nb', '/ü'])(
  'a forged cookie never leads to another site: %j',
  async (path) => {
    provider.next = 'grace';
    const page = (await browser.open(`${service.url}/sign-in`)).headers.get('location') ?? '';
    const jar = browser.cookies(new URL(service.url).origin);
    const pending = JSON.parse(Buffer.from(jar.get('patchbay-sign-in')?.value ?? '', 'base64url').toString());
    const value = Buffer.from(JSON.stringify({ ...pending, return: path })).toString('base64url');
    browser.set(service.url, 'patchbay-sign-in', { value, path: '/sign-in' });
    expect(await browser.follow(page)).toBe(`${service.url}/`);
  },
);

test('a public client signs in without a secret', async () => {
  await restartWith({ clientId: 'public', clientSecret: null });
  expect(await signIn('ada')).toBe(`${service.url}/`);
  expect((await ask('/v1/keys/current')).body).toMatchObject({ role: 'admin' });
});

test('without the provider, sign-in says so and API keys work; when it returns, sign-in works', async () => {
  const { port } = provider.issuer;
  await provider.close();
  await restartWith({});
  expect(await signIn('grace')).toBe(`${service.url}/?sign-in=unavailable`);
  expect((await service.get('/v1/devices')).status).toBe(200);
  expect(await service.get('/v1/devices', bearer('eyJhbGciOiJSUzI1NiJ9.e30.x'))).toMatchObject(problem(503, 'provider-unavailable'));
  provider = await TestProvider.start(`${service.url}/sign-in/callback`, Number(port));
  provider.people.set('grace', { groups: ['on-call'] });
  await until('sign-in works', async () => (await signIn('grace')) === `${service.url}/`);
});

test('a service without a provider says so', async () => {
  await service.stop();
  service.provider = null;
  await service.start();
  expect((await ask('/v1/sign-in-options')).body).toEqual({ provider: null });
  expect(await ask('/sign-in')).toMatchObject(problem(404, 'not-found'));
  expect(await service.get('/v1/devices', bearer('eyJhbGciOiJSUzI1NiJ9.e30.x'))).toMatchObject(problem(401, 'unauthenticated'));
});

test('a pipeline uses the API with a token of the provider; the audit trail names it', async () => {
  await restartWith({ roleClaim: 'scope', roleRules: [{ role: 'publisher', value: 'deploy' }] });
  const token = await provider.token('deploy');
  const current = await service.get('/v1/keys/current', bearer(token));
  expect(current).toMatchObject({ status: 200, body: { role: 'publisher', grantedRoles: ['viewer', 'publisher'] } });
  const user = String(current.body.id);
  const [created] = itemsOf(await service.get('/v1/audit?action=user.created'));
  expect(created).toMatchObject({ actor: user, detail: { subject: 'pipeline', issuer: provider.issuer.href } });
  expect(await service.post('/v1/loads', { module: 'tcp', version: '1.0.0', devices: ['none'] }, bearer(token))).toMatchObject(
    problem(403, 'forbidden'),
  );
  const without = await provider.token('read');
  expect(await service.get('/v1/devices', bearer(without))).toMatchObject(problem(403, 'forbidden'));
  // The same user, also after a restart and with a new token.
  await service.stop();
  await service.start();
  expect((await service.get('/v1/keys/current', bearer(await provider.token('deploy')))).body.id).toBe(user);
  expect(itemsOf(await service.get('/v1/users'))).toHaveLength(1);
});

test('refuses tokens for another audience, of another issuer or key, with another algorithm, expired, or altered', async () => {
  const { privateKey } = await generateKeyPair('RS256');
  const sign = (claims: JWTPayload, key: Parameters<SignJWT['sign']>[0], alg: string) =>
    new SignJWT(claims).setProtectedHeader({ alg }).sign(key);
  const now = Math.floor(Date.now() / 1_000);
  const claims = { iss: provider.issuer.href, aud: audience, sub: 'eve', exp: now + 600, iat: now };
  const good = await provider.token('deploy');
  const [header = '', body = '', signature = ''] = good.split('.');
  const altered = Buffer.from(JSON.stringify({ ...JSON.parse(Buffer.from(body, 'base64url').toString()), sub: 'eve' })).toString(
    'base64url',
  );
  const none = Buffer.from(JSON.stringify({ alg: 'none' })).toString('base64url');
  const tokens = [
    await provider.token('deploy', 'https://another.example.com/api'),
    await sign(claims, privateKey, 'RS256'),
    await sign(claims, new TextEncoder().encode(clientSecret), 'HS256'),
    `${header}.${altered}.${signature}`,
    `${none}.${body}.`,
    `${header}.${body}.`,
  ];
  for (const token of tokens) expect(await service.get('/v1/devices', bearer(token))).toMatchObject(problem(401, 'unauthenticated'));
  expect(await service.get('/v1/users')).toMatchObject({ body: { items: [] } });
  await restartWith({ audience: null });
  expect(await service.get('/v1/devices', bearer(good))).toMatchObject(problem(401, 'unauthenticated'));
});

const zoneRules = {
  claim: 'groups',
  rules: [
    { value: 'north-operators', selector: parseLabelSelector('zone=north') },
    { value: 'south-operators', selector: parseLabelSelector('zone=south') },
  ],
  unmatched: 'refuse',
} as const;

/** Starts a device in each zone. Returns their identifiers. */
async function startZones() {
  for (const zone of ['north', 'south', 'west']) service.startHost(zone, 1, { zone });
  const [north = '', south = '', west = ''] = await service.connectedDevices(3);
  return { north, south, west };
}

const devicesOf = async () => (await ask('/v1/devices?sort=name')).body.items.map(({ id }: { id: string }) => id);
const send = (path: string, body: object) =>
  browser.open(`${service.url}${path}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });

test('a person uses the devices of the rules that match, in the API and in the audit trail; other devices do not exist', async () => {
  provider.people.set('grace', { name: 'Grace Hopper', groups: ['on-call', 'north-operators'] });
  await restartWith({ deviceScopes: zoneRules });
  const { north, south, west } = await startZones();
  await service.push('tcp', '1.0.0', workModule(1));
  expect(await signIn('grace')).toBe(`${service.url}/`);
  const current = (await ask('/v1/keys/current')).body;
  expect(current).toMatchObject({ role: 'operator', scope: 'zone=north' });
  expect(await devicesOf()).toEqual([north]);
  expect(await ask(`/v1/devices/${south}`)).toMatchObject(problem(404, 'not-found'));
  expect((await send('/v1/loads', { module: 'tcp', version: '1.0.0', devices: [south] })).status).toBe(422);
  expect((await send('/v1/loads', { module: 'tcp', version: '1.0.0', selector: 'zone' })).status).toBe(202);
  expect(itemsOf(await service.get('/v1/loads')).map(({ device }) => device)).toEqual([north]);
  expect(await ask('/v1/health')).toMatchObject({ status: 403, body: { detail: expect.stringContaining('your scope is zone=north') } });
  const [signedIn] = itemsOf(await service.get('/v1/audit?action=user.signed-in'));
  expect(signedIn?.detail).toMatchObject({ roles: ['operator'], scope: 'zone=north' });
  const [denied] = itemsOf(await service.get('/v1/audit?action=user.denied'));
  expect(denied).toMatchObject({ object: current.id, detail: { operation: 'GET /v1/health', scope: 'zone=north' } });
  // Of a second sign-in, with another group besides; the first session keeps its scope.
  provider.people.set('grace', { name: 'Grace Hopper', groups: ['on-call', 'north-operators', 'south-operators'] });
  const first = browser;
  browser = new Browser();
  await signIn('grace');
  expect((await ask('/v1/keys/current')).body.scope).toBe('(zone=north) or (zone=south)');
  expect(await devicesOf()).toEqual([north, south]);
  expect(await ask(`/v1/devices/${west}`)).toMatchObject(problem(404, 'not-found'));
  const users = itemsOf(await service.get('/v1/users'));
  expect(users).toMatchObject([{ name: 'Grace Hopper', roles: ['operator'], scope: '(zone=north) or (zone=south)' }]);
  expect(itemsOf(await service.get('/v1/audit?action=user.renamed'))).toEqual([]);
  browser = first;
  await service.stop();
  await service.start();
  expect(await devicesOf()).toEqual([north]);
});

test('someone with a role and no devices is refused, unless the settings say otherwise; administrators have all devices', async () => {
  await restartWith({ deviceScopes: zoneRules });
  expect(await signIn('grace')).toBe(`${service.url}/?sign-in=no-devices`);
  expect(session()).toBeUndefined();
  const [refused] = itemsOf(await service.get('/v1/audit?action=user.refused'));
  expect(refused).toMatchObject({ outcome: 'refused', detail: { subject: 'grace' } });
  expect(itemsOf(await service.get('/v1/users'))).toMatchObject([{ roles: [], scope: null }]);
  provider.people.set('ada', { name: 'Ada Lovelace', groups: ['admins', 'north-operators'] });
  browser = new Browser();
  await signIn('ada');
  expect((await ask('/v1/keys/current')).body).toMatchObject({ role: 'admin', scope: null });
  await restartWith({ deviceScopes: { ...zoneRules, unmatched: 'all-devices' } });
  browser = new Browser();
  await signIn('grace');
  expect((await ask('/v1/keys/current')).body).toMatchObject({ role: 'operator', scope: null });
});

test('a token has the scope of its claims', async () => {
  const rules = [{ value: 'deploy', selector: parseLabelSelector('zone=north') }];
  await restartWith({
    roleClaim: 'scope',
    roleRules: [{ role: 'publisher', value: '*' }],
    deviceScopes: { claim: 'scope', rules, unmatched: 'refuse' },
  });
  const { north } = await startZones();
  const headers = bearer(await provider.token('deploy'));
  expect((await service.get('/v1/keys/current', headers)).body).toMatchObject({ role: 'publisher', scope: 'zone=north' });
  expect(itemsOf(await service.get('/v1/devices', headers)).map(({ id }) => id)).toEqual([north]);
  expect(await service.get('/v1/audit', headers)).toMatchObject(problem(403, 'out-of-scope'));
  const without = bearer(await provider.token('read'));
  expect(await service.get('/v1/devices', without)).toMatchObject({
    ...problem(403, 'out-of-scope'),
    body: { detail: expect.stringContaining('no rule gives') },
  });
});
