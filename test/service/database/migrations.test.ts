// Migrations: applied once, recorded as Prisma records them, and rejected if they are not those of this version.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { computeChecksum, MigrationError } from '../../../src/service/database/migrations.ts';
import { applyMigrations as applyToPostgresql, postgresqlMigrations } from '../../../src/service/database/postgresql/migrations.ts';
import { applyMigrations as applyToSqlite, sqliteMigrations } from '../../../src/service/database/sqlite/migrations.ts';
import { Store } from '../../../src/service/database/store.ts';
import { kind, newEmptyDatabase, runSql, timeInSql } from '../../databases.ts';
import { inTransaction, Records } from '../records.ts';
import { event, eventsIn } from './events.ts';

const migrations = kind === 'sqlite' ? sqliteMigrations() : postgresqlMigrations();

let folder: string;
let database: string;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'patchbay-store-'));
  database = await newEmptyDatabase(folder);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const apply = async (which = migrations) => (kind === 'sqlite' ? applyToSqlite(database, which) : applyToPostgresql(database, which));
const recorded = () =>
  runSql(
    database,
    `SELECT "migration_name" AS "name", "checksum", "applied_steps_count" AS "steps", "finished_at" >= "started_at" AS "finished"
      FROM "_prisma_migrations" ORDER BY "migration_name"`,
  );

test('migrations are applied once and recorded as Prisma records them', async () => {
  await apply();
  const first = await recorded();
  expect(first).toEqual(migrations.map(({ name, sql }) => ({ name, checksum: computeChecksum(sql), steps: 1, finished: 1 })));
  await apply();
  expect(await recorded()).toEqual(first);
});

test('opening a database applies the migrations, and reopening it keeps its data', async () => {
  const [first, second] = [await Store.open(database), await Store.open(database)];
  for (const store of [first, second]) expect((await store.health()).migrationFaults).toEqual([]);
  await inTransaction(first, (records) => records.audit.append([event('a')]));
  expect(await eventsIn(second)).toMatchObject([{ object: 'a' }]);
  for (const store of [first, second]) await store.close();
});

test('a failed migration leaves the database unchanged', async () => {
  await apply();
  const broken = { name: '29990101000000_broken', sql: 'CREATE TABLE "Half" ("x" INTEGER); CREATE NONSENSE;' };
  await expect(apply([...migrations, broken])).rejects.toThrow(/NONSENSE/);
  await expect(runSql(database, 'SELECT * FROM "Half"')).rejects.toThrow(/no such table|does not exist/);
  expect(await recorded()).toHaveLength(migrations.length);
  await apply();
});

test('rejects a database with a changed or an unknown migration', async () => {
  await apply();
  const [first, ...rest] = migrations;
  if (first === undefined) throw new Error('no migrations');
  await expect(apply([{ ...first, sql: `${first.sql}\n-- changed` }, ...rest])).rejects.toThrow(MigrationError);
  await expect(apply([])).rejects.toThrow(/use the newer version of the service/);
});

