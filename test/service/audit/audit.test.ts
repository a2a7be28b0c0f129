// Verification of the audit trail: finds any change created directly in the database, and reports the first bad event.

import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { type Verification, verifyExport } from '../../../src/proof/audit-export.ts';
import { readPublicKey } from '../../../src/proof/ed25519.ts';
import { parseHash, verifyConsistency, verifyInclusion } from '../../../src/proof/merkle-tree.ts';
import { AuditQueries } from '../../../src/service/audit/queries.ts';
import { hashStoredEvent } from '../../../src/service/database/audit-chain.ts';
import { withoutMarks } from '../../../src/service/database/readable-rows.ts';
import { Store } from '../../../src/service/database/store.ts';
import { kind, openSql, type Sql, timeInSql } from '../../databases.ts';
import { inTransaction, Records } from '../records.ts';
import { bearer, itemsOf, TestService } from '../test-service.ts';

const service = new TestService();
let store: Store;
let sql: Sql;
/** The first signing key, pinned by a verifier. */
let pinned = '';
const initialEvents = 600;

beforeAll(async () => {
  await service.start();
  pinned = String(itemsOf(await service.get('/v1/signing-keys'))[0]?.publicKey);
  store = await Store.open(service.database);
  sql = await openSql(service.database);
  await append(initialEvents);
});
afterAll(async () => {
  await sql.close();
  await store.close();
  await service.close();
});

/** Appends events. */
async function append(count: number): Promise<void> {
  const at = new Date();
  await inTransaction(store, (records) =>
    records.audit.append(
      Array.from({ length: count }, (_, index) => ({
        at,
        actor: `key_${index % 7}`,
        action: 'device.relabelled',
        object: `dev_${index}`,
        outcome: 'succeeded' as const,
        requestId: index % 3 === 0 ? '' : `req_${index}`,
        detail: { before: { zone: 'north' }, after: { zone: `süd ${index}` }, ratio: index / 7, none: null },
      })),
    ),
  );
}

async function exported(query = ''): Promise<string[]> {
  const response = await fetch(`${service.url}/v1/audit/export${query}`, { headers: bearer(service.key) });
  expect(response.status).toBe(200);
  expect(response.headers.get('content-type')).toBe('application/x-ndjson');
  return (await response.text()).split('\n').filter((line) => line !== '');
}

async function checkpoint(): Promise<string> {
  const created = await service.post('/v1/audit/checkpoints', undefined);
  expect([200, 201]).toContain(created.status);
  expect(created.headers.get('location')).toBe(`/v1/audit/checkpoints/${created.body.size}`);
  return String(created.body.note);
}

async function* iterate(lines: readonly string[]): AsyncGenerator<string> {
  yield* lines;
}

async function verify(checkpoints: readonly string[], lines?: readonly string[], isPartial = false): Promise<Verification> {
  return verifyExport(iterate(lines ?? (await exported())), { checkpoints, keys: [readPublicKey(pinned)], isPartial });
}

const newestNumber = async () => (await new Records(store.readConnection).audit.head()).number;

test('verifies an unchanged trail and its checkpoints', async () => {
  const early = await checkpoint();
  await append(3);
  expect(await verify([early])).toMatchObject({
    kind: 'intact',
    first: 1,
    last: await newestNumber(),
    checkpoint: { size: (await newestNumber()) - 3 },
  });
  const late = await checkpoint();
  expect(await verify([late, early])).toMatchObject({ kind: 'intact', checkpoint: { size: await newestNumber() } });
  expect(await checkpoint()).toBe(late);
  expect(await verify([])).toMatchObject({ kind: 'intact', checkpoint: null });
});

test('events of concurrent requests form one chain', async () => {
  const responses = await Promise.all(
    Array.from({ length: 40 }, (_, index) => service.post('/v1/keys', { name: `racer-${index}`, role: 'viewer' })),
  );
  expect(new Set(responses.map(({ status }) => status))).toEqual(new Set([201]));
  expect(await verify([await checkpoint()])).toMatchObject({ kind: 'intact', last: await newestNumber() });
});

test('verifies a trail with lone surrogates in its details', async () => {
  await inTransaction(store, (records) =>
    records.audit.append([
      {
        at: new Date(),
        actor: 'a',
        action: 'load.requested',
        object: 'b',
        outcome: 'succeeded',
        requestId: '',
        detail: { '\udc00': ['\ud800'] },
      },
    ]),
  );
  expect(await verify([await checkpoint()])).toMatchObject({ kind: 'intact' });
});

