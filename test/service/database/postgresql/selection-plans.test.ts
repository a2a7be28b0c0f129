// Query plans of selections on PostgreSQL: a page of a list reads few rows of a large fleet, whatever a selector or a group matches.

import { PrismaPg } from '@prisma/adapter-pg';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { parseLabelSelector } from '../../../../src/protocol/label-selector.ts';
import { PrismaClient } from '../../../../src/service/database/generated/postgresql/client.ts';
import { PostgresqlConnection } from '../../../../src/service/database/postgresql/connection.ts';
import { createReader, toQueryClient } from '../../../../src/service/database/reader.ts';
import { DeviceQueries } from '../../../../src/service/devices/queries.ts';
import { DeviceRecords } from '../../../../src/service/devices/repository.ts';
import { resolveCriteria } from '../../../../src/service/devices/selection.ts';
import { GroupQueries } from '../../../../src/service/groups/queries.ts';
import { GroupRecords } from '../../../../src/service/groups/repository.ts';
import { LoadQueries } from '../../../../src/service/loads/queries.ts';
import { RolloutRecords } from '../../../../src/service/rollouts/repository.ts';
import { newDatabase } from '../../../databases.ts';

const devices = 50_000;
type Query = { readonly text: string; readonly values: readonly unknown[] };
type Plan = { readonly rows: number; readonly scans: readonly string[] };

const Node = z.looseObject({
  'Node Type': z.string(),
  'Relation Name': z.string().optional(),
  'Actual Rows': z.number(),
  'Actual Loops': z.number(),
  'Rows Removed by Filter': z.number().optional(),
  get Plans() {
    return z.array(Node).optional();
  },
});
type Node = z.infer<typeof Node>;
const Explained = z.array(z.object({ 'QUERY PLAN': z.array(z.object({ Plan: Node })) }));

let database: pg.Client;
const connect = (url: string) =>
  new PrismaClient({ adapter: new PrismaPg({ connectionString: url }), log: [{ emit: 'event', level: 'query' }] });

let client: ReturnType<typeof connect>;
let queries: Query[] = [];
let connection: PostgresqlConnection;

beforeAll(async () => {
  const url = await newDatabase('');
  database = new pg.Client({ connectionString: url });
  await database.connect();
  await database.query(`
    INSERT INTO "Host" ("id", "name", "bootId", "capacity", "registeredAt") VALUES ('h', 'host', 'boot', 100000, now());
    INSERT INTO "Device" ("id", "name", "hostId", "ramPages", "createdAt")
      SELECT 'd' || n, 'device-' || lpad(n::text, 6, '0'), 'h', 16, now() - n * interval '1 second' FROM generate_series(1, ${devices}) n;
    INSERT INTO "DeviceLabel" ("deviceId", "key", "value")
      SELECT 'd' || n, 'all', 'yes' FROM generate_series(1, ${devices}) n
      UNION ALL SELECT 'd' || n, 'zone', 'zone-' || n % 10 FROM generate_series(1, ${devices}) n
      UNION ALL SELECT 'd' || n, 'few', 'yes' FROM generate_series(1, 3) n;
    INSERT INTO "Rollout" ("id", "module", "version", "plan", "state", "requestedAt", "requestedBy")
      SELECT 'r' || n, 'tcp', '1.0.0', '{}', 'completed', now(), 'key_a' FROM generate_series(0, 9) n;
    INSERT INTO "RolloutDevice" ("rolloutId", "deviceId", "position", "wave", "version", "state")
      SELECT 'r' || n % 10, 'd' || n, n, 1, '1.0.0', 'loaded' FROM generate_series(1, ${devices}) n;
    INSERT INTO "DeviceGroup" ("id", "name", "selector", "createdAt") VALUES ('grp_1', 'zones', 'zone in (zone-1,zone-2),!beta', now());
    ANALYZE;`);
  client = connect(url);
  client.$on('query', ({ query, params }) => queries.push({ text: query, values: z.array(z.unknown()).parse(JSON.parse(params)) }));
  connection = new PostgresqlConnection(
    async (query) => {
      queries.push({ text: query.text, values: query.values ?? [] });
      return database.query(query);
    },
    () => {},
  );
});
afterAll(async () => {
  await client.$disconnect();
  await database.end();
});

