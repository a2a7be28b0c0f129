// Rows that violate their schema, for example edited by hand: lists mark them and return the rest, and the health reports them.

import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { derivePublicKey, generatePrivateKey } from '../../../src/signing/private-key.ts';
import { kind as databaseKind, openSql } from '../../databases.ts';
import { Agent, attached, loaded } from '../agents/agent.ts';
import { bearer, eventsOf, itemsOf, type TestResponse, TestService, until, workModule } from '../test-service.ts';

const service = new TestService();
const agent = new Agent(service);
const devices: string[] = [];

beforeAll(async () => {
  await service.start();
  await agent.register('host-a', ['device-1', 'device-2']);
  await agent.connect();
  const orders = await agent.order('attach-device', 2);
  await agent.report(...orders.map((order) => attached(order)));
  devices.push(...(await service.connectedDevices(2)));
  for (const version of ['1.0.0', '1.1.0']) await service.push('tcp', version, workModule(1));
});
afterAll(async () => {
  agent.disconnect();
  await service.close();
});

async function change(sql: string): Promise<void> {
  const database = await openSql(service.database);
  await database.run(sql);
  await database.close();
}

async function healthReasons(): Promise<string> {
  return String((await service.get('/v1/health')).body.reasons);
}

const idOf = ({ body }: TestResponse) => String(body['id'] ?? '');

const Accepted = z.object({ loads: z.array(z.object({ id: z.string() })) });

/** Requests a load for each device, and returns the identifiers. */
async function loadOnEach(): Promise<string[]> {
  const { body } = await service.post('/v1/loads', { module: 'tcp', version: '1.0.0', devices });
  return Accepted.parse(body).loads.map(({ id }) => id);
}

async function newPublisherKey(name: string): Promise<string> {
  return idOf(await service.post('/v1/publisher-keys', { name, publicKey: derivePublicKey(generatePrivateKey()).pem }));
}

/** Each case creates two items, damages the first, and returns its identifier. */
const cases: {
  kind: string;
  list: string;
  make: () => Promise<{ damaged: string; whole: string; sql: string; undo: string }>;
  one?: string;
}[] = [
  {
    kind: 'load',
    list: '/v1/loads',
    one: '/v1/loads',
    make: async () => {
      const [damaged = '', whole = ''] = await loadOnEach();
      const set = (strategy: string) => `UPDATE "Load" SET "strategy" = '${strategy}' WHERE "id" = '${damaged}'`;
      return { damaged, whole, sql: set('teleport'), undo: set('inject') };
    },
  },
  {
    kind: 'build',
    list: '/v1/modules/udp/builds',
    make: async () => {
      const [damaged, whole] = [
        idOf(await service.push('udp', '1.0.0', workModule(1))),
        idOf(await service.push('udp', '1.1.0', workModule(1))),
      ];
      const set = (language: string) => `UPDATE "Build" SET "language" = '${language}' WHERE "id" = '${damaged}'`;
      return { damaged, whole, sql: set('cobol'), undo: set('wat') };
    },
  },
  {
    kind: 'key',
    list: '/v1/keys',
    make: async () => {
      const keys: string[] = [];
      for (const name of ['one', 'two']) keys.push(idOf(await service.post('/v1/keys', { name, role: 'viewer' })));
      const [damaged = '', whole = ''] = keys;
      const set = (role: string) => `UPDATE "ApiKey" SET "role" = '${role}' WHERE "id" = '${damaged}'`;
      return { damaged, whole, sql: set('king'), undo: set('viewer') };
    },
  },
  {
    kind: 'signature policy',
    list: '/v1/signature-policies',
    one: '/v1/signature-policies',
    make: async () => {
      const key = await newPublisherKey('release');
      const policies: string[] = [];
      for (const name of ['first', 'second'])
        policies.push(
          idOf(await service.post('/v1/signature-policies', { name, module: 'other', labels: { a: name }, publisherKeys: [key] })),
        );
      const [damaged = '', whole = ''] = policies;
      const set = (keys: string) => `UPDATE "SignaturePolicy" SET "publisherKeys" = '${keys}' WHERE "id" = '${damaged}'`;
      return { damaged, whole, sql: set('{"a":1}'), undo: set(`["${key}"]`) };
    },
  },
  {
    kind: 'publisher key',
    list: '/v1/publisher-keys',
    make: async () => {
      const [damaged, whole] = [await newPublisherKey('third'), await newPublisherKey('fourth')];
      const listed = itemsOf(await service.get('/v1/publisher-keys?limit=200'));
      const keyId = String(listed.find(({ id }) => id === damaged)?.keyId);
      const set = (id: string) => `UPDATE "PublisherKey" SET "keyId" = '${id}' WHERE "id" = '${damaged}'`;
      return { damaged, whole, sql: set('md5:1'), undo: set(keyId) };
    },
  },
  {
    kind: 'rollout',
    list: '/v1/rollouts',
    one: '/v1/rollouts',
    make: async () => {
      const startAt = '2999-01-01T00:00:00Z';
      const rollouts: string[] = [];
      for (const device of devices)
        rollouts.push(idOf(await service.post('/v1/rollouts', { module: 'tcp', version: '1.1.0', devices: [device], startAt })));
      const [damaged = '', whole = ''] = rollouts;
      const set = (state: string) => `UPDATE "Rollout" SET "state" = '${state}' WHERE "id" = '${damaged}'`;
      return { damaged, whole, sql: set('dreaming'), undo: set('pending') };
    },
  },
];

