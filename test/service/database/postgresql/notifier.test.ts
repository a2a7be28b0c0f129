// Notifications between replicas: each is notified of changes by the others, and knows when it may have missed some.

import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { AuditQueries } from '../../../../src/service/audit/queries.ts';
import {
  anyChange,
  type ChangeNotification,
  decodeNotification,
  encodeNotification,
} from '../../../../src/service/database/change-notification.ts';
import { maxNotificationBytes } from '../../../../src/service/database/engine.ts';
import { Store } from '../../../../src/service/database/store.ts';
import { endConnections, newDatabase, runSql } from '../../../databases.ts';
import { buildKind, inTransaction } from '../../records.ts';
import { at, event } from '../events.ts';

/** A store, and the notifications that it has received. */
type Replica = { readonly store: Store; readonly heard: ChangeNotification[] };

let database: string;
let first: Replica;
let second: Replica;

async function open(): Promise<Replica> {
  const [store, heard]: [Store, ChangeNotification[]] = [await Store.open(database), []];
  store.onChange((news) => heard.push(news));
  return { store, heard };
}
beforeEach(async () => {
  database = await newDatabase('');
  [first, second] = [await open(), await open()];
});
afterEach(async () => {
  await first.store.close();
  await second.store.close();
});

const append = ({ store }: Replica, object: string) => inTransaction(store, (records) => records.audit.append([event(object)]));
const noNews: ChangeNotification = { events: false, loads: false, hosts: [], endedStreams: [] };
const ofEvents: ChangeNotification = { ...noNews, events: true };

test('both replicas are notified once of events, orders, ended loads and closed streams', async () => {
  await inTransaction(first.store, async ({ hosts, devices, loads, orders }) => {
    await hosts.save({ id: 'h', name: 'host', bootId: 'b', capacity: 1, registeredAt: at, tokenDigest: null, unreachableSince: null });
    await devices.create([{ id: 'd', name: 'device', hostId: 'h', ramPages: 16, createdAt: at, labels: {} }]);
    const policy = {
      strategy: 'inject',
      invalidation: 'nx',
      drainMilliseconds: null,
      versionPolicy: 'newer',
      similarityPolicy: 'warn',
      linkPolicy: 'off',
    };
    const made = {
      ...policy,
      ...buildKind,
      downgradeReason: null,
      requestedAt: at,
      requestedBy: null,
      deadlineAt: null,
      heldSince: null,
      heldUntil: null,
      windowOverride: null,
      rollback: false,
      rolloutId: null,
    };
    await loads.create([{ id: 'l', batchId: 'b', deviceId: 'd', buildId: 'x', module: 'tcp', version: '1.0.0', state: 'queued', ...made }]);
    await orders.create([{ id: 'o', hostId: 'h', deviceId: 'd', kind: 'load', body: {}, loadId: 'l', createdAt: at }]);
  });
  await append(first, 'a');
  await inTransaction(first.store, ({ loads }) => loads.end(['l'], { outcome: 'failed', reason: null, completedAt: at }));
  await inTransaction(first.store, async ({ hosts }) => hosts.endStreams(['h', 'i']));
  // A transaction without effects sends no notification.
  await inTransaction(first.store, ({ hosts }) => hosts.setUnreachable(['h'], at));
  await append(first, 'b');
  const notified = [{ ...noNews, hosts: ['h'] }, ofEvents, { ...noNews, loads: true }, { ...noNews, endedStreams: ['h', 'i'] }, ofEvents];
  await vi.waitUntil(() => second.heard.length >= notified.length);
  expect(second.heard).toEqual(notified);
  expect(first.heard.filter((news) => encodeNotification(news) !== null)).toEqual(notified);
});

test('a replica does not receive its own notifications', async () => {
  await append(first, 'a');
  // Notifications arrive in the order in which they were sent.
  await append(second, 'b');
  await vi.waitUntil(() => first.heard.length >= 2 && second.heard.length >= 2);
  expect([first.heard, second.heard]).toEqual([
    [ofEvents, ofEvents],
    [ofEvents, ofEvents],
  ]);
});

test('a rollback sends no notification, and notified data is readable', async () => {
  await expect(
    inTransaction(first.store, async (records) => {
      await records.audit.append([event('a')]);
      throw new Error('halfway');
    }),
  ).rejects.toThrow('halfway');
  let seen: Promise<unknown> | null = null;
  second.store.onChange((news) => {
    second.heard.push(news);
    seen = new AuditQueries(second.store.reader).list({}, { sort: 'time', order: 'asc', limit: 10, after: null });
  });
  await append(first, 'b');
  await vi.waitUntil(() => second.heard.length > 0);
  expect(second.heard).toEqual([ofEvents]);
  expect(await seen).toMatchObject([{ object: 'b' }]);
});

test('a lost connection causes a notification of any change; later notifications arrive', async () => {
  expect(await endConnections(database)).toBeGreaterThan(0);
  await vi.waitUntil(() => first.heard.length > 0 && second.heard.length > 0, { timeout: 30_000 });
  expect([first.heard, second.heard]).toEqual([[anyChange], [anyChange]]);
  await append(first, 'a');
  await vi.waitUntil(() => second.heard.length > 1);
  expect(second.heard.slice(1)).toEqual([ofEvents]);
});

test('an unknown notification counts as any change', async () => {
  await runSql(database, `NOTIFY patchbay, 'stranger {"weather":"fine"}'`);
  await runSql(database, `NOTIFY patchbay, 'nonsense'`);
  await vi.waitUntil(() => second.heard.length >= 2);
  expect(second.heard).toEqual([anyChange, anyChange]);
});

test('too many hosts for one notification are sent as all', async () => {
  const ids = Array.from({ length: 1_000 }, () => `hst_${randomUUID().replaceAll('-', '')}`);
  await inTransaction(first.store, ({ hosts }) => hosts.endStreams(ids));
  await vi.waitUntil(() => second.heard.length > 0);
  expect(second.heard).toEqual([{ ...noNews, hosts: 'all', endedStreams: 'all' }]);
});

test('an encoded notification is complete or says all, within the size limit', () => {
  const ids = fc.oneof(fc.array(fc.stringMatching(/^[a-z]{3}_[0-9a-f]{32}$/), { maxLength: 600 }), fc.constant('all' as const));
  const anyOfIt = fc.record({ events: fc.boolean(), loads: fc.boolean(), hosts: ids, endedStreams: ids });
  fc.assert(
    fc.property(anyOfIt, (news) => {
      const text = encodeNotification(news);
      const isShort = JSON.stringify(news).length <= maxNotificationBytes;
      const all: ChangeNotification = { ...news, hosts: 'all', endedStreams: news.endedStreams.length === 0 ? [] : 'all' };
      expect(text === null ? noNews : decodeNotification(text)).toEqual(isShort ? news : all);
      expect(text?.length ?? 0).toBeLessThanOrEqual(maxNotificationBytes);
    }),
  );
});
