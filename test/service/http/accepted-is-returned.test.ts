// Whatever one operation or agent call accepts, every operation that returns it responds with 2xx and a documented body: requests and reports are made from
// the schemas of the document, and all objects are read after each call.

import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { labelPatterns } from '../../../src/protocol/label-rules.ts';
import { derivePublicKey, generatePrivateKey } from '../../../src/signing/private-key.ts';
import { randomCases } from '../../random-cases.ts';
import { Agent, attached, state } from '../agents/agent.ts';
import { bearer, itemsOf, joinToken, type TestResponse, TestService, workModule } from '../test-service.ts';
import { documentedBody, type Operation, operations, resolved, type Schema } from './fuzzing/document.ts';
import { type Known, validValue } from './fuzzing/values.ts';

/** Maximum rounds of calls of one operation until one is accepted. */
const roundsForEach = 30;

const service = new TestService();
const agent = new Agent(service);
const devices: string[] = [];
/** The build as reported by a device. */
const inMemory = { module: 'tcp', version: '1.0.0', image: '', address: '0x1000', referenceCount: 0 };
/** Generators for properties by name. */
const known = new Map<string, unknown[]>();

beforeAll(async () => {
  await service.start();
  agent.capabilities = ['unload-module'];
  await agent.register('host-a', ['device-1', 'device-2', 'device-3']);
  await agent.connect();
  const orders = await agent.order('attach-device', 3);
  await agent.report(...orders.map((order) => attached(order)));
  devices.push(...(await service.connectedDevices(3)));
  for (const version of ['1.0.0', '1.1.0-rc.1+b.2']) await service.push('tcp', version, workModule(1));
  await service.push('udp', '1.0.0', workModule(1));
  const { body } = await service.get('/v1/modules/tcp/builds/1.0.0');
  inMemory.image = z.object({ image: z.object({ digest: z.string() }) }).parse(body).image.digest;
  const { pem } = derivePublicKey(generatePrivateKey());
  const key = await service.post('/v1/publisher-keys', { name: 'release', publicKey: pem });
  for (const device of devices) await agent.report({ kind: 'device-state', device, state: { ...state(), moduleTable: [inMemory] } });
  known.set('device', devices);
  known.set('devices', devices);
  known.set('module', ['tcp']);
  known.set('version', ['1.0.0', '1.1.0-rc.1+b.2']);
  known.set('publisherKey', [key.body.id]);
});
afterAll(async () => {
  agent.disconnect();
  await service.close();
});

function operationOf(operationId: string): Operation {
  const operation = operations.find((one) => one.operationId === operationId);
  if (operation === undefined) throw new Error(`the document has no operation ${operationId}`);
  return operation;
}

/** Bodies that the document allows for an operation, adapted to rules that the schema cannot express. */
function bodiesOf(operationId: string, fixed: Readonly<Record<string, fc.Arbitrary<unknown>>> = {}): fc.Arbitrary<Record<string, unknown>> {
  const schema = resolved(operationOf(operationId).requestBody?.content['application/json']?.schema ?? {});
  return fc.tuple(validValue(schema, '', known), fc.record(fixed)).map(([body, members]) => coherent({ ...toObject(body), ...members }));
}

const toObject = (value: unknown): object => (typeof value === 'object' && value !== null ? value : {});
/** Removes members that must be omitted, and those that depend on absent members. */
function coherent(object: Record<string, unknown>): Record<string, unknown> {
  const { strategy = 'inject', versionPolicy = 'newer', role } = object;
  const isDowngrade = versionPolicy === 'downgrade';
  const isOut = (name: string, value: unknown) =>
    value === undefined || (name === 'drainMilliseconds' && strategy === 'inject') || (name === 'downgradeReason' && !isDowngrade);
  const kept = Object.fromEntries(Object.entries(object).filter(([name, value]) => !isOut(name, value)));
  const { host: _, ...withoutHost } = kept;
  return {
    ...(role === undefined || role === 'agent' ? kept : withoutHost),
    ...(isDowngrade && kept['downgradeReason'] === undefined ? { downgradeReason: 'why' } : {}),
    ...(role === 'agent' && kept['host'] === undefined ? { host: 'host-z' } : {}),
  };
}

/** All GET operations that need only a path; identifiers such as `{device}` come from the lists read before. */
async function readEverything(): Promise<void> {
  const ids = new Map<string, string[]>([
    ['device', devices],
    ['module', ['tcp', 'named']],
  ]);
  const reads = operations.filter(
    ({ method, responses, path }) => method === 'GET' && hasJson(responses['200']?.content) && !path.startsWith('/agent/'),
  );
  for (const operation of reads.toSorted((left, right) => left.path.split('/').length - right.path.split('/').length))
    for (const path of pathsOf(operation, ids)) {
      const response = await service.get(path);
      checkResponse(operation, path, response);
      if (response.status === 200 && Array.isArray(response.body['items'])) {
        expect([path, response.body['damaged']]).toEqual([path, []]);
        noteItems(operation, response, ids);
      }
    }
}