test('renaming columns keeps what is stored', async () => {
  await apply(migrations.filter(({ name }) => name < '20261129000200'));
  const [first, second, third] = [1, 2, 3].map(timeInSql);
  const plan = { name: 'tcp', selector: { labels: { zone: 'north' } }, whenBusy: 'refuse' };
  const plans = [plan, { ...plan, whenBusy: 'queue' }, {}].map((value) => JSON.stringify(value));
  await runSql(
    database,
    `
    INSERT INTO "Host" ("id", "name", "bootId", "capacity", "registeredAt", "heardCount") VALUES ('h', 'host', 'boot', 1, ${first}, 7);
    INSERT INTO "Device" ("id", "name", "hostId", "ramPages", "createdAt", "state", "stateAt", "stateSequence")
      VALUES ('d', 'device', 'h', 16, ${first}, '{}', ${second}, 5);
    INSERT INTO "HistoryEntry"
        ("deviceId", "module", "version", "imageDigest", "loadId", "address", "pages", "enteredAt", "leftAt", "leftBy", "leftThrough")
      VALUES ('d', 'tcp', '1.0.0', '', 'a', '0x1000', 1, ${first}, ${second}, 'replaced', 'b'),
        ('d', 'tcp', '1.1.0', '', 'b', '0x2000', 1, ${second}, ${third}, 'withdrawn', NULL),
        ('d', 'tcp', '1.0.0', '', 'a', '0x1000', 1, ${third}, NULL, NULL, NULL);
    INSERT INTO "AbiViolation" ("deviceId", "bootId", "programId", "programName", "module", "version", "address", "page", "flag", "at", "lastAt", "faults")
      VALUES ('d', 'boot', 'p', 'program', 'tcp', '1.0.0', '0x1000', 1, 'nx', ${first}, ${third}, 4);
    INSERT INTO "Rollout" ("id", "module", "plan", "state", "requestedAt", "requestedBy", "joinableUntil")
      VALUES ('r', 'tcp', '${plans[0]}', 'running', ${first}, 'k', ${third}), ('s', 'tcp', '${plans[1]}', 'pending', ${second}, 'k', NULL),
        ('t', 'tcp', '${plans[2]}', 'completed', ${third}, 'k', NULL);
    INSERT INTO "RolloutWave" ("rolloutId", "number", "state", "accepted") VALUES ('r', 1, 'passed', ${kind === 'sqlite' ? 1 : 'TRUE'}), ('r', 2, 'waiting', ${kind === 'sqlite' ? 0 : 'FALSE'});
    INSERT INTO "AgentOrder" ("id", "hostId", "deviceId", "kind", "body", "createdAt", "withdrawnAt")
      VALUES ('o', 'h', 'd', 'load', '{}', ${first}, ${second}), ('q', 'h', 'd', 'load', '{}', ${first}, NULL);
    INSERT INTO "SigningKey" ("id", "keyId", "publicKey", "createdAt", "predecessor") VALUES ('sgk', 'key', 'pem', ${first}, '{"payload":""}');
    INSERT INTO "IdempotentAnswer" ("actor", "key", "route", "bodyDigest", "status", "body", "createdAt")
      VALUES ('k', 'once', 'POST /v1/loads', 'digest', 202, '{}', ${second});`,
  );
  const store = await Store.open(database);
  const { sql } = new Records(store.readConnection).connection;
  const [one, two, three] = [1, 2, 3].map((time) => new Date(time));
  expect(await sql.selectFrom('Host').selectAll().execute()).toMatchObject([{ id: 'h', heartbeatCount: 7 }]);
  expect(await sql.selectFrom('Device').selectAll().execute()).toMatchObject([{ id: 'd', stateReportedAt: two, stateSequence: 5n }]);
  expect(await sql.selectFrom('HistoryEntry').selectAll().orderBy('number').execute()).toMatchObject([
    { version: '1.0.0', installedAt: one, removedAt: two, removalCause: 'replaced', replacedByLoadId: 'b' },
    { version: '1.1.0', installedAt: two, removedAt: three, removalCause: 'reverted', replacedByLoadId: null },
    { version: '1.0.0', installedAt: three, removedAt: null, removalCause: null, replacedByLoadId: null },
  ]);
  expect(await sql.selectFrom('AbiViolation').selectAll().execute()).toMatchObject([
    { programId: 'p', firstFaultAt: one, lastFaultAt: three, faults: 4n },
  ]);
  const { whenBusy: _, ...other } = plan;
  expect(await sql.selectFrom('Rollout').selectAll().orderBy('requestedAt').execute()).toMatchObject([
    { id: 'r', plan: { ...other, onConflict: 'reject' }, acceptsDevicesUntil: three },
    { id: 's', plan: { ...other, onConflict: 'queue' }, acceptsDevicesUntil: null },
    { id: 't', plan: {} },
  ]);
  expect(await sql.selectFrom('RolloutWave').select(['number', 'failureIgnored']).orderBy('number').execute()).toEqual([
    { number: 1, failureIgnored: true },
    { number: 2, failureIgnored: false },
  ]);
  expect(await sql.selectFrom('AgentOrder').select(['id', 'cancelledAt']).orderBy('number').execute()).toEqual([
    { id: 'o', cancelledAt: two },
    { id: 'q', cancelledAt: null },
  ]);
  expect(await sql.selectFrom('SigningKey').selectAll().execute()).toMatchObject([{ id: 'sgk', predecessorEndorsement: '{"payload":""}' }]);
  expect(await sql.selectFrom('IdempotentResponse').selectAll().execute()).toMatchObject([
    { actor: 'k', key: 'once', status: 202, body: '{}', isSealed: false, createdAt: two },
  ]);
  expect((await store.health()).migrationFaults).toEqual([]);
  await store.close();
});

test('renaming columns leaves a rollout plan that is not valid JSON as it is', async () => {
  if (kind === 'postgresql') return expect(kind).toBe('postgresql');
  await apply(migrations.filter(({ name }) => name < '20261129000200'));
  await runSql(
    database,
    `INSERT INTO "Rollout" ("id", "module", "plan", "state", "requestedAt", "requestedBy") VALUES ('r', 'tcp', '{broken', 'running', 1, 'k')`,
  );
  await apply();
  expect(await runSql(database, 'SELECT "plan" FROM "Rollout"')).toEqual([{ plan: '{broken' }]);
});

test('the migration of dependents finds the newest build of each module that imports another one', async () => {
  await apply(migrations.filter(({ name }) => name < '20261130000400'));
  const importing = (...modules: string[]) => JSON.stringify({ exports: [], imports: modules.map((module) => ({ module, name: 'f' })) });
  const rows: [string, string, number, string][] = [
    ['a1', 'app', 1, importing('tcp', 'tcp', 'kernel')],
    ['a2', 'app', 2, importing('udp', 'tcp')],
    ['a3', 'app', 3, importing()],
    ['w1', 'web', 3, importing('tcp')],
    ['x1', 'x', 4, kind === 'sqlite' ? '{broken' : '{"imports": 7}'],
    ['y1', 'y', 5, JSON.stringify({ imports: [{ name: 'f' }] })],
  ];
  const values = rows.map(
    ([id, module, at, types]) => `('${id}', '${module}', '${at}.0.0', 'wat', '', '', '', 1, '${types}', ${timeInSql(at)})`,
  );
  await runSql(
    database,
    `INSERT INTO "Build" ("id", "module", "version", "language", "compiler", "sourceDigest", "imageDigest", "imageBytes", "interface", "createdAt")
      VALUES ${values.join(', ')}`,
  );
  await apply();
  expect(await runSql(database, 'SELECT "provider", "importer", "buildId" FROM "ModuleDependent" ORDER BY 1, 2')).toEqual([
    { provider: 'tcp', importer: 'app', buildId: 'a2' },
    { provider: 'tcp', importer: 'web', buildId: 'w1' },
    { provider: 'udp', importer: 'app', buildId: 'a2' },
  ]);
});
