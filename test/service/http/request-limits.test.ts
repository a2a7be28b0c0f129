// Limits of request values: every string and list in the document has one, and larger values are rejected.

import { request as httpRequest } from 'node:http';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Schemas } from '../../../src/client/client.ts';
import { newIdentifier } from '../../../src/protocol/identifiers.ts';
import { Store } from '../../../src/service/database/store.ts';
import { Agent, attached, loaded } from '../agents/agent.ts';
import { inTransaction } from '../records.ts';
import { bearer, itemsOf, TestService, workModule } from '../test-service.ts';
import { type Operation, operations, resolved, type Schema } from './fuzzing/document.ts';

const service = new TestService();
const agent = new Agent(service);
let device = '';

beforeAll(async () => {
  await service.start();
  await agent.register('host-a', ['device-1']);
  await agent.connect();
  const [order] = await agent.order('attach-device');
  if (order === undefined) throw new Error('no order');
  await agent.report(attached(order));
  [device = ''] = await service.connectedDevices(1);
  for (const version of ['1.0.0', '1.1.0']) await service.push('tcp', version, workModule(1));
});
afterAll(async () => {
  agent.disconnect();
  await service.close();
});

const isSchema = (value: unknown): value is Schema => typeof value === 'object' && value !== null && !Array.isArray(value);

/** Returns the paths in a schema whose values have no limit. */
function unlimited(schemaOrReference: Schema, path: string, seen: ReadonlySet<unknown> = new Set()): string[] {
  const reference = schemaOrReference['$ref'];
  if (reference !== undefined && seen.has(reference)) return [];
  const known = new Set([...seen, reference]);
  const schema = resolved(schemaOrReference);
  const parts = ['anyOf', 'oneOf', 'allOf'].flatMap((key) => (Array.isArray(schema[key]) ? schema[key].filter(isSchema) : []));
  const own = parts.flatMap((part) => unlimited(part, path, known));
  const { type, items, properties, additionalProperties } = schema;
  const types = [type].flat();
  if (types.includes('string') && !hasTextLimit(schema)) own.push(path);
  if (types.includes('array') && typeof schema['maxItems'] !== 'number') own.push(`${path}[]`);
  if (isSchema(items)) own.push(...unlimited(items, `${path}[]`, known));
  if (isSchema(properties))
    for (const [name, one] of Object.entries(properties)) if (isSchema(one)) own.push(...unlimited(one, `${path}.${name}`, known));
  if (isSchema(additionalProperties)) {
    if (typeof schema['maxProperties'] !== 'number') own.push(`${path}{}`);
    own.push(...unlimited(additionalProperties, `${path}{}`, known));
  }
  return own;
}

/** Returns whether a string is limited: by its length, an enumeration, or a pattern without unbounded repetition. */
function hasTextLimit({ maxLength, enum: values, const: constant, pattern, format }: Schema): boolean {
  if (typeof maxLength === 'number' || Array.isArray(values) || constant !== undefined || format === 'binary') return true;
  return typeof pattern === 'string' && pattern.endsWith('$') && !/[*+](?![^[]*\])|\{\d+,\}/.test(pattern.replaceAll(/\\./g, ''));
}

/** The server itself limits headers (16 KiB) and path parameters (1,000 characters). */
function schemasOf({ parameters, requestBody, operationId }: Operation): [string, Schema][] {
  const bodies = Object.entries(requestBody?.content ?? {}).map(([type, { schema }]): [string, Schema] => [
    `${operationId} ${type}`,
    schema,
  ]);
  return [
    ...bodies,
    ...parameters.filter((one) => one.in === 'query').map((one): [string, Schema] => [`${operationId} ?${one.name}`, one.schema]),
  ];
}

test('every string and list of a request has a limit in the document', () => {
  const places = operations.flatMap((operation) => schemasOf(operation).flatMap(([path, schema]) => unlimited(schema, path)));
  expect([...new Set(places)]).toEqual([]);
});

test('a report with a reason of megabytes is rejected with the path of the value', async () => {
  await service.post('/v1/loads', { module: 'tcp', version: '1.0.0', devices: [device] });
  const [order] = await agent.order('load');
  if (order === undefined) throw new Error('no order');
  const report = loaded(order);
  const huge: Schemas['LoadCompletedReport'] = {
    ...report,
    result: { ...report.result, outcome: 'failed', reason: 'x'.repeat(7_900_000) },
  };
  const refused = await agent.report(huge);
  expect(refused).toMatchObject({ status: 422, body: { errors: [{ in: 'body', pointer: '/reports/0/result/reason' }] } });
  const longest: Schemas['LoadCompletedReport'] = { ...report, result: { ...report.result, outcome: 'failed', reason: 'x'.repeat(1_000) } };
  expect((await agent.report(longest)).status).toBe(204);
  const [load] = itemsOf(await service.get('/v1/loads'));
  expect(load).toMatchObject({ outcome: 'failed', reason: 'x'.repeat(1_000) });
});