const hasJson = (content: object | undefined) => Object.keys(content ?? {}).some((type) => type.startsWith('application/json'));

/** The path parameters that the items of a list provide. */
const names: Readonly<Record<string, readonly [parameter: string, property: string]>> = {
  listLoads: ['load', 'id'],
  listRollouts: ['rollout', 'id'],
  listKeys: ['key', 'id'],
  listPublisherKeys: ['publisherKey', 'id'],
  listSignaturePolicies: ['signaturePolicy', 'id'],
  listChannels: ['channel', 'id'],
  listAssignments: ['assignment', 'id'],
  listWebhooks: ['webhook', 'id'],
  listBuilds: ['version', 'version'],
  listPatchSets: ['patchSet', 'id'],
  listPrograms: ['program', 'id'],
  listCheckpoints: ['size', 'size'],
};

function noteItems({ operationId }: Operation, response: TestResponse, ids: Map<string, string[]>): void {
  const [parameter, property] = names[operationId] ?? [];
  if (parameter === undefined || property === undefined) return;
  const found = itemsOf(response).map((item) => String(item[property]));
  // The newest items were just created.
  ids.set(parameter, [...new Set([...found.slice(0, 3), ...(ids.get(parameter) ?? [])])].slice(0, 6));
}

/** Paths of an operation with each known identifier, with the maximum page size. */
function pathsOf({ path, parameters, operationId }: Operation, ids: ReadonlyMap<string, readonly string[]>): string[] {
  let paths = [path];
  for (const [, name = ''] of path.matchAll(/\{(\w+)\}/g))
    paths = paths.flatMap((one) => (ids.get(name) ?? []).map((id) => one.replace(`{${name}}`, encodeURIComponent(id))));
  const query = parameters.some(({ name }) => name === 'limit') ? '?limit=200' : operationId === 'getAuditProof' ? '?event=1' : '';
  return paths.map((one) => `${one}${query}`);
}

/** Expects a documented 2xx response, or 404 for a pair of unrelated identifiers. */
function checkResponse(operation: Operation, path: string, { status, headers, body }: TestResponse): void {
  const notified = `${operation.method} ${path}: ${JSON.stringify(body).slice(0, 1_000)}`;
  if (status === 404 && (path.match(/\{/g) ?? operation.path.match(/\{/g) ?? []).length > 1) return;
  expect([status >= 200 && status < 300, notified]).toEqual([true, notified]);
  const documented = documentedBody(operation, status, (headers.get('content-type') ?? '').split(';')[0] ?? '');
  if (documented === null || documented === 'no body') throw new Error(`the document has no response ${status} with a body: ${notified}`);
  expect([documented.safeParse(body).error?.message, notified]).toEqual([undefined, notified]);
}

type Call = { readonly operationId: string; readonly send: () => Promise<TestResponse> };

/** Generates requests of an operation, with bodies that the document allows. */
const posts = (operationId: string, path: string, bodies: fc.Arbitrary<unknown>, method = 'POST'): fc.Arbitrary<Call> =>
  bodies.map((body) => ({ operationId, send: () => service.request(method, path, body) }));

let made = 0;
/** Returns a unique name. */
const newName = fc.constant(null).map(() => {
  made += 1;
  return `n-${made}`;
});
const labels = fc.dictionary(
  fc.stringMatching(new RegExp(`^${labelPatterns.key}$`)),
  fc.stringMatching(new RegExp(`^${labelPatterns.value}$`)),
  { maxKeys: 4 },
);
const oneDevice = fc.constantFrom(...[0, 1, 2]).map((index) => [devices[index]]);

/** A module with an export of any name. */
const anyName = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 40 }),
  fc.string({ unit: 'binary', maxLength: 40 }).map((text) => text.toWellFormed()),
  fc.constantFrom('', '__proto__', 'constructor', 'n'.repeat(143), 'n'.repeat(4_096), 'n'.repeat(4_097), '\0', 'x'.repeat(129)),
);
const quoted = (name: string) => `"${Array.from(Buffer.from(name), (byte) => `\\${byte.toString(16).padStart(2, '0')}`).join('')}"`;
const anyVersion = fc.oneof(
  fc.tuple(fc.nat(99), fc.nat(99), fc.nat(99)).map((numbers) => numbers.join('.')),
  fc.constantFrom(
    'next-major',
    'next-minor',
    'next-patch',
    '__proto__',
    'constructor',
    '1.0.0-rc.1',
    '1.0.0+b1',
    '9007199254740991.0.0',
    '1.0.0 ',
  ),
  fc.string({ maxLength: 20 }),
);
const build = fc.record({ version: anyVersion, name: anyName }).map(({ version, name }) => ({
  version,
  language: 'wat',
  source: `(module (func $f (param i32) (result i32) (local.get 0)) (export ${quoted(name)} (func $f)))`,
}));

