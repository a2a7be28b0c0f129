// Undecodable rows in every list of their table: lists mark them and return the rest, cursors pass them,
// and the health reports them. SQLite accepts any value in any column; PostgreSQL has infinite times.

import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { derivePublicKey, generatePrivateKey } from '../../../src/signing/private-key.ts';
import { kind as databaseKind, openSql, type Sql, timeInSql } from '../../databases.ts';
import { Agent, attached } from '../agents/agent.ts';
import { itemsOf, type TestResponse, TestService, workModule } from '../test-service.ts';

const service = new TestService();
const agent = new Agent(service);
/** Path parameters of the lists. */
const parameters: Record<string, string> = { module: 'abc', version: '1.0.0' };
let sql: Sql;

beforeAll(async () => {
  // The hosts send no heartbeats: their becoming unreachable would add events to the audit trail during a test.
  service.unreachableAfter = 24 * 3_600_000;
  await service.start();
  sql = await openSql(service.database);
  await agent.register('host-a', ['device-1', 'device-2']);
  await agent.connect();
  await agent.report(...(await agent.order('attach-device', 2)).map((order) => attached(order)));
  const [device = '', other = ''] = await service.connectedDevices(2);
  parameters['device'] = device;
  await pushAndRequest([device, other]);
  await makeKeys();
  await addRows(device, other);
});
afterAll(async () => {
  agent.disconnect();
  await sql.close();
  await service.close();
});

/** Returns the body of a successful response. @throws {Error} if the request was rejected. */
function made<Body>({ status, body }: TestResponse<Body>): Body {
  if (status >= 300) throw new Error(JSON.stringify(body));
  return body;
}

/** Creates two builds, loads and rollouts. */
async function pushAndRequest(devices: readonly string[]): Promise<void> {
  for (const module of ['abc', 'abd'])
    for (const version of ['1.0.0', '1.1.0']) expect((await service.push(module, version, workModule(1))).status).toBe(201);
  for (const version of ['1.0.0', '1.1.0'])
    made(await service.post('/v1/patch-sets', { name: 'both', version, builds: ['abc', 'abd'].map((module) => ({ module, version })) }));
  made(await service.post('/v1/loads', { module: 'abc', version: '1.0.0', devices }));
  for (const module of ['abc', 'abd'])
    parameters['rollout'] =
      made(await service.post('/v1/rollouts', { module, version: '1.1.0', devices, startAt: '2999-01-01T00:00:00Z' })).id ?? '';
}

/** Creates two keys, policies and checkpoints. */
async function makeKeys(): Promise<void> {
  for (const name of ['one', 'two']) {
    made(await service.post('/v1/keys', { name, role: 'viewer' }));
    made(await service.post('/v1/audit/checkpoints', undefined));
    const { id = '' } = made(await service.post('/v1/publisher-keys', { name, publicKey: derivePublicKey(generatePrivateKey()).pem }));
    made(await service.post('/v1/signature-policies', { name, module: 'other', labels: { a: name }, publisherKeys: [id] }));
  }
  made(await service.post('/v1/signing-keys', undefined));
  for (const name of ['one', 'two']) made(await service.post('/v1/groups', { name, selector: 'zone=north' }));
  for (const name of ['one', 'two']) {
    made(await service.post('/v1/channels', { name }));
    made(await service.post('/v1/assignments', { name, group: name, channel: name, module: 'abc', range: '^1', mode: 'off' }));
  }
  const webhook = { url: 'https://receiver.example.com/', eventTypes: ['load.*'], enabled: false };
  for (const name of ['one', 'two']) parameters['webhook'] = made(await service.post('/v1/webhooks', { ...webhook, name })).id ?? '';
}