const nodesOf = (node: Node): Node[] => [node, ...(node.Plans ?? []).flatMap(nodesOf)];

/** Returns the number of rows that the statements of a read take from tables and indexes, and the tables that they scan completely. */
async function planOf(read: () => Promise<unknown>): Promise<Plan> {
  queries = [];
  await read();
  const nodes: Node[] = [];
  for (const { text, values } of [...queries]) {
    const { rows } = await database.query(`EXPLAIN (ANALYZE, FORMAT JSON) ${text}`, [...values]);
    nodes.push(...Explained.parse(rows).flatMap((row) => row['QUERY PLAN'].flatMap(({ Plan }) => nodesOf(Plan))));
  }
  expect(nodes.length).toBeGreaterThan(0);
  const scans = nodes.filter((node) => node['Node Type'].includes('Scan'));
  const rowsOf = (node: Node) => (node['Actual Rows'] + (node['Rows Removed by Filter'] ?? 0)) * node['Actual Loops'];
  return {
    rows: scans.reduce((sum, node) => sum + rowsOf(node), 0),
    scans: scans.filter((node) => node['Node Type'] === 'Seq Scan').map((node) => node['Relation Name'] ?? ''),
  };
}

const byTime = { sort: 'time', order: 'desc', limit: 51, after: null } as const;
const byName = { sort: 'name', order: 'asc', limit: 51, after: { name: 'device-000100' } } as const;
const lists = () => {
  const reader = createReader(toQueryClient(client), () => {});
  return { devices: new DeviceQueries(reader), groups: new GroupQueries(reader), loads: new LoadQueries(reader) };
};

test.each(['all=yes', 'zone=zone-3', 'zone in (zone-1,zone-2),!beta', 'few=yes', 'few notin (yes)', 'zone!=zone-3,all'])(
  'a page of the devices that %s matches reads few rows',
  async (text) => {
    const selector = parseLabelSelector(text);
    for (const page of [byTime, byName]) {
      const { rows, scans } = await planOf(() => lists().devices.list({ selector }, page));
      expect(scans.filter((table) => table.startsWith('Device'))).toEqual([]);
      expect(rows).toBeLessThan(5_000);
    }
  },
);

test('a group adds one indexed look-up to a page', async () => {
  const selector = parseLabelSelector('zone in (zone-1,zone-2),!beta');
  const without = await planOf(() => lists().devices.list({ selector }, byTime));
  const resolve = () => resolveCriteria(connection, { group: 'zones' });
  const withGroup = await planOf(async () => lists().devices.list({ selector: await resolve() }, byTime));
  expect(withGroup.rows).toBe(without.rows + 1);
  expect((await planOf(() => lists().groups.list(byTime))).rows).toBe(1);
});

test('the loads of matching devices are read by an index', async () => {
  for (const text of ['all=yes', 'few=yes']) {
    const { scans } = await planOf(() => lists().loads.list({ selector: parseLabelSelector(text) }, byTime));
    expect(scans.filter((table) => table.startsWith('Device'))).toEqual([]);
  }
});

test('requests read the labels that they name, and each device that matches', async () => {
  const few = await planOf(() => new DeviceRecords(connection).findMatching(parseLabelSelector('few=yes,!beta'), 10_001));
  expect(few.scans).toEqual([]);
  expect(few.rows).toBeLessThan(50);
});

test('the devices of a group are counted', async () => {
  const count = () => new GroupRecords(connection).countDevices(parseLabelSelector('zone in (zone-1,zone-2),!beta'));
  expect(await count()).toBe(devices / 5);
});

test('a page of the rollouts in a scope reads each of their devices once, and few devices of other rollouts', async () => {
  const list = (scope: string) => new RolloutRecords(connection).listInScope(parseLabelSelector(scope), {}, byTime);
  expect(await list('zone=zone-3')).toEqual(['r3']);
  const { rows } = await planOf(() => list('zone=zone-3'));
  expect(rows).toBeLessThan((3 * devices) / 10);
});