test.each(cases)(
  'a damaged $kind is marked in its list and reported in the health until it is corrected',
  async ({ kind, list, make, one }) => {
    const { damaged, whole, sql, undo } = await make();
    await change(sql);
    const path = `${list}?limit=200`;
    const response = await service.get(path);
    expect(response.status).toBe(200);
    expect(itemsOf(response).map(({ id }) => id)).toContain(whole);
    expect(itemsOf(response).map(({ id }) => id)).not.toContain(damaged);
    expect(response.body['damaged']).toEqual([{ id: damaged, reason: expect.stringMatching(/./) }]);
    expect(await healthReasons()).toContain(`${kind} ${damaged} (`);
    if (one !== undefined) {
      const alone = await service.get(`${one}/${damaged}`);
      expect(alone).toMatchObject({ status: 500, body: { type: 'urn:patchbay:problem:damaged' } });
      expect(await healthReasons()).toContain(`${one}/${damaged}`);
    }
    await change(undo);
    const again = await service.get(path);
    expect(again.body['damaged']).toEqual([]);
    expect(itemsOf(again).map(({ id }) => id)).toContain(damaged);
    if (one !== undefined) expect((await service.get(`${one}/${damaged}`)).status).toBe(200);
    expect(await healthReasons()).not.toContain('stored rows are damaged');
  },
);

test('a damaged order does not block other orders or reports of its host', async () => {
  const [first = '', second = ''] = await loadOnEach();
  const orderOf = (load: string) =>
    until(`the order of ${load}`, async () => agent.orders.find((order) => order.kind === 'load' && order.load === load) ?? null);
  const reports = [loaded(await orderOf(first)), loaded(await orderOf(second))];
  await change(`UPDATE "AgentOrder" SET "body" = '{"kind":"dance"}' WHERE "loadId" = '${first}'`);
  // The host reconnects.
  agent.disconnect();
  await until('the stream has ended', async () => agent.ended);
  await agent.connect();
  await orderOf(second);
  expect(agent.orders.map((order) => order.kind === 'load' && order.load)).not.toContain(first);
  expect(await healthReasons()).toMatch(/stored rows are damaged: .*order ord_/);
  expect((await agent.report(...reports)).status).toBe(204);
  expect((await service.get(`/v1/loads/${second}`)).body.outcome).toBe('installed');
  expect((await service.get(`/v1/loads/${first}`)).body.outcome).toBeNull();
  // After a reboot the host registers, and continues with readable rows.
  agent.disconnect();
  agent.bootId = randomUUID();
  expect((await agent.register('host-a', [])).status).toBe(201);
});