/** Creates two rows of each table that the other functions do not fill. */
async function addRows(device: string, other: string): Promise<void> {
  const digest = `sha256:${'0'.repeat(64)}`;
  for (const id of ['prg_1', 'prg_2'])
    await sql.run(`INSERT INTO "Program" ("id", "deviceId", "name", "module", "export", "type", "arguments", "threads", "pauseMilliseconds",
      "driverDigest", "createdAt") VALUES ('${id}', '${device}', '${id}', 'abc', 'f', '{"parameters":[],"results":[]}', '[]', 1, 0, '${digest}', ${timeInSql(1)})`);
  for (const [id, module] of [
    [device, 'abc'],
    [device, 'abd'],
    [other, 'abc'],
  ]) {
    await sql.run(`INSERT INTO "HistoryEntry" ("deviceId", "module", "version", "imageDigest", "address", "pages", "installedAt")
      VALUES ('${id}', '${module}', '1.0.0', '${digest}', '0x1000', 1, ${timeInSql(1)})`);
    await sql.run(
      `INSERT INTO "DeviceModule" ("deviceId", "module", "version", "imageDigest") VALUES ('${id}', '${module}', '1.0.0', '${digest}')`,
    );
  }
  for (const page of [1, 2])
    await sql.run(`INSERT INTO "AbiViolation" ("deviceId", "bootId", "programId", "programName", "module", "version", "address", "page", "flag", "firstFaultAt",
      "lastFaultAt", "faults") VALUES ('${device}', 'boot', 'prg_1', 'prg_1', 'abc', '1.0.0', '0x${page}000', ${page}, 'not-present', ${timeInSql(page)}, ${timeInSql(2)}, 1)`);
  const [event] = itemsOf(await service.get('/v1/audit?limit=1'));
  for (const number of [1, 2]) {
    await sql.run(`INSERT INTO "LoadBatch" ("id", "kind", "module", "loads", "rollback", "requestedAt")
      VALUES ('bat_${number}', 'build', 'abc', 1, false, ${timeInSql(1)})`);
    await sql.run(
      `INSERT INTO "User" ("id", "issuer", "subject", "createdAt") VALUES ('usr_${number}', 'https://sso.example.com/', '${number}', ${timeInSql(1)})`,
    );
    await sql.run(`INSERT INTO "ParkedEvent" ("webhookId", "number", "event", "attempts", "firstAttemptAt", "parkedAt", "lastError")
      VALUES ('${parameters['webhook']}', ${number}, '${JSON.stringify({ id: `evt_${number}`, data: event })}', 1, ${timeInSql(1)}, ${timeInSql(1)}, 'unreachable')`);
  }
  await sql.run(
    `INSERT INTO "Host" ("id", "name", "bootId", "registeredAt", "capacity", "heartbeatCount") VALUES ('hst_2', 'host-b', 'boot', ${timeInSql(1)}, 1, 1)`,
  );
}

type Listing = {
  /** The path in the API document. */
  readonly path: string;
  /** The property that identifies items in the list. */
  readonly key?: string;
  /** The name in the health, if it differs from that of the row. */
  readonly kind?: string;
  /** The identifier in the list, if it differs from that of the row. */
  readonly id?: () => string;
  /** The columns that make the item undecodable; by default all. */
  readonly columns?: readonly string[];
  /** Values that do not make it undecodable. */
  readonly unless?: (value: string) => boolean;
};

/** Only the newest build of a module is listed: a time before all others has no effect. */
const isEarly = (value: string) => value.startsWith('-') || value.startsWith("'-");

const far = '9007199254740993';
const json = "'garbage{'";
const text = "'garbage'";
const times = [far, `-${far}`, text];