test('a listed event equals the exported one, including its hash', async () => {
  const [listed] = itemsOf(await service.get('/v1/audit?limit=1'));
  const lines = await exported();
  expect(JSON.parse(lines.at(-1) ?? '')).toEqual(listed);
});

test('an export continues after an earlier one', async () => {
  const [whole, note] = [await exported(), await checkpoint()];
  const middle = 300;
  const rest = await exported(`?after=${middle}`);
  expect(rest.slice(1)).toEqual(whole.slice(1 + middle));
  expect(await verify([note], rest, true)).toMatchObject({ kind: 'intact', first: middle + 1, last: await newestNumber() });
  expect(await verify([note], rest)).toMatchObject({ kind: 'corrupt', first: middle });
  expect((await service.get(`/v1/audit/export?after=${(await newestNumber()) + 1}`)).status).toBe(422);
  expect((await service.get('/v1/audit/export?after=-1')).status).toBe(422);
});

/** A change of one event in the database. */
type Tampering = { readonly name: string; readonly tamper: (number: number) => Promise<unknown> };
const change = (column: string, expression: string): Tampering => ({
  name: `${column} is changed`,
  tamper: (number) => sql.run(`UPDATE "AuditEvent" SET "${column}" = ${expression} WHERE "number" = ?`, number),
});
const changeBytes = (column: string, bytes: Uint8Array): Tampering => ({
  name: `${column} is changed`,
  tamper: (number) => sql.run(`UPDATE "AuditEvent" SET "${column}" = ? WHERE "number" = ?`, bytes, number),
});
const drop = (number: number) => sql.run('DELETE FROM "AuditEvent" WHERE "number" = ?', number);
const renumber = (from: number, to: number) => sql.run('UPDATE "AuditEvent" SET "number" = ? WHERE "number" = ?', to, from);
/** Shifts the numbers of events. They are negative in between, so that no two are equal. */
async function move(from: number, by: number): Promise<void> {
  await sql.run('UPDATE "AuditEvent" SET "number" = -("number" + ?) WHERE "number" >= ?', by, from);
  await sql.run('UPDATE "AuditEvent" SET "number" = -"number" WHERE "number" < 0');
}
const tamperings: readonly Tampering[] = [
  change('at', kind === 'sqlite' ? '"at" + 1' : `"at" + interval '1 millisecond'`),
  change('actor', `"actor" || 'x'`),
  change('action', "'load.requested'"),
  change('object', "'dev_other'"),
  change('outcome', "'refused'"),
  change('requestId', "'req_other'"),
  change('detail', `'{"after":"other"}'`),
  // PostgreSQL rejects invalid JSON.
  ...(kind === 'sqlite' ? [change('detail', `'not JSON'`)] : []),
  changeBytes('previous', new Uint8Array(1)),
  changeBytes('previous', new Uint8Array(32)),
  changeBytes('hash', new Uint8Array(32)),
  { name: 'the event is deleted', tamper: drop },
  {
    name: 'the event is deleted and later events are renumbered',
    tamper: async (number) => {
      await drop(number);
      await move(number + 1, -1);
    },
  },
  {
    name: 'the event is swapped with the next',
    tamper: async (number) => {
      await renumber(number, -1);
      await renumber(number + 1, number);
      await renumber(-1, number + 1);
    },
  },
  {
    name: 'an event is inserted before it',
    tamper: async (number) => {
      await move(number, 1);
      const others = '"at", "actor", "action", "object", "outcome", "requestId", "detail", "previous", "hash"';
      await sql.run(
        `INSERT INTO "AuditEvent" ("number", ${others}) SELECT "number" - 1, ${others} FROM "AuditEvent" WHERE "number" = ?`,
        number + 1,
      );
      await sql.run(`UPDATE "AuditEvent" SET "object" = 'dev_inserted' WHERE "number" = ?`, number);
    },
  },
  {
    name: 'an event with valid links is inserted before it',
    tamper: async (number) => {
      await move(number, 1);
      const previous = await hashBefore(number);
      const [next] = await sql.run('SELECT "at" FROM "AuditEvent" WHERE "number" = ?', number + 1);
      const at = new Date(Number(next?.['at']));
      const event = { number, at, actor: 'a', action: 'b.c', object: 'd', outcome: 'succeeded', requestId: null, detail: {}, previous };
      await sql.run(
        `INSERT INTO "AuditEvent" ("number", "at", "actor", "action", "object", "outcome", "requestId", "detail", "previous", "hash")
          VALUES (?, ${timeInSql(at.getTime())}, 'a', 'b.c', 'd', 'succeeded', NULL, '{}', ?, ?)`,
        number,
        previous,
        hashStoredEvent(event),
      );
    },
  },
];
async function hashBefore(number: number): Promise<Uint8Array<ArrayBuffer>> {
  const [event] = await sql.run('SELECT "hash" FROM "AuditEvent" WHERE "number" = ?', number - 1);
  return new Uint8Array(z.instanceof(Uint8Array).optional().parse(event?.['hash']) ?? []);
}

