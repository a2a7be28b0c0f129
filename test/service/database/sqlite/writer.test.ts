// SQLite transactions whose work continues after a timeout.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { AuditRecords } from '../../../../src/service/audit-events/repository.ts';
import { createReader } from '../../../../src/service/database/reader.ts';
import { SqliteEngine } from '../../../../src/service/database/sqlite/engine.ts';
import { applyMigrations } from '../../../../src/service/database/sqlite/migrations.ts';
import { TransactionClosed } from '../../../../src/service/database/transaction-timeout.ts';
import { event, eventsIn } from '../events.ts';

test('work that has timed out cannot write to a later transaction', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'patchbay-writer-'));
  const file = join(folder, 'patchbay.db');
  applyMigrations(file);
  const engine = new SqliteEngine(file);
  onTestFinished(async () => {
    await engine.close();
    rmSync(folder, { recursive: true });
  });
  const goOn = Promise.withResolvers<void>();
  const late = Promise.withResolvers<unknown>();
  const short = engine.transaction(async ({ savepoint }) => {
    await goOn.promise;
    await savepoint((connection) => new AuditRecords(connection).append([event('late')])).catch(late.resolve);
  }, 50);
  await expect(short).rejects.toThrow('took longer than 0.05 s');
  await engine.transaction(async ({ savepoint }) => {
    const refused = savepoint(async (connection) => {
      await new AuditRecords(connection).append([event('first of a refused savepoint')]);
      goOn.resolve();
      for (let turns = 0; turns < 5; turns += 1) await turn();
      await new AuditRecords(connection).append([event('last of a refused savepoint')]);
      throw new Error('refused');
    });
    await expect(refused).rejects.toThrow('refused');
    await savepoint((connection) => new AuditRecords(connection).append([event('kept')]));
  }, 60_000);
  expect(await late.promise).toBeInstanceOf(TransactionClosed);
  const events = await eventsIn({ reader: createReader(engine.client, () => {}) });
  expect(events.map(({ object }) => object)).toEqual(['kept']);
});