/** Tables, undecodable values of their columns, and the lists that contain their rows. */
const tables: readonly {
  readonly table: string;
  readonly kind: string;
  /** The SQL condition of the damaged row; by default the second row of the first list. */
  readonly row?: () => string;
  readonly key?: string;
  readonly values: Readonly<Record<string, readonly string[]>>;
  readonly lists: readonly Listing[];
  readonly one?: (id: string) => string;
}[] = [
  {
    table: 'Build',
    kind: 'build',
    values: { interface: [json], imageBytes: [text], createdAt: times, imagePrunedAt: [far] },
    lists: [
      { path: '/v1/modules/{module}/builds' },
      { path: '/v1/modules', key: 'module', kind: 'module', id: () => 'abc', columns: ['createdAt'], unless: isEarly },
    ],
  },
  {
    table: 'PatchSet',
    kind: 'patch set',
    values: { createdAt: times },
    lists: [{ path: '/v1/patch-sets' }],
    one: (id) => `/v1/patch-sets/${id}`,
  },
  {
    table: 'Host',
    kind: 'host',
    values: { capacity: [text], heartbeatCount: [text], registeredAt: times, unreachableSince: [far] },
    lists: [{ path: '/v1/hosts' }],
  },
  {
    table: 'Device',
    kind: 'device',
    values: {
      ramPages: [text],
      stateSequence: [text],
      labelsByOperator: [text],
      state: [json],
      createdAt: times,
      stateReportedAt: [far],
      rejectedAt: [far],
    },
    lists: [{ path: '/v1/devices' }],
    one: (id) => `/v1/devices/${id}`,
  },
  {
    table: 'Load',
    kind: 'load',
    values: {
      interrupted: [text],
      retried: [text],
      failed: [text],
      drainMilliseconds: [text],
      rollback: [text],
      requestedAt: times,
      deadlineAt: [far],
      dispatchedAt: [far],
      completedAt: [far],
    },
    lists: [{ path: '/v1/loads' }],
    one: (id) => `/v1/loads/${id}`,
  },
  {
    table: 'Program',
    kind: 'program',
    values: {
      type: [json],
      arguments: [json],
      statistics: [json],
      threads: [text],
      calls: [text],
      started: [text],
      stopRequested: [text],
      pauseMilliseconds: [text],
      deadlineMilliseconds: [text],
      createdAt: times,
    },
    lists: [{ path: '/v1/devices/{device}/programs' }],
    one: (id) => `/v1/devices/${parameters['device']}/programs/${id}`,
  },
  {
    table: 'HistoryEntry',
    kind: 'history entry',
    row: () => `"deviceId" = '${parameters['device']}' AND "module" = 'abc'`,
    key: 'number',
    values: { pages: [text], interrupted: [text], observed: [text], installedAt: times, removedAt: [far] },
    lists: [
      { path: '/v1/devices/{device}/history', key: 'module' },
      { path: '/v1/devices/{device}/modules/{module}/history', key: 'module' },
      // A residency without a valid start time existed at no time.
      { path: '/v1/devices/{device}/modules', key: 'module', columns: ['pages', 'interrupted', 'observed', 'removedAt'] },
      {
        path: '/v1/modules/{module}/builds/{version}/devices',
        key: 'device',
        kind: 'device',
        id: () => parameters['device'] ?? '',
        columns: ['installedAt', 'removedAt'],
      },
    ],
  },
  {
    table: 'AbiViolation',
    kind: 'ABI violation',
    row: () => `"address" = '0x1000'`,
    key: 'number',
    values: { page: [text], faults: [text], firstFaultAt: times, lastFaultAt: [far] },
    lists: [{ path: '/v1/devices/{device}/abi-violations', key: 'address' }],
  },
  {
    table: 'Rollout',
    kind: 'rollout',
    values: { plan: [json], requestedAt: times, startedAt: [far], nextLoadAt: [far], acceptsDevicesUntil: [far] },
    lists: [{ path: '/v1/rollouts' }],
    one: (id) => `/v1/rollouts/${id}`,
  },
  {
    table: 'RolloutWave',
    kind: 'rollout',
    row: () => `"rolloutId" = '${parameters['rollout']}' AND "number" = 1`,
    key: 'rolloutId',
    values: { failureIgnored: [text], measured: [json], startedAt: [far], soakUntil: [far], endedAt: [far], measuredAt: [far] },
    lists: [{ path: '/v1/rollouts' }],
    one: (id) => `/v1/rollouts/${id}`,
  },
  {
    table: 'RolloutDevice',
    kind: 'rollout device',
    row: () => `"rolloutId" = '${parameters['rollout']}' AND "deviceId" = '${parameters['device']}'`,
    key: 'deviceId',
    values: { position: [text], wave: [text], attempts: [text], interrupted: [text], measured: [json], loadedAt: [far] },
    lists: [{ path: '/v1/rollouts/{rollout}/devices', key: 'device' }],
  },
  { table: 'ApiKey', kind: 'key', values: { createdAt: times, lastUsedAt: [far], revokedAt: [far] }, lists: [{ path: '/v1/keys' }] },
  {
    table: 'AuditEvent',
    kind: 'audit event',
    key: 'number',
    values: { at: times, detail: [json] },
    lists: [{ path: '/v1/audit', key: 'number' }],
  },
  {
    table: 'Checkpoint',
    kind: 'checkpoint',
    key: 'size',
    values: { at: times },
    lists: [{ path: '/v1/audit/checkpoints', key: 'size' }],
  },
  {
    table: 'SigningKey',
    kind: 'signing key',
    values: { createdAt: times, retiredAt: [far], endorsement: [json] },
    lists: [{ path: '/v1/signing-keys' }],
  },
  {
    table: 'PublisherKey',
    kind: 'publisher key',
    values: { createdAt: times, revokedAt: [far] },
    lists: [{ path: '/v1/publisher-keys' }],
  },
  {
    table: 'SignaturePolicy',
    kind: 'signature policy',
    values: { labels: [json], publisherKeys: [json], threshold: [text], createdAt: times },
    lists: [{ path: '/v1/signature-policies' }],
    one: (id) => `/v1/signature-policies/${id}`,
  },
  {
    table: 'DeviceGroup',
    kind: 'group',
    values: { createdAt: times },
    lists: [{ path: '/v1/groups' }],
  },
  {
    table: 'Channel',
    kind: 'channel',
    values: { createdAt: times },
    lists: [{ path: '/v1/channels' }],
    one: (id) => `/v1/channels/${id}`,
  },
  {
    table: 'Assignment',
    kind: 'assignment',
    values: { rollout: [json], createdAt: times },
    lists: [{ path: '/v1/assignments' }],
    one: (id) => `/v1/assignments/${id}`,
  },
  {
    table: 'LoadBatch',
    kind: 'load batch',
    values: { requestedAt: times },
    lists: [{ path: '/v1/load-batches' }],
  },
  {
    table: 'User',
    kind: 'user',
    values: { createdAt: times },
    lists: [{ path: '/v1/users' }],
    one: (id) => `/v1/users/${id}`,
  },
  {
    table: 'Webhook',
    kind: 'webhook',
    values: { eventTypes: [json], createdAt: times },
    lists: [{ path: '/v1/webhooks' }],
  },
  {
    table: 'ParkedEvent',
    kind: 'parked event',
    row: () => `"number" = 2`,
    key: 'number',
    values: { parkedAt: times },
    lists: [{ path: '/v1/webhooks/{webhook}/parked-events', key: 'number' }],
  },
];