/** Times until a year, with any offset. */
const momentsUntil = (year: string) =>
  fc
    .tuple(
      fc.date({ noInvalidDate: true, min: new Date('0001-01-01'), max: new Date(year) }),
      fc.constantFrom('Z', '+00:00', '-23:59', '+14:00'),
    )
    .map(([date, offset]) => date.toISOString().replace('Z', offset));
const moment = momentsUntil('9999-12-31');
/** The time of a state. */
const past = momentsUntil('2026-01-01');

/** Calls that create objects, by operation. */
const kinds: Readonly<Record<string, () => fc.Arbitrary<Call>>> = {
  createBuild: () => posts('createBuild', '/v1/modules/named/builds', build),
  createPatchSet: () =>
    posts(
      'createPatchSet',
      '/v1/patch-sets',
      fc.record({
        name: fc.stringMatching(/^[a-z][a-z0-9_-]{0,62}$/),
        version: anyVersion,
        builds: fc.constantFrom('1.0.0', '1.1.0-rc.1+b.2').map((version) => [
          { module: 'tcp', version },
          { module: 'udp', version: '1.0.0' },
        ]),
      }),
    ),
  createDevice: () =>
    posts('createDevice', '/v1/devices', bodiesOf('createDevice', { name: newName, labels, host: fc.constant(undefined) })),
  replaceDeviceLabels: () =>
    fc.nat(2).chain((index) => posts('replaceDeviceLabels', `/v1/devices/${devices[index]}/labels`, fc.record({ labels }), 'PUT')),
  createLoads: () =>
    posts(
      'createLoads',
      '/v1/loads',
      bodiesOf('createLoads', {
        module: fc.constant('tcp'),
        version: fc.constantFrom('1.0.0', '1.1.0-rc.1+b.2'),
        patchSet: fc.constant(undefined),
        devices: oneDevice,
        labels: fc.constant(undefined),
        selector: fc.constant(undefined),
      }),
    ),
  createUnloads: () =>
    posts(
      'createUnloads',
      '/v1/unloads',
      bodiesOf('createUnloads', {
        module: fc.constant('tcp'),
        devices: oneDevice,
        labels: fc.constant(undefined),
        selector: fc.constant(undefined),
      }),
    ),
  createRollout: () =>
    fc.oneof(
      posts('createRollout', '/v1/rollouts', bodiesOf('createRollout', rolloutMembers)),
      posts('createRollout', '/v1/rollouts', fc.record({ ...plainRollout, startAt: moment })),
    ),
  createKey: () => posts('createKey', '/v1/keys', bodiesOf('createKey', { name: newName })),
  createPublisherKey: () => posts('createPublisherKey', '/v1/publisher-keys', fc.record({ name: newName, publicKey: newPublicKey })),
  createSignaturePolicy: () => posts('createSignaturePolicy', '/v1/signature-policies', bodiesOf('createSignaturePolicy', policyMembers)),
  startProgram: () =>
    fc.nat(2).chain((index) => posts('startProgram', `/v1/devices/${devices[index]}/programs`, bodiesOf('startProgram', programMembers))),
  registerHost: () => registrations,
  sendReports: () => fc.oneof(reports(), orderReports()),
};
const anyCall = () => fc.oneof(...Object.values(kinds).map((kind) => kind()));
/** Returns a unique public key. */
const newPublicKey = fc.constant(null).map(() => derivePublicKey(generatePrivateKey()).pem);

const plainRollout = {
  module: fc.constant('tcp'),
  version: fc.constant('1.1.0-rc.1+b.2'),
  devices: oneDevice,
  onConflict: fc.constant('queue'),
};
const rolloutMembers = {
  runningVersion: fc.constantFrom(undefined, '>=0.0.1', '1.x || 2.x'),
  ...plainRollout,
  labels: fc.constant(undefined),
  selector: fc.constant(undefined),
  waves: fc.constant(undefined),
  dynamic: fc.constant(false),
  dynamicUntil: fc.constant(undefined),
};
const policyMembers = {
  name: newName,
  module: fc.constant('other'),
  device: fc.constant(undefined),
  // No group exists: a policy of one would never be accepted.
  group: fc.constant(undefined),
  labels: labels.filter((one) => Object.keys(one).length > 0),
  threshold: fc.constant(1),
};
const programMembers = {
  module: fc.constant('tcp'),
  export: fc.constantFrom('work', 'work', 'work', ''),
  arguments: fc.tuple(fc.constantFrom(7, '7', -1, 'x')),
};

