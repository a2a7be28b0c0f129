// Requests for loads that come at the same time: they are carried out together, and each is answered as if it had come alone.

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
      const made = {
        language: 'wat',
        compiler: '',
        interface: {},
        pushedBy: null,
        envelope: null,
        createdAt: at,
        sourceDigest: '',
        imageBytes: 1,
      };
      await records.builds.create({ id: module, module, version: '1.0.0', ...made, imageDigest: `sha256:${'0'.repeat(64)}` });
    }
  });
});
afterEach(async () => {
  await installation.close();
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

const usual = {
  module: ModuleName.parse('tcp'),
  version: '1.0.0',
  selector: { devices: [one] },
  ...defaultTerms,
} satisfies NewLoadsRequest;

type Asked = Partial<NewLoadsRequest> & { readonly key?: string; readonly answerOf?: () => never };

/** Asks for all at once; answers the loads of each, or the kind of the problem. */
async function ask(asked: readonly Asked[]): Promise<(readonly string[] | string)[]> {
  const settled = await Promise.allSettled(
    asked.map(({ key, answerOf, ...request }, index) => {
      const requester = { actor: 'key_1', requestId: `req_${index}` };
      const repeatable = key === undefined ? {} : { repeatable: repeatableWith(key) };
      const answered = answerOf ?? (({ batch }: { batch: string }) => ({ ...answer, body: batch }));
      return installation.loads.request({ ...usual, ...request }, { ...requester, ...repeatable }, answered);
    }),
  );
  return settled.map((result) => {
    if (result.status === 'fulfilled') return result.value.loads.map(({ id }) => id);
    return result.reason instanceof Problem ? result.reason.kind : String(result.reason);
  });
}

const repeatableWith = (key: string) => ({ actor: 'key_1', sealedBy: null, key, route: 'POST /v1/loads', body: '{}' });
const answer = { status: 202, contentType: 'application/json', location: null, body: '' };
const made = [expect.stringMatching(/^lod_/)];
const orders = () => new OrderQueries(store.reader).allUnsettled('h');
const eventsOf = async (action: string) =>
  (await new AuditQueries(store.reader).list({ action }, { sort: 'time', order: 'asc', limit: 1_000, after: null })).length;

test('they are made at one moment, in their order, and the last of more than a device may have is refused', async () => {
  const answers = await ask([...Array.from({ length: 101 }, () => ({})), { selector: { devices: [two] } }]);
  expect(answers).toEqual([...Array.from({ length: 100 }, () => made), 'busy', made]);
  const loads = (await orders()).map(({ loadId }) => loadId);
  expect(loads).toEqual(answers.filter((ids) => ids !== 'busy').flat());
  const requests = await new Records(store.readConnection).loads.requestsOf(loads.map(String));
  expect(new Set([...requests.values()].map(({ requestedAt }) => requestedAt.getTime())).size).toBe(1);
  expect(await eventsOf('load.requested')).toBe(101);
  expect(await ask([{}, { selector: { devices: [three] } }])).toEqual(['busy', made]);
});

test('each that cannot be carried out is told why, and the others are made', async () => {
  const refused: Asked[] = [
    { module: ModuleName.parse('ip') },
    { version: '2.0.0' },
    { selector: { devices: [one, newIdentifier('device')] } },
    { selector: { labels: { zone: 'south' } } },
  ];
  const all = refused.flatMap((request) => [request, {}]);
  expect(await ask(all)).toEqual(refused.flatMap(() => ['invalid-value', made]));
  expect(await orders()).toHaveLength(refused.length);
  expect(await eventsOf('load.requested')).toBe(refused.length);
});

test('loads that give way to those of one request are those that were asked for before it', async () => {
  const [before = [], superseding = [], after = []] = await ask([{}, { supersede: true }, { selector: { devices: [one, two] } }]);
  const outcome = async (id = '') => (await new Records(store.readConnection).loads.find(id))?.outcome;
  expect([before, superseding, after].map((ids) => ids.length)).toEqual([1, 1, 2]);
  expect(await Promise.all([before[0], superseding[0], after[0]].map(outcome))).toEqual(['superseded', null, null]);
});

test('requests for many devices, by name or by label, are all made', async () => {
  const some = (from: number) => ({ selector: { devices: devices.slice(from, from + 600) } });
  const answers = await ask([some(0), some(300), { selector: { labels: { zone: 'north' } } }, some(600), {}]);
  expect(answers.map((ids) => ids.length)).toEqual([600, 600, 1_500, 600, 1]);
  expect((await orders()).map(({ loadId }) => loadId)).toEqual(answers.flat());
});

test('one that fails for a reason of the service leaves nothing, and the others are made and their answers kept', async () => {
  const answerOf = () => {
    throw new Error('no answer');
  };
  const [first, failed, last] = await ask([{ key: 'a' }, { key: 'b', answerOf }, { key: 'c' }]);
  expect([first, failed, last]).toEqual([made, 'Error: no answer', made]);
  expect(await orders()).toHaveLength(2);
  const kept = await new Records(store.readConnection).idempotentResponses.findMany(['a', 'b', 'c'].map(repeatableWith));
  expect(kept.map(({ key }) => key).toSorted()).toEqual(['a', 'c']);
});

test('one that was answered by another replica meanwhile is answered the same, and a key of another request is refused', async () => {
  const kept = { actor: 'key_1', ...answer, isSealed: false, createdAt: new Date(), route: 'POST /v1/loads' };
  await inTransaction(store, ({ idempotentResponses }) =>
    idempotentResponses.store([
      { ...kept, key: 'a', bodyDigest: digestOf('{}'), body: 'batch_a' },
      { ...kept, key: 'b', bodyDigest: 'another', body: 'batch_b' },
      // Of another client.
      { ...kept, key: 'c', bodyDigest: digestOf('{}'), body: 'batch_c', actor: 'key_2' },
    ]),
  );
  const requestAs = (actor: string, key: string) =>
    installation.loads.request(usual, { actor, requestId: 'r', idempotentRequest: { ...repeatableWith(key), actor } }, ({ batch }) => ({
      ...answer,
      body: batch,
    }));
  const asked = [requestAs('key_1', 'a'), requestAs('key_1', 'b'), requestAs('key_1', 'c'), requestAs('key_2', 'a')];
  const [first, second, ...others] = await Promise.allSettled(asked);
  expect(first).toMatchObject({ reason: { answer: { body: 'batch_a' } } });
  expect(first?.status === 'rejected' && first.reason instanceof AlreadyProcessed).toBe(true);
  expect(second).toMatchObject({ reason: { kind: 'invalid-value' } });
  expect(others).toMatchObject([{ status: 'fulfilled' }, { status: 'fulfilled' }]);
  expect(await orders()).toHaveLength(2);
});

test('what a policy demands of one module is not demanded of another', async () => {
  const policy = {
    id: newIdentifier('signature policy'),
    name: 'of-tcp',
    deviceId: one,
    labels: null,
    publisherKeys: [],
    threshold: 1,
    createdAt: at,
  };
  await inTransaction(store, ({ signaturePolicies }) => signaturePolicies.create({ ...policy, module: 'tcp' }));
  expect(await ask([{}, { module: ModuleName.parse('udp') }, { selector: { devices: [two] } }])).toEqual([made, made, made]);
  const demands = (await orders()).map(({ body }) => Object(body).demands?.map((demand: { name: string }) => demand.name));
  expect(demands).toEqual([['of-tcp'], [], []]);
});