/** Returns the values that the database accepts: of invalid times, PostgreSQL accepts only infinity. */
function takenBy(values: readonly string[]): readonly string[] {
  if (databaseKind === 'sqlite') return values;
  return values.includes(far) ? ["'infinity'", ...(values.includes(`-${far}`) ? ["'-infinity'"] : [])] : [];
}

const cells = tables.flatMap(({ values, ...where }) =>
  Object.entries(values).flatMap(([column, all]) => takenBy(all).map((value) => ({ ...where, column, value }))),
);

const inUrl = (path: string) => path.replaceAll(/\{(\w+)\}/g, (_, name: string) => parameters[name] ?? name);

const Document = z.object({
  paths: z.record(
    z.string(),
    z.object({
      get: z
        .object({
          responses: z.object({ '200': z.object({ content: z.record(z.string(), z.object({ schema: z.unknown() })) }).optional() }),
        })
        .optional(),
    }),
  ),
});

test('every list of the API is tested', () => {
  const { paths } = Document.parse(JSON.parse(readFileSync(new URL('../../../openapi/openapi.json', import.meta.url), 'utf8')));
  const lists = Object.entries(paths).filter(([, { get }]) => {
    return /Page"/.test(JSON.stringify(get?.responses['200']?.content['application/json']?.schema ?? ''));
  });
  const tested = new Set(tables.flatMap((table) => table.lists.map(({ path }) => path)));
  expect([...tested].toSorted()).toEqual(lists.map(([path]) => path).toSorted());
});

