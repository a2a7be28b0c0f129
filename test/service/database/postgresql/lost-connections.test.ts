// Silently lost PostgreSQL connections: they block neither the service nor other replicas forever.

import { once } from 'node:events';
import { createServer } from 'node:net';
import { expect, onTestFinished, test, vi } from 'vitest';
import { AuditRecords } from '../../../../src/service/audit-events/repository.ts';
import { anyChange, type ChangeNotification } from '../../../../src/service/database/change-notification.ts';
import { connectionOptions } from '../../../../src/service/database/postgresql/connection-options.ts';
import { Store } from '../../../../src/service/database/store.ts';
import { findUnavailability } from '../../../../src/service/database/unavailable.ts';
import { newDatabase } from '../../../databases.ts';
import { databaseNetwork, FaultProxy } from '../../../system/chaos/proxy.ts';
import { Random } from '../../../system/chaos/random.ts';
import { inTransaction } from '../../records.ts';
import { event, eventsIn } from '../events.ts';

const patience = { timeout: 60_000 } as const;

test('a replica that loses its connection during a write transaction releases the write lock, rejects the transaction and recovers', {
  timeout: 120_000,
}, async () => {
  const database = new URL(await newDatabase(''));
  const proxy = new FaultProxy([Number(database.port)], new Random(1), databaseNetwork);
  await proxy.listen();
  const other = await Store.open(database.href);
  database.port = String(proxy.port);
  const lost = await Store.open(database.href);
  onTestFinished(async () => {
    await lost.close();
    await other.close();
    await proxy.close();
  });
  const heard: ChangeNotification[] = [];
  lost.onChange((news) => heard.push(news));

  const begun = Promise.withResolvers<void>();
  const isLost = Promise.withResolvers<void>();
  const turn = inTransaction(lost, async (records) => {
    await records.audit.append([event('a')]);
    begun.resolve();
    await isLost.promise;
    await records.audit.append([event('b')]);
  });
  await begun.promise;
  proxy.lose();
  isLost.resolve();
  const [, failed] = await Promise.all([
    inTransaction(other, (records) => records.audit.append([event('c')])),
    turn.then(
      () => null,
      (error: unknown) => error,
    ),
  ]);
  expect(findUnavailability(failed)).toMatchObject({ isTransient: true });
  await vi.waitUntil(() => heard.length > 0, patience);
  expect(heard[0]).toEqual(anyChange);
  await inTransaction(lost, (records) => records.audit.append([event('d')]));
  expect(await eventsIn(lost)).toMatchObject([{ object: 'c' }, { object: 'd' }]);
});

test('losing a connection that was ended emits no unhandled error', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  onTestFinished(() => void server.close());
  await once(server, 'listening');
  const address = server.address();
  const socket = connectionOptions('postgresql://nobody@127.0.0.1/none').stream();
  socket.connect(typeof address === 'object' && address !== null ? address.port : 0, '127.0.0.1');
  await once(socket, 'connect');
  const closed = once(socket, 'close');
  // An emitted error would be thrown, because the socket has no listener.
  socket.destroy(new Error('lost'));
  await expect(closed).resolves.toBeDefined();
});

test('while the database is unreachable, reads, lists and writes fail with that reason', async () => {
  const database = new URL(await newDatabase(''));
  const proxy = new FaultProxy([Number(database.port)], new Random(1), databaseNetwork);
  await proxy.listen();
  database.port = String(proxy.port);
  const store = await Store.open(database.href);
  onTestFinished(() => store.close());
  expect(await eventsIn(store)).toEqual([]);
  await proxy.close();
  const failures = [
    () => eventsIn(store),
    () => new AuditRecords(store.readConnection).head(),
    () => inTransaction(store, (records) => records.audit.append([event('a')])),
  ].map((attempt) => attempt().catch((error: unknown) => error));
  const reasons = (await Promise.all(failures)).map(findUnavailability);
  expect(reasons).toEqual(failures.map(() => expect.objectContaining({ isTransient: true })));
});