/** Runs a check on a tampered trail, and restores the trail. */
async function whileTampered(tamper: () => Promise<unknown>, check: () => Promise<void>): Promise<void> {
  const tables = ['AuditEvent', 'AuditHead'];
  await sql.run(tables.map((table) => `CREATE TEMP TABLE "saved${table}" AS SELECT * FROM "${table}";`).join(' '));
  try {
    await tamper();
    await check();
  } finally {
    const restore = (table: string) =>
      `DELETE FROM "${table}"; INSERT INTO "${table}" SELECT * FROM "saved${table}"; DROP TABLE "saved${table}";`;
    await sql.run(tables.map(restore).join(' '));
  }
}

test.each(tamperings)('reports the event if $name', async ({ tamper }) => {
  const note = await checkpoint();
  const newest = await newestNumber();
  const which = fc.oneof(fc.constantFrom(1, 2, 256, 257, newest - 1), fc.integer({ min: 1, max: newest - 1 }));
  await fc.assert(
    fc.asyncProperty(which, async (number) => {
      await whileTampered(
        () => tamper(number),
        async () => expect(await verify([note])).toMatchObject({ kind: 'corrupt', first: number, last: number }),
      );
    }),
    { numRuns: 6 },
  );
  expect(await verify([note])).toMatchObject({ kind: 'intact' });
});

test('reports a deleted last event, even before a checkpoint includes it', async () => {
  await append(1);
  const newest = await newestNumber();
  await whileTampered(
    () => drop(newest),
    async () => expect(await verify([])).toMatchObject({ kind: 'corrupt', first: newest, last: newest }),
  );
});

/** Changes an event and recomputes the hashes of all later events. */
async function forge(number: number): Promise<void> {
  await sql.run(`UPDATE "AuditEvent" SET "object" = 'dev_forged' WHERE "number" = ?`, number);
  let previous = await hashBefore(number);
  for (const event of withoutMarks(await new AuditQueries(store.reader).after(number - 1, 10_000))) {
    const hash = hashStoredEvent({ ...event, previous });
    await sql.run('UPDATE "AuditEvent" SET "previous" = ?, "hash" = ? WHERE "number" = ?', previous, hash, event.number);
    previous = hash;
  }
  await sql.run('UPDATE "AuditHead" SET "hash" = ?', previous);
}

test('a trail forged up to its end contradicts its checkpoints, and the service refuses to sign it', async () => {
  const early = await checkpoint();
  const earlySize = await newestNumber();
  await append(50);
  const late = await checkpoint();
  await whileTampered(
    () => forge(earlySize + 7),
    async () => {
      expect(await verify([])).toMatchObject({ kind: 'intact' });
      expect(await verify([early, late])).toMatchObject({ kind: 'corrupt', first: earlySize + 1, last: earlySize + 50 });
    },
  );
  await whileTampered(
    () => forge(20),
    async () => {
      expect(await verify([early, late])).toMatchObject({ kind: 'corrupt', first: 1, last: earlySize });
      await append(1);
      const refused = await service.post('/v1/audit/checkpoints', undefined);
      expect(refused).toMatchObject({ status: 409, body: { type: 'urn:patchbay:problem:trail-broken' } });
      const health = await service.get('/v1/health');
      expect(health.body.reasons).toContainEqual(expect.stringContaining('audit trail'));
    },
  );
  await append(1);
  await checkpoint();
});

test('the service refuses to sign an event changed since the last checkpoint', async () => {
  await checkpoint();
  await append(5);
  const number = (await newestNumber()) - 2;
  for (const tamper of [() => sql.run(`UPDATE "AuditEvent" SET "actor" = 'other' WHERE "number" = ?`, number), () => drop(number)]) {
    await whileTampered(tamper, async () => {
      const refused = await service.post('/v1/audit/checkpoints', undefined);
      expect(refused).toMatchObject({ status: 409, body: { detail: expect.stringContaining(`event ${number} of the audit trail`) } });
    });
  }
  await checkpoint();
  expect((await service.get('/v1/health')).body.reasons).not.toContainEqual(expect.stringContaining('audit trail'));
});