async function healthReasons(): Promise<string> {
  const health = await service.get('/v1/health');
  expect(health.status).toBe(200);
  return String(health.body.reasons);
}

test.each(cells)('$value as $column in $table is marked in lists and reported in the health until it is corrected', async (cell) => {
  const { table, row, key = 'id', column, value } = cell;
  const lists = cell.lists.filter(({ columns = [column], unless }) => columns.includes(column) && unless?.(value) !== true);
  const [first] = lists;
  if (first === undefined) throw new Error('no list shows the table');
  const where = row?.() ?? `"${key}" = '${itemsOf(await service.get(`${inUrl(first.path)}?limit=200`))[1]?.[first.key ?? 'id']}'`;
  const [stored] = await sql.run(`SELECT "${key}" AS "id" FROM "${table}" WHERE ${where}`);
  const rowId = String(stored?.['id']);
  const shown = new Map<string, unknown[]>();
  for (const { path, key: shownKey } of lists) shown.set(path, await idsByPages(inUrl(path), 'asc', shownKey ?? 'id'));
  await sql.run(`CREATE TABLE "saved" AS SELECT "${column}" AS "cell" FROM "${table}" WHERE ${where}`);
  try {
    await sql.run(`UPDATE "${table}" SET "${column}" = ${value} WHERE ${where}`);
    for (const list of lists) await expectMarked(list, { ...cell, rowId, count: shown.get(list.path)?.length ?? 0 });
    expect((await service.get('/metrics')).status).toBe(200);
    if (cell.one !== undefined)
      expect(await service.get(cell.one(rowId))).toMatchObject({ status: 500, body: { type: 'urn:patchbay:problem:damaged' } });
  } finally {
    await sql.run(`UPDATE "${table}" SET "${column}" = (SELECT "cell" FROM "saved") WHERE ${where}`);
    await sql.run('DROP TABLE "saved"');
  }
  for (const { path, key: shownKey } of lists) expect(await idsByPages(inUrl(path), 'asc', shownKey ?? 'id')).toEqual(shown.get(path));
  if (cell.one !== undefined) expect((await service.get(cell.one(rowId))).status).toBe(200);
  expect(await healthReasons()).not.toContain('stored rows are damaged');
});

/** Expects that a list marks the row in any order and page size, and returns all others. */
async function expectMarked(
  { path, key = 'id', id, kind: itsKind }: Listing,
  { kind, rowId, count }: { readonly kind: string; readonly rowId: string; readonly count: number },
): Promise<void> {
  const marked = id?.() ?? rowId;
  for (const order of ['asc', 'desc']) {
    const response = await service.get(`${inUrl(path)}?limit=200${orderOf(path, order)}`);
    expect(response.status).toBe(200);
    expect(response.body['damaged']).toEqual([{ id: marked, reason: expect.stringMatching(/./) }]);
    expect(itemsOf(response)).toHaveLength(count - 1);
    expect(await idsByPages(inUrl(path), order, key)).toHaveLength(count - 1);
  }
  expect(await healthReasons()).toContain(`${itsKind ?? kind} ${marked} (`);
}

/** Lists by name with a fixed order have no order parameter. */
const orderOf = (path: string, order: string) => (/\/builds\/|\/modules$/.test(path) && path !== '/v1/modules' ? '' : `&order=${order}`);

/** Reads a list in pages of one item. */
async function idsByPages(list: string, order: string, key: string): Promise<unknown[]> {
  const ids: unknown[] = [];
  let cursor = '';
  for (let pages = 0; pages < 200; pages += 1) {
    const response = await service.get(`${list}?limit=1${orderOf(list, order)}${cursor}`);
    expect(response.status).toBe(200);
    ids.push(...itemsOf(response).map((item) => item[key]));
    const next = response.body['next'];
    if (next === null) return ids;
    cursor = `&cursor=${String(next)}`;
  }
  throw new Error(`the list ${list} does not end`);
}
