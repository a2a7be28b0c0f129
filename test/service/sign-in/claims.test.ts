// Tokens whose signature is valid and whose claims are odd: a provider that is careless, or that lets people choose their names.

import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { newIdentifier } from '../../../src/protocol/identifiers.ts';
import { Store } from '../../../src/service/database/store.ts';
import { UserRecords } from '../../../src/service/sign-in/repository.ts';
import { inTransaction } from '../records.ts';
import { bearer, itemsOf, TestService } from '../test-service.ts';

const audience = 'https://patchbay.example.com/api';

/** A provider that signs whatever the test wants. */
class SigningProvider {
  readonly #keys = generateKeyPair('RS256');
  #server: Server | null = null;
  issuer = '';

  async start(): Promise<void> {
    const key = { ...(await exportJWK((await this.#keys).publicKey)), alg: 'RS256', kid: 'one' };
    const server = createServer((request, response) => {
      const { issuer } = this;
      const metadata = {
        issuer,
        authorization_endpoint: `${issuer}authorize`,
        token_endpoint: `${issuer}token`,
        jwks_uri: `${issuer}keys`,
      };
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify(request.url === '/keys' ? { keys: [key] } : metadata));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('the provider does not listen');
    this.#server = server;
    this.issuer = `http://127.0.0.1:${address.port}/`;
  }

  /** Returns a token with these claims instead of the valid ones. */
  async sign(claims: Record<string, unknown>): Promise<string> {
    const exp = Math.floor(Date.now() / 1_000) + 600;
    const all = { iss: this.issuer, aud: audience, sub: 'eve', exp, groups: ['admins'], ...claims };
    return new SignJWT(all).setProtectedHeader({ alg: 'RS256', kid: 'one' }).sign((await this.#keys).privateKey);
  }

  close(): void {
    this.#server?.close();
  }
}

const service = new TestService();
const provider = new SigningProvider();
beforeAll(async () => {
  await provider.start();
  service.provider = {
    issuer: new URL(provider.issuer),
    name: 'Careless SSO',
    clientId: 'patchbay',
    clientSecret: null,
    scopes: 'openid',
    audience,
    roleClaim: 'groups',
    roleRules: [{ role: 'admin', value: 'admins' }],
    deviceScopes: { claim: 'groups', rules: [], unmatched: 'refuse' },
    publicUrl: null,
    sessionDuration: 3_600_000,
  };
  await service.start();
});
afterAll(async () => {
  await service.close();
  provider.close();
});

const current = async (claims: Record<string, unknown>) => service.get('/v1/keys/current', bearer(await provider.sign(claims)));

test.each([
  ['a number', 5],
  ['an object', { id: 'eve' }],
  ['a list', ['eve']],
  ['empty', ''],
  ['null', null],
  ['too long', 'x'.repeat(256)],
  ['with U+0000', 'e\0ve'],
  ['with an unpaired surrogate', 'eve\ud83d'],
])('refuses a token whose subject is %s', async (_, sub) => {
  const { status, body } = await current({ sub });
  expect({ status, body }).toMatchObject({
    status: 401,
    body: { type: 'urn:patchbay:problem:unauthenticated', detail: expect.stringContaining('"sub"') },
  });
});

test('a subject of 255 characters is a user', async () => {
  expect(await current({ sub: '€'.repeat(255) })).toMatchObject({ status: 200 });
});

test.each([
  ['with U+0000', 'Gr\0ace', 'Grace'],
  ['with an unpaired surrogate', 'Grace \udc00', 'Grace \ufffd'],
  ['cut within an emoji', `${'x'.repeat(199)}😀`, 'x'.repeat(199)],
  ['with white space only', ' \n ', null],
  ['an object', { first: 'Grace' }, null],
])('a name that is %s is stored as the databases can, and is not another name the next time', async (title, name, stored) => {
  expect(await current({ sub: title, name })).toMatchObject({ status: 200 });
  // Another replica, or the service after a restart, knows the user only from the database.
  await service.stop();
  await service.start();
  const { body } = await current({ sub: title, name });
  const store = await Store.open(service.database);
  const user = await new UserRecords(store.readConnection).find(String(body.id));
  await store.close();
  expect(user?.name).toBe(stored);
  const actions = itemsOf(await service.get(`/v1/audit?object=${body.id}`)).map(({ action }) => action);
  expect(actions).toEqual(['user.created']);
});

test.each([1e300, 253_402_300_800, 8.64e12 + 1])('a token that expires at %d, beyond the last year, is valid until then', async (exp) => {
  const { status, body } = await current({ exp });
  expect({ status, body }).toMatchObject({ status: 200, body: { expiresAt: '9999-12-31T23:59:59.999Z' } });
});

test('claims that are no text, and a very large claim, give no role', async () => {
  for (const groups of [{ 0: 'admins' }, 5, null, [['admins']], 'ADMINS', 'x '.repeat(3_000), { toString: 'admins' }])
    expect(await current({ groups })).toMatchObject({ status: 403 });
});

/** Records users until there are this many. */
async function fillUsers(count: number): Promise<void> {
  const store = await Store.open(service.database);
  await inTransaction(store, async ({ connection }) => {
    const known = await new UserRecords(connection).count();
    const facts = { issuer: provider.issuer, name: null, email: null, roles: '', scope: null, createdAt: new Date() };
    for (let number = known; number < count; number += 1)
      await new UserRecords(connection).create({ ...facts, id: newIdentifier('user'), subject: `stranger-${number}` });
  });
  await store.close();
}

test('strangers do not lock people with a role out: from 5,000 users on, only these are recorded, up to 10,000', async () => {
  await fillUsers(5_000);
  const stranger = await current({ sub: 'one-too-many', groups: [] });
  expect(stranger).toMatchObject({ status: 409, body: { type: 'urn:patchbay:problem:too-many-users' } });
  expect(await current({ sub: 'a-person' })).toMatchObject({ status: 200 });
  await fillUsers(10_000);
  expect(await current({ sub: 'another-person' })).toMatchObject({ status: 409 });
  expect(await current({ sub: 'a-person' })).toMatchObject({ status: 200 });
});