test('a checkpoint without the signature of a trusted key proves nothing', async () => {
  const note = await checkpoint();
  const lines = await exported();
  const forged = note.replace(/^\d+$/m, (size) => String(Number(size) - 1));
  expect(await verify([forged], lines)).toMatchObject({ kind: 'corrupt' });
  const [head = '', signature = ''] = note.split('\n\n');
  const otherTime = `${head.replace(/\n[^\n]*$/, '\n2030-01-01T00:00:00.000Z')}\n\n${signature}`;
  expect(await verify([otherTime], lines)).toMatchObject({
    kind: 'unverifiable',
    reason: expect.stringContaining('not signed by a trusted key'),
  });
  expect(await verifyExport(iterate(lines), { checkpoints: [note], keys: [], isPartial: false })).toMatchObject({ kind: 'unverifiable' });
  expect(await verify(['nonsense'], lines)).toMatchObject({ kind: 'unverifiable' });
  const elsewhere = lines.with(0, (lines[0] ?? '').replace(/patchbay\/[0-9a-f]{16}/, 'patchbay/0000000000000000'));
  expect(await verify([note], elsewhere)).toMatchObject({ kind: 'unverifiable', reason: expect.stringContaining('another trail') });
});

test('reports a truncated export', async () => {
  const [lines, note] = [await exported(), await checkpoint()];
  expect(await verify([], lines.slice(0, -1))).toMatchObject({ kind: 'corrupt', first: lines.length - 1 });
  expect(await verify([note], [])).toMatchObject({ kind: 'unverifiable' });
  expect(await verify([note], lines.slice(1))).toMatchObject({ kind: 'unverifiable' });
  // Even if the first line was changed accordingly.
  const start = JSON.parse(lines[0] ?? '');
  const shortened = [JSON.stringify({ ...start, until: start.until - 1 }), ...lines.slice(1, -1)];
  expect(await verify([note], shortened)).toMatchObject({ kind: 'corrupt', first: start.until });
});

test('proves inclusion of each event, and consistency with each earlier checkpoint', async () => {
  await checkpoint();
  const [newest] = itemsOf(await service.get('/v1/audit/checkpoints?limit=1'));
  const [size, root] = [Number(newest?.size), parseHash(String(newest?.root))];
  const hashesOf = ({ hashes = [] }: { readonly hashes?: readonly string[] }) => hashes.map(parseHash);
  for (const event of [1, 2, 255, 256, 257, 512, 513, size]) {
    const { body } = await service.get(`/v1/audit/checkpoints/${size}/proof?event=${event}`);
    expect(body).toMatchObject({ kind: 'inclusion', event, size });
    const line: unknown = JSON.parse((await exported(`?after=${event - 1}`))[1] ?? '');
    expect(line).toMatchObject({ number: event, hash: body.hash });
    expect(verifyInclusion(parseHash(String(body.hash)), event - 1, size, hashesOf(body), root)).toBe(true);
  }
  const checkpoints = itemsOf(await service.get('/v1/audit/checkpoints?order=asc&limit=200'));
  expect(checkpoints.length).toBeGreaterThan(3);
  for (const earlier of checkpoints) {
    const from = Number(earlier.size);
    const { body } = await service.get(`/v1/audit/checkpoints/${size}/proof?from=${from}`);
    expect(body).toMatchObject({ kind: 'consistency', from, fromRoot: earlier.root });
    expect(verifyConsistency(from, size, hashesOf(body), parseHash(String(earlier.root)), root)).toBe(true);
  }
  for (const [query, status] of [
    ['', 422],
    ['?event=1&from=1', 422],
    ['?event=0', 422],
    [`?event=${size + 1}`, 422],
    [`?from=${size + 1}`, 422],
  ] as const)
    expect((await service.get(`/v1/audit/checkpoints/${size}/proof${query}`)).status).toBe(status);
  for (const none of [size + 1, 2 ** 40]) expect((await service.get(`/v1/audit/checkpoints/${none}/proof?event=1`)).status).toBe(404);
});

test('a tree with two levels of tiles has the same root as one computed event by event', async () => {
  // 256 tiles of 256 events form one tile of the next level.
  for (let count = 0; count < 66_000; count += 6_000) await append(6_000);
  const note = await checkpoint();
  expect(await sql.run('SELECT count(*) AS "tiles" FROM "AuditTile" WHERE "level" = 1')).toEqual([{ tiles: 1 }]);
  expect(await verify([note])).toMatchObject({ kind: 'intact', checkpoint: { size: await newestNumber() } });
  const { body } = await service.get(`/v1/audit/checkpoints/${await newestNumber()}/proof?event=40000`);
  expect(body).toMatchObject({ kind: 'inclusion' });
}, 300_000);
