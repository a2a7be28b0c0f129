// Concurrent requests for loads: they run in one batch, and each gets the response that it would get alone.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { digestOf } from '../../../src/machine/digest.ts';
import { ModuleName, newIdentifier } from '../../../src/protocol/identifiers.ts';
import { AuditQueries } from '../../../src/service/audit/queries.ts';
import { Store } from '../../../src/service/database/store.ts';
import { AlreadyProcessed } from '../../../src/service/idempotency/idempotency-store.ts';
import { Installation } from '../../../src/service/installation.ts';
import type { NewLoadsRequest } from '../../../src/service/loads/loads.ts';
import { OrderQueries } from '../../../src/service/orders/queries.ts';
import { Problem } from '../../../src/service/problem.ts';
import { newDatabase } from '../../databases.ts';
import { defaultSettings } from '../../default-settings.ts';
import { defaultTerms } from '../default-terms.ts';
import { inTransaction, Records } from '../records.ts';

const at = new Date('2026-11-23T09:30:00.000Z');
const devices = Array.from({ length: 1_500 }, () => newIdentifier('device'));
const [one = '', two = '', three = ''] = devices;

let folder: string;
let installation: Installation;
let store: Store;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'patchbay-loads-'));
  const database = await newDatabase(folder);
  installation = await Installation.open(database, {
    joinToken: 'not used',
    unreachableAfter: 60_000,
    adminKey: null,
    ...defaultSettings(),
  });
  store = await Store.open(database);
  await inTransaction(store, async (records) => {
    const host = { id: 'h', name: 'host', bootId: 'boot', capacity: 9_999, registeredAt: at, tokenDigest: null, unreachableSince: null };
    await records.hosts.save(host);
    await records.devices.create(
      devices.map((id) => ({ id, name: id, hostId: 'h', labels: { zone: 'north' }, createdAt: at, ramPages: 16 })),
    );
    for (const module of ['tcp', 'udp']) {
      const oneLoad = {
        language: 'wat',
        compiler: '',
        interface: {},
        pushedBy: null,
        envelope: null,
        hasState: null,
        createdAt: at,
        sourceDigest: '',
        imageBytes: 1,
      };
      await records.builds.create({ id: module, module, version: '1.0.0', ...oneLoad, imageDigest: `sha256:${'0'.repeat(64)}` });
    }
  });
});
afterEach(async () => {
  await installation.close();
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

const defaultRequest = {
  module: ModuleName.parse('tcp'),
  version: '1.0.0',
  selector: { devices: [one] },
  ...defaultTerms,
} satisfies NewLoadsRequest;

type TestRequest = Partial<NewLoadsRequest> & { readonly key?: string; readonly toResponse?: () => never };

/** Sends all requests at once. Returns the loads of each, or the kind of the problem. */
async function send(requests: readonly TestRequest[]): Promise<(readonly string[] | string)[]> {
  const settled = await Promise.allSettled(
    requests.map(({ key, toResponse, ...request }, index) => {
      const requester = { actor: 'key_1', requestId: `req_${index}` };
      const idempotency = key === undefined ? {} : { idempotentRequest: idempotentRequestOf(key) };
      const respond = toResponse ?? (({ batch }: { batch: string }) => ({ ...response, body: batch }));
      return installation.loads.request({ ...defaultRequest, ...request }, { ...requester, ...idempotency }, respond);
    }),
  );
  return settled.map((result) => {
    if (result.status === 'fulfilled') return result.value.loads.map(({ id }) => id);
    return result.reason instanceof Problem ? result.reason.kind : String(result.reason);
  });
}

const idempotentRequestOf = (key: string) => ({ actor: 'key_1', sealedBy: null, key, route: 'POST /v1/loads', body: '{}' });
const response = { status: 202, contentType: 'application/json', location: null, body: '' };
const oneLoad = [expect.stringMatching(/^lod_/)];
const orders = () => new OrderQueries(store.reader).allUnsettled('h');
const eventsOf = async (action: string) =>
  (await new AuditQueries(store.reader).list({ action }, { sort: 'time', order: 'asc', limit: 1_000, after: null })).length;

test('creates the loads of concurrent requests at one time and in order, and rejects those above the limit per device', async () => {
  const results = await send([...Array.from({ length: 101 }, () => ({})), { selector: { devices: [two] } }]);
  expect(results).toEqual([...Array.from({ length: 100 }, () => oneLoad), 'busy', oneLoad]);
  const loads = (await orders()).map(({ loadId }) => loadId);
  expect(loads).toEqual(results.filter((ids) => ids !== 'busy').flat());
  const requests = await new Records(store.readConnection).loads.requestsOf(loads.map(String));
  expect(new Set([...requests.values()].map(({ requestedAt }) => requestedAt.getTime())).size).toBe(1);
  expect(await eventsOf('load.requested')).toBe(101);
  expect(await send([{}, { selector: { devices: [three] } }])).toEqual(['busy', oneLoad]);
});

test('rejects each invalid request with its reason, and creates the loads of the others', async () => {
  const refused: TestRequest[] = [
    { module: ModuleName.parse('ip') },
    { version: '2.0.0' },
    { selector: { devices: [one, newIdentifier('device')] } },
    { selector: { labels: { zone: 'south' } } },
  ];
  const all = refused.flatMap((request) => [request, {}]);
  expect(await send(all)).toEqual(refused.flatMap(() => ['invalid-value', oneLoad]));
  expect(await orders()).toHaveLength(refused.length);
  expect(await eventsOf('load.requested')).toBe(refused.length);
});

test('supersedes only the loads of earlier requests', async () => {
  const [before = [], superseding = [], after = []] = await send([{}, { supersede: true }, { selector: { devices: [one, two] } }]);
  const outcome = async (id = '') => (await new Records(store.readConnection).loads.find(id))?.outcome;
  expect([before, superseding, after].map((ids) => ids.length)).toEqual([1, 1, 2]);
  expect(await Promise.all([before[0], superseding[0], after[0]].map(outcome))).toEqual(['superseded', null, null]);
});

test('creates the loads of large requests, by identifier and by label', async () => {
  const some = (from: number) => ({ selector: { devices: devices.slice(from, from + 600) } });
  const results = await send([some(0), some(300), { selector: { labels: { zone: 'north' } } }, some(600), {}]);
  expect(results.map((ids) => ids.length)).toEqual([600, 600, 1_500, 600, 1]);
  expect((await orders()).map(({ loadId }) => loadId)).toEqual(results.flat());
});

test('a request with an internal error leaves nothing, and the others succeed and store their responses', async () => {
  const toResponse = () => {
    throw new Error('no response');
  };
  const [first, failed, last] = await send([{ key: 'a' }, { key: 'b', toResponse }, { key: 'c' }]);
  expect([first, failed, last]).toEqual([oneLoad, 'Error: no response', oneLoad]);
  expect(await orders()).toHaveLength(2);
  const kept = await new Records(store.readConnection).idempotentResponses.findMany(['a', 'b', 'c'].map(idempotentRequestOf));
  expect(kept.map(({ key }) => key).toSorted()).toEqual(['a', 'c']);
});

test('a request that another replica has processed gets the same response, and a reused key is rejected', async () => {
  const kept = { actor: 'key_1', ...response, isSealed: false, createdAt: new Date(), route: 'POST /v1/loads' };
  await inTransaction(store, ({ idempotentResponses }) =>
    idempotentResponses.store([
      { ...kept, key: 'a', bodyDigest: digestOf('{}'), body: 'batch_a' },
      { ...kept, key: 'b', bodyDigest: 'another', body: 'batch_b' },
      // From another client.
      { ...kept, key: 'c', bodyDigest: digestOf('{}'), body: 'batch_c', actor: 'key_2' },
    ]),
  );
  const requestAs = (actor: string, key: string) =>
    installation.loads.request(
      defaultRequest,
      { actor, requestId: 'r', idempotentRequest: { ...idempotentRequestOf(key), actor } },
      ({ batch }) => ({
        ...response,
        body: batch,
      }),
    );
  const requests = [requestAs('key_1', 'a'), requestAs('key_1', 'b'), requestAs('key_1', 'c'), requestAs('key_2', 'a')];
  const [first, second, ...others] = await Promise.allSettled(requests);
  expect(first).toMatchObject({ reason: { response: { body: 'batch_a' } } });
  expect(first?.status === 'rejected' && first.reason instanceof AlreadyProcessed).toBe(true);
  expect(second).toMatchObject({ reason: { kind: 'invalid-value' } });
  expect(others).toMatchObject([{ status: 'fulfilled' }, { status: 'fulfilled' }]);
  expect(await orders()).toHaveLength(2);
});

test('a signature policy for one module does not apply to another', async () => {
  const policy = {
    id: newIdentifier('signature policy'),
    name: 'of-tcp',
    deviceId: one,
    labels: null,
    selector: null,
    groupId: null,
    publisherKeys: [],
    threshold: 1,
    createdAt: at,
  };
  await inTransaction(store, ({ signaturePolicies }) => signaturePolicies.create({ ...policy, module: 'tcp' }));
  expect(await send([{}, { module: ModuleName.parse('udp') }, { selector: { devices: [two] } }])).toEqual([oneLoad, oneLoad, oneLoad]);
  const demands = (await orders()).map(({ body }) => Object(body).demands?.map((demand: { name: string }) => demand.name));
  expect(demands).toEqual([['of-tcp'], [], []]);
});