const registrations = fc.record({ name: newName, device: newName, labels, ramPages: fc.integer({ min: 15, max: 65_537 }) }).map(
  ({ name, device, labels: given, ramPages }): Call => ({
    operationId: 'registerHost',
    send: () => {
      const registration = { name, bootId: agent.bootId, capacity: 10, devices: [{ name: device, labels: given, ramPages }] };
      return service.post('/agent/v1/hosts', registration, bearer(joinToken));
    },
  }),
);

function schemaNamed(name: string): Schema {
  return { $ref: `#/components/schemas/${name}` };
}

/** States that the document allows, with any numbers, names and times. */
const states = () => validValue(schemaNamed('DeviceState'), 'state', new Map<string, unknown[]>() as Known);

/** Assigns sequence numbers in order of arrival: a high one would make the service ignore later states. */
const unordered = { sequence: undefined };

function reports(): fc.Arbitrary<Call> {
  return fc.record({ index: fc.nat(2), state: states(), at: fc.option(past, { freq: 1 }) }).map(({ index, state, at }) => ({
    operationId: 'sendReports',
    send: () => {
      const now = { at: new Date().toISOString(), moduleTable: [inMemory] };
      const timed = { ...toObject(state), ...unordered, ...(at === null ? now : { at }) };
      return agent.reportRaw({ kind: 'device-state', device: devices[index], state: withLatencies(timed) });
    },
  }));
}

/** Adapts a histogram to rules that the schema cannot express: ascending bounds, with a count each. */
function withLatencies(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withLatencies);
  if (typeof value !== 'object' || value === null) return value;
  if (!('microseconds' in value && 'calls' in value && Array.isArray(value.microseconds) && Array.isArray(value.calls)))
    return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, withLatencies(member)]));
  const bounds = [...new Set(value.microseconds.map(Number))].toSorted((left, right) => left - right).slice(0, value.calls.length);
  return { microseconds: bounds, calls: value.calls.slice(0, bounds.length) };
}

/** Reports that settle an order, with any result. */
function orderReports(): fc.Arbitrary<Call> {
  const results = validValue(schemaNamed('LoadReport'), 'result', new Map<string, unknown[]>() as Known);
  return fc
    .record({ state: states(), result: results, failure: fc.option(fc.string({ maxLength: 1_001 })) })
    .map(({ state, result, failure }) => ({
      operationId: 'sendReports',
      send: async () => {
        const order = agent.orders.shift();
        if (order === undefined) return agent.heartbeat();
        const report = {
          order: order.order,
          device: order.device,
          state: withLatencies({ ...toObject(state), ...unordered, at: new Date().toISOString(), moduleTable: [inMemory] }),
        };
        switch (order.kind) {
          case 'load':
          case 'load-patch-set':
          case 'unload-module':
            return agent.reportRaw({ ...report, kind: 'load-completed', load: order.load, result });
          case 'attach-device':
            return agent.reportRaw({ ...report, kind: 'device-attached', failure });
          case 'detach-device':
            return agent.reportRaw({ ...report, kind: 'device-detached', failure });
          case 'start-program':
            return agent.reportRaw({ ...report, kind: 'program-started', program: order.program, failure });
          case 'stop-program':
            return agent.reportRaw({ ...report, kind: 'program-stopped', program: order.program, failure });
          case 'inject-load':
            return agent.reportRaw({ ...report, kind: 'load-injected', load: order.load, failure });
          case 'cancel-load':
            return agent.reportRaw({ ...report, kind: 'load-cancelled', load: order.load, failure });
        }
      },
    }));
}

test('every accepted value can be read by every operation that returns it', { timeout: 540_000 }, async () => {
  const accepted = new Map<string, number>();
  const check = (calls: fc.Arbitrary<Call>, atOnce: number, numRuns: number) =>
    fc.assert(
      fc.asyncProperty(fc.array(calls, { minLength: atOnce, maxLength: atOnce }), async (some) => {
        for (const { operationId, send } of some) {
          const { status, body } = await send();
          expect([operationId, status < 500 || body]).toEqual([operationId, true]);
          if (status < 300) accepted.set(operationId, (accepted.get(operationId) ?? 0) + 1);
        }
        await readEverything();
      }),
      { numRuns, endOnFailure: true },
    );
  // First each operation until it was accepted, so that the property covers it.
  for (const [operationId, kind] of Object.entries(kinds))
    for (let round = 0; round < roundsForEach && !accepted.has(operationId); round += 1) await check(kind(), 4, 1);
  expect(Object.keys(kinds).filter((operationId) => !accepted.has(operationId))).toEqual([]);
  await check(anyCall(), 24, randomCases(10));
  expect(String((await service.get('/v1/health')).body.reasons)).not.toContain('damaged');
});
