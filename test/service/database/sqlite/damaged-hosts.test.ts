// A host with an undecodable row does not block the detection of other unreachable hosts, and is found by its token and name.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { withoutMarks } from '../../../../src/service/database/readable-rows.ts';
import { Store } from '../../../../src/service/database/store.ts';
import { HostQueries } from '../../../../src/service/hosts/queries.ts';
import { inTransaction, Records } from '../../records.ts';

const folder = mkdtempSync(join(tmpdir(), 'patchbay-hosts-'));
const file = join(folder, 'patchbay.db');
const host = { bootId: 'boot', capacity: 1, registeredAt: new Date(0), unreachableSince: null };
let store: Store;

beforeAll(async () => {
  store = await Store.open(file);
  await inTransaction(store, async ({ hosts }) => {
    for (const id of ['damaged', 'whole']) await hosts.save({ ...host, id, name: `host-${id}`, tokenDigest: `token-${id}` });
  });
});
afterAll(async () => {
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Changes a cell of the damaged host, bypassing the service. */
function damage(column: string, value: number | string | null): void {
  const database = new Database(file);
  database.prepare(`UPDATE "Host" SET "${column}" = ? WHERE "id" = 'damaged'`).run(value);
  database.close();
}

test('a heartbeat count that is not a number is read as 0, and increases with the next heartbeat', async () => {
  damage('heartbeatCount', 'garbage');
  const counts = async () => new Map((await new Records(store.readConnection).hosts.heartbeatCounts()).map(({ id, count }) => [id, count]));
  expect(await counts()).toEqual(
    new Map([
      ['damaged', 0],
      ['whole', 1],
    ]),
  );
  await inTransaction(store, ({ hosts }) => hosts.countHeartbeats(['damaged']));
  expect((await counts()).get('damaged')).toBe(1);
});

test.each([2 ** 53, 'garbage'])('a host with unreachableSince = %s keeps working until it registers', async (time) => {
  damage('unreachableSince', time);
  const { hosts } = new Records(store.readConnection);
  expect(await hosts.findByToken('token-damaged')).toEqual({ id: 'damaged', isUnreachable: true, credential: null });
  expect(await hosts.findByName('host-damaged')).toMatchObject([{ id: 'damaged', bootId: 'boot', isUnreachable: true }]);
  expect((await hosts.listAll()).map(({ id }) => id)).toEqual(['whole']);
  await inTransaction(store, (records) =>
    records.hosts.save({ ...host, id: 'damaged', name: 'host-damaged', tokenDigest: 'token-damaged', credential: 'key' }),
  );
  expect(await hosts.findByToken('token-damaged')).toEqual({ id: 'damaged', isUnreachable: false, credential: 'key' });
  // Without a new credential, the host keeps its old one.
  await inTransaction(store, (records) =>
    records.hosts.save({ ...host, id: 'damaged', name: 'host-damaged', tokenDigest: 'token-damaged' }),
  );
  expect(await hosts.findByToken('token-damaged')).toMatchObject({ credential: 'key' });
  damage('credential', null);
  const listed = await new HostQueries(store.reader).list({}, { sort: 'name', order: 'asc', limit: 9, after: null });
  expect(withoutMarks(listed)).toMatchObject([
    { id: 'damaged', devices: 0 },
    { id: 'whole', devices: 0 },
  ]);
});
