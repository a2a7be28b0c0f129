// Idempotent requests: one executes at a time, its response is stored, and failures can be retried.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ModuleName } from '../../../src/protocol/identifiers.ts';
import { Store } from '../../../src/service/database/store.ts';
import { storeResponse } from '../../../src/service/idempotency/idempotency-store.ts';
import { Installation } from '../../../src/service/installation.ts';
import { Problem } from '../../../src/service/problem.ts';
import { isInDatabase, newDatabase } from '../../databases.ts';
import { defaultSettings } from '../../default-settings.ts';
import { inTransaction } from '../records.ts';

const settings = {
  joinToken: 'not used',
  unreachableAfter: 60_000,
  adminKey: null,
  ...defaultSettings(),
};

let folder: string;
let database: string;
let installation: Installation;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'patchbay-answers-'));
  database = await newDatabase(folder);
  installation = await Installation.open(database, settings);
});
afterEach(async () => {
  await installation.close();
  rmSync(folder, { recursive: true, force: true });
});

const request = { actor: 'key_1', sealedBy: null, key: 'k', route: 'POST /v1/things', body: '{"a":1}' };
const response = { status: 201, contentType: 'application/json', location: '/v1/things/1', body: '{"id":1}' };
const kindOf = (attempt: Promise<unknown>) =>
  attempt.then(
    () => 'begun',
    (error) => (error instanceof Problem ? error.kind : error),
  );

test('one of a hundred concurrent requests is executed, and the others wait for its response', async () => {
  const begun = Promise.withResolvers<void>();
  const attempts = Array.from({ length: 100 }, async () => {
    const known = await installation.idempotencyStore.begin(request);
    if (known === null) begun.resolve();
    return known;
  });
  await begun.promise;
  await installation.idempotencyStore.store(request, response);
  const responses = await Promise.all(attempts);
  expect(responses.filter((one) => one === null)).toHaveLength(1);
  for (const one of responses.filter((known) => known !== null)) expect(one).toMatchObject(response);
});

test('if the first request is abandoned, a waiting one is executed', async () => {
  const first = await installation.idempotencyStore.begin(request);
  const others = [installation.idempotencyStore.begin(request), installation.idempotencyStore.begin(request)];
  installation.idempotencyStore.abandon(request);
  expect([first, await Promise.race(others)]).toEqual([null, null]);
  await installation.idempotencyStore.store(request, response);
  const responses = await Promise.all(others);
  expect(responses.filter((one) => one === null)).toHaveLength(1);
  expect(responses.filter((one) => one?.body === response.body)).toHaveLength(1);
});

test('a request above the limit of waiting requests is rejected as busy', async () => {
  await installation.idempotencyStore.begin(request);
  const waiting = Array.from({ length: 1_000 }, () => installation.idempotencyStore.begin(request));
  expect(await kindOf(installation.idempotencyStore.begin(request))).toBe('busy');
  await installation.idempotencyStore.store(request, response);
  expect((await Promise.all(waiting)).every((one) => one?.body === response.body)).toBe(true);
});

test('the same key of another client is a different request', async () => {
  await installation.idempotencyStore.begin(request);
  await installation.idempotencyStore.store(request, response);
  expect(await installation.idempotencyStore.begin({ ...request, actor: 'key_2' })).toBeNull();
});

test('a response with a secret is stored encrypted, and only the client can read it', async () => {
  const sealed = { ...request, sealedBy: 'what only the client has' };
  await installation.idempotencyStore.begin(sealed);
  await installation.idempotencyStore.store(sealed, { ...response, body: 'patchbay_secret' });
  expect(await installation.idempotencyStore.begin(sealed)).toMatchObject({ ...response, body: 'patchbay_secret' });
  await expect(installation.idempotencyStore.begin({ ...sealed, sealedBy: 'another' })).rejects.toThrow();
  await installation.close();
  expect(await isInDatabase(database, sealed.actor)).toBe(true);
  expect(await isInDatabase(database, 'patchbay_secret')).toBe(false);
  installation = await Installation.open(database, settings);
});

test('an executed request gets the same response, even after a restart', async () => {
  expect(await installation.idempotencyStore.begin(request)).toBeNull();
  await installation.idempotencyStore.store(request, response);
  expect(await installation.idempotencyStore.begin(request)).toMatchObject(response);
  await installation.close();
  installation = await Installation.open(database, settings);
  expect(await installation.idempotencyStore.begin(request)).toMatchObject(response);
  expect(await installation.idempotencyStore.begin(request)).toMatchObject(response);
});

test('an abandoned request can be retried', async () => {
  await installation.idempotencyStore.begin(request);
  installation.idempotencyStore.abandon(request);
  expect(await installation.idempotencyStore.begin(request)).toBeNull();
});

test.each([{ body: '{"a":2}' }, { route: 'POST /v1/others' }])('a key is valid for one request only: not with %j', async (change) => {
  await installation.idempotencyStore.begin(request);
  await installation.idempotencyStore.store(request, response);
  expect(await kindOf(installation.idempotencyStore.begin({ ...request, ...change }))).toBe('invalid-value');
  expect(await installation.idempotencyStore.begin(request)).toMatchObject(response);
});

test('the effects and the response of a request are committed together or not at all', async () => {
  const push = (version: string) =>
    installation.builds.push(
      { module: ModuleName.parse('tcp'), version, language: 'wat', source: '(module (func (export "f")))' },
      { actor: 'key_1', requestId: 'req_test', idempotentRequest: request },
      ({ build }) => ({ ...response, body: build.id }),
    );
  await installation.idempotencyStore.begin(request);
  expect(await kindOf(push('not a version'))).toBe('invalid-value');
  installation.idempotencyStore.abandon(request);
  expect(await installation.idempotencyStore.begin(request)).toBeNull();
  const { build } = await push('1.0.0');
  // The service ends before it has responded.
  await installation.close();
  installation = await Installation.open(database, settings);
  expect(await installation.idempotencyStore.begin(request)).toMatchObject({ ...response, body: build.id });
});

test('a rejection is stored even if a response was stored in a transaction that was rolled back', async () => {
  const refused = { ...request };
  await installation.idempotencyStore.begin(refused);
  const store = await Store.open(database);
  const rolledBack = inTransaction(store, async (records) => {
    await storeResponse(records.connection, { actor: 'key_1', requestId: 'req_test', idempotentRequest: refused }, () => response, null);
    throw new Error('rolled back');
  });
  await expect(rolledBack).rejects.toThrow('rolled back');
  await store.close();
  const refusal = { status: 422, contentType: 'application/problem+json', location: null, body: '{}' };
  await installation.idempotencyStore.store(refused, refusal);
  expect(await installation.idempotencyStore.begin(refused)).toMatchObject(refusal);
});