const largeBuild = {
  module: 'large',
  language: 'wat',
  compiler: 'none',
  sourceDigest: '',
  imageDigest: '',
  imageBytes: 0,
  pushedBy: null,
  envelope: null,
  hasState: null,
};

test('a page of large items ends at 4 MiB, and its cursor continues with the rest', async () => {
  const exports = Array.from({ length: 60 }, (_, index) => ({ name: `${index}-`.padEnd(4_000, 'n'), parameters: [], results: [] }));
  const versions = Array.from({ length: 25 }, (_, patch) => `1.0.${patch}`);
  const store = await Store.open(service.database);
  await inTransaction(store, async ({ builds }) => {
    for (const [index, version] of versions.entries())
      await builds.create({
        ...largeBuild,
        id: newIdentifier('build'),
        version,
        createdAt: new Date(index),
        interface: { exports, imports: [] },
      });
  });
  await store.close();
  const found: unknown[] = [];
  const sizes: number[] = [];
  for (let cursor: unknown = ''; cursor !== null; ) {
    const page = await service.get(`/v1/modules/large/builds?order=asc&limit=200${cursor === '' ? '' : `&cursor=${cursor}`}`);
    expect(page.status).toBe(200);
    sizes.push(JSON.stringify(page.body).length);
    found.push(...itemsOf(page).map(({ version }) => version));
    cursor = page.body.next;
  }
  expect(found).toEqual(versions);
  expect(Math.max(...sizes)).toBeLessThan(4 * 1024 * 1024 + 1_000);
  expect(sizes.length).toBe(2);
});

test.each(['berlin\r\n', 'a\tb', '\u0085', '\u007f', 'x'.repeat(64)])(
  'the label value %j is rejected in bodies and queries',
  async (value) => {
    const labels = { site: value };
    const refusals = [
      await service.post('/v1/devices', { name: 'labelled', labels }),
      await service.request('PUT', `/v1/devices/${device}/labels`, { labels }),
      await service.post('/v1/loads', { module: 'tcp', version: '1.0.0', labels }),
      await service.get(`/v1/devices?label=site=${encodeURIComponent(value)}`),
      await service.post('/agent/v1/hosts', registration(labels), bearer('join-token-of-the-tests')),
    ];
    for (const { status, body } of refusals) {
      expect(status).toBe(422);
      expect(body.detail).toContain('a label value is up to 63 characters, without line breaks');
    }
  },
);

test.each(['', ' ', 'berlin', 'a=b!=c', '"\\', '😀ß', 'x'.repeat(63)])('the label value %j is stored and found', async (value) => {
  expect((await service.request('PUT', `/v1/devices/${device}/labels`, { labels: { site: value } })).status).toBe(200);
  const found = itemsOf(await service.get(`/v1/devices?label=site=${encodeURIComponent(value)}`));
  expect(found.map(({ id, labels }) => [id, labels])).toEqual([[device, { site: value }]]);
});

const registration = (labels: Record<string, string>) => ({
  name: 'host-b',
  bootId: '44c4fa95-2050-41e1-bf02-33ee7ddd0eff',
  capacity: 1,
  devices: [{ name: 'device-b', labels, ramPages: 64 }],
});

test.each([
  ['2999-01-01T00:00:00+00:00', '2999-01-01T00:00:00.000Z'],
  ['2999-01-01T00:00:00.5-08:00', '2999-01-01T08:00:00.500Z'],
  ['2999-01-01t00:00:00z', '2999-01-01T00:00:00.000Z'],
  ['2999-01-01T00:00:00Z', '2999-01-01T00:00:00.000Z'],
])('a rollout can start at %s, which is returned in UTC', async (startAt, utc) => {
  const rollout = await service.post('/v1/rollouts', { module: 'tcp', version: '1.1.0', devices: [device], startAt, onConflict: 'queue' });
  expect(rollout).toMatchObject({ status: 202, body: { startAt: utc } });
  expect((await service.get(`/v1/rollouts/${rollout.body.id}`)).body.startAt).toBe(utc);
  expect((await service.get('/v1/rollouts')).status).toBe(200);
  await service.post(`/v1/rollouts/${rollout.body.id}/abort`, {});
});

test.each([
  '2027-01-01',
  '2027-01-01T00:00:00',
  '2027-02-30T00:00:00Z',
  '2027-06-30T23:59:60Z',
  '9999-12-31T23:59:59-01:00',
  '0001-01-01T00:00:00+00:01',
  '0000-06-01T00:00:00Z',
])('a rollout cannot start at %s', async (startAt) => {
  const rollout = await service.post('/v1/rollouts', { module: 'tcp', version: '1.0.0', devices: [device], startAt });
  expect(rollout).toMatchObject({ status: 422, body: { errors: [{ pointer: '/startAt' }] } });
});

