// Acknowledged transactions are on disk, whatever the database defaults are.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Store } from '../../../src/service/database/store.ts';
import { alterPostgresql, kind, newDatabase, runSql } from '../../databases.ts';

test('acknowledged transactions are synced to disk', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'patchbay-store-'));
  const database = await newDatabase(folder);
  if (kind === 'postgresql') await alterPostgresql(database, 'SET synchronous_commit = off');
  const store = await Store.open(database);
  expect(await store.health()).toEqual({ writeFault: null, isDurable: true, migrationFaults: [] });
  await store.close();
  if (kind === 'sqlite') expect(await runSql(database, 'PRAGMA journal_mode')).toEqual([{ journal_mode: 'wal' }]);
  rmSync(folder, { recursive: true });
});