test('the event stream skips a damaged event and continues', async () => {
  const before = Number(itemsOf(await service.get('/v1/audit?limit=1'))[0]?.number);
  for (const name of ['three', 'four', 'five']) await service.post('/v1/keys', { name, role: 'viewer' });
  await change(`UPDATE "AuditEvent" SET "outcome" = 'undecided' WHERE "number" = ${before + 2}`);
  const abort = new AbortController();
  const response = await fetch(`${service.url}/v1/events?after=${before}`, { headers: bearer(service.key), signal: abort.signal });
  const numbers: string[] = [];
  for await (const { id = '' } of eventsOf(response)) {
    numbers.push(id);
    if (numbers.length === 2) break;
  }
  abort.abort();
  expect(numbers).toEqual([String(before + 1), String(before + 3)]);
  const listed = await service.get('/v1/audit?limit=3');
  expect(listed.body.damaged).toMatchObject([{ id: String(before + 2) }]);
  expect(itemsOf(listed)).toHaveLength(2);
  await change(`UPDATE "AuditEvent" SET "outcome" = 'succeeded' WHERE "number" = ${before + 2}`);
  expect((await service.get('/v1/audit?limit=3')).body.damaged).toEqual([]);
});

const far = 9007199254740993n;
const json = "'garbage{'";

const ofModules = { driftedAt: ['driftedAt', `${far}`], loadedAt: ['loadedAt', `-${far}`] } as const;

test.runIf(databaseKind === 'sqlite').each(Object.values(ofModules))(
  'a module of a device with an undecodable %s of %s',
  async (column, value) => {
    const [device = '', other = ''] = devices;
    await change(`INSERT INTO "DeviceModule" ("deviceId", "module", "version", "imageDigest", "${column}")
    VALUES ('${device}', 'damaged', '1.0.0', 'sha256:0', ${value})`);
    const health = await service.get('/v1/health');
    expect(health.status).toBe(200);
    expect((await service.get('/metrics')).status).toBe(200);
    const listed = await service.get('/v1/devices?limit=200');
    expect(listed.status).toBe(200);
    expect(itemsOf(listed).map(({ id }) => id)).toContain(other);
    if (column === 'driftedAt') {
      expect(listed.body.damaged).toMatchObject([{ id: device }]);
      expect(await healthReasons()).toContain(`device ${device} (`);
    }
    await change(`DELETE FROM "DeviceModule" WHERE "module" = 'damaged'`);
    expect((await service.get('/v1/devices?limit=200')).body.damaged).toEqual([]);
  },
);

test.runIf(databaseKind === 'sqlite').each([
  ['at', '9007199254740993'],
  ['detail', json],
])('an export names an audit event whose %s is %s by its number, and continues after it', async (column, value) => {
  const number = Number(itemsOf(await service.get('/v1/audit?limit=3'))[2]?.number);
  await change(`CREATE TABLE "saved" AS SELECT "${column}" AS "cell" FROM "AuditEvent" WHERE "number" = ${number}`);
  await change(`UPDATE "AuditEvent" SET "${column}" = ${value} WHERE "number" = ${number}`);
  const response = await fetch(`${service.url}/v1/audit/export`, { headers: bearer(service.key) });
  const lines = (await response.text()).trim().split('\n').slice(1);
  await change(`UPDATE "AuditEvent" SET "${column}" = (SELECT "cell" FROM "saved") WHERE "number" = ${number}`);
  await change('DROP TABLE "saved"');
  const numbers = lines.map((line) => z.object({ number: z.number() }).parse(JSON.parse(line)).number);
  expect(numbers).toEqual(Array.from({ length: number + 2 }, (_, index) => index + 1));
  expect(JSON.parse(lines[number - 1] ?? '')).toMatchObject({ number, unreadable: expect.stringMatching(/./) });
});