/** Sends a request with exactly these headers. */
function send(path: string, headers: Record<string, string>, body: string | null, method = 'POST'): Promise<number> {
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest(`${service.url}${path}`, { method, headers: { ...bearer(service.key), ...headers } }, (response) => {
      response.resume();
      response.on('end', () => resolve(response.statusCode ?? 0));
    });
    outgoing.on('error', reject);
    if (body !== null) outgoing.write(body);
    outgoing.end();
  });
}

const emptyBodies: [string, Record<string, string>][] = [
  ['no Content-Type', { 'content-length': '0' }],
  ['a form', { 'content-type': 'application/x-www-form-urlencoded', 'content-length': '0' }],
  ['JSON', { 'content-type': 'application/json', 'content-length': '0' }],
  ['JSON in pieces', { 'content-type': 'application/json', 'transfer-encoding': 'chunked' }],
  ['a form in pieces', { 'content-type': 'application/x-www-form-urlencoded', 'transfer-encoding': 'chunked' }],
  ['no type in pieces', { 'transfer-encoding': 'chunked' }],
  ['a text that is no type in pieces', { 'content-type': 'garbage', 'transfer-encoding': 'chunked' }],
  ['a type without a subtype in pieces', { 'content-type': 'text/', 'transfer-encoding': 'chunked' }],
  ['an empty type in pieces', { 'content-type': '', 'transfer-encoding': 'chunked' }],
  ['an empty type', { 'content-type': '', 'content-length': '0' }],
  ['WebAssembly', { 'content-type': 'application/wasm', 'content-length': '0' }],
  ['a malformed type', { 'content-type': 'x', 'content-length': '0' }],
];

/** Operations that read no body, with an existing object for each. */
async function bodiless(): Promise<string[]> {
  const key = await service.post('/v1/keys', { name: `key-${Date.now()}-${Math.random()}`.toLowerCase(), role: 'viewer' });
  return ['/v1/audit/checkpoints', '/v1/signing-keys', `/v1/keys/${key.body.id}/revoke`];
}

test.each(emptyBodies)('an operation that reads no body accepts an empty one of %s', async (_, headers) => {
  for (const path of await bodiless())
    expect([path, await send(path, headers, null)]).toEqual([path, expect.toSatisfy((status: number) => status < 300)]);
});

/** Operations that read a body, with objects that do not exist. */
const reading = operations.flatMap(({ path, method, requestBody }) =>
  requestBody === undefined || path.startsWith('/agent/')
    ? []
    : [{ method, path: path.replace('{rollout}', newIdentifier('rollout')), isRequired: requestBody.required }],
);

test.each(emptyBodies)(
  'an empty body of %s is read as {} if the document does not require a body, and rejected otherwise',
  async (_, headers) => {
    const optional = reading.filter(({ isRequired }) => !isRequired);
    expect(optional.map(({ path }) => path.split('/').at(-1))).toEqual(['pause', 'abort']);
    // The body was read: the response is that the rollout does not exist.
    for (const { path, method } of optional) expect([path, await send(path, headers, null, method)]).toEqual([path, 404]);
    for (const { path, method, isRequired } of reading)
      if (isRequired) expect([path, await send(path, headers, null, method)]).toEqual([path, expect.toBeOneOf([400, 415, 422])]);
  },
);

test('a rollout is paused and aborted without a body, which is the same as {} for the idempotency key', async () => {
  const rollout = await service.post('/v1/rollouts', {
    module: 'tcp',
    version: '1.1.0',
    devices: [device],
    startAt: '2999-01-01T00:00:00Z',
  });
  const path = `/v1/rollouts/${rollout.body.id}`;
  const headers = { 'idempotency-key': crypto.randomUUID() };
  const paused = await service.request('POST', `${path}/pause`, undefined, headers);
  expect(paused).toMatchObject({ status: 200, body: { state: 'paused' } });
  expect(await service.request('POST', `${path}/pause`, {}, headers)).toMatchObject({ status: 200, body: paused.body });
  expect(await service.request('POST', `${path}/abort`)).toMatchObject({ status: 200, body: { state: 'aborted' } });
});

test('an unsupported media type and a missing required body are rejected', async () => {
  const [path = ''] = await bodiless();
  expect(await send(path, { 'content-type': 'application/x-www-form-urlencoded' }, 'a=1')).toBe(415);
  expect(await send(path, { 'content-type': 'garbage', 'transfer-encoding': 'chunked' }, 'a=1')).toBe(415);
  expect(await send('/v1/keys', { 'content-type': 'application/x-www-form-urlencoded', 'content-length': '0' }, null)).toBe(415);
  expect(await send('/v1/keys', { 'content-type': 'application/json', 'content-length': '0' }, null)).toBe(400);
});
