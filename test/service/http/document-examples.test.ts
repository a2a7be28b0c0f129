// The examples of the OpenAPI document: complete, valid, and consistent with the service.

import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { Envelope } from '../../../src/proof/envelope.ts';
import { Store } from '../../../src/service/database/store.ts';
import { ParkedEventRecords } from '../../../src/service/webhooks/repository.ts';
import { signEnvelope } from '../../../src/signing/envelope-signing.ts';
import { derivePublicKey, generatePrivateKey } from '../../../src/signing/private-key.ts';
import { startDrain } from '../agents/agent.ts';
import { TestProvider } from '../sign-in/test-provider.ts';
import { bearer, firstOf, itemsOf, joinToken, type TestResponse, TestService, until } from '../test-service.ts';
import type { RequestSchema } from '../typed-paths.ts';
import {
  documentText,
  examplesOf,
  type Operation,
  operations,
  type Parameter,
  resolved,
  type Schema,
  validatorOf,
} from './fuzzing/document.ts';

const Json = z.record(z.string(), z.unknown());
const isObject = (value: unknown): value is Record<string, unknown> => Json.safeParse(value).success;
const isList = (value: unknown): value is unknown[] => Array.isArray(value);

/** Returns the success responses of an operation with a JSON body. */
function successes({ responses }: Operation): { status: number; schema: Schema }[] {
  return Object.entries(responses).flatMap(([status, { content }]) => {
    const schema = content?.['application/json']?.schema;
    return status.startsWith('2') && schema !== undefined ? [{ status: Number(status), schema }] : [];
  });
}

/** A maintenance window. */
const always = {
  days: ['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday'],
  from: '00:00',
  until: '00:00',
  timeZone: 'UTC',
};

const bodiesOf = (operation: Operation) => Object.values(operation.requestBody?.content ?? {}).flatMap(examplesOf);

describe.each(operations)('$operationId', (operation) => {
  test('every body, response and parameter has an example', () => {
    const without = [
      ...(operation.requestBody === undefined || bodiesOf(operation).length > 0 ? [] : ['the body of the request']),
      ...successes(operation).flatMap(({ status, schema }) => (examplesOf({ schema }).length > 0 ? [] : [`the response ${status}`])),
      ...operation.parameters.flatMap((parameter) => (examplesOf(parameter).length > 0 ? [] : [`the parameter ${parameter.name}`])),
    ];
    expect(without, 'to be mended with .meta({ examples: […] }) of their zod schemas').toEqual([]);
  });

  test('the examples have exactly the properties of a response', () => {
    const wrong = successes(operation).flatMap(({ schema }) =>
      examplesOf({ schema }).flatMap((example) => unlike(schema, example, 'example')),
    );
    expect(wrong).toEqual([]);
  });

  test('the service accepts its examples and responds as they show', async () => {
    const bodies = bodiesOf(operation);
    for (const body of bodies.length === 0 ? [undefined] : bodies) {
      const asked = await ask(
        operation,
        operation.parameters.filter(({ name }) => name !== 'cursor'),
        isObject(body) ? { ...body, ...(await ownBodies[operation.operationId]?.()) } : body,
      );
      const response = asked.body;
      const success = successes(operation).find(({ status }) => status === asked.status);
      if (success === undefined) continue;
      expect(validatorOf(success.schema).safeParse(response).error).toBeUndefined();
      expect(unlike(success.schema, response, 'response')).toEqual([]);
      // An example of a list must contain items.
      for (const list of [response['items'], response['orders']]) if (isList(list)) expect(list).not.toEqual([]);
    }
    await askForNext(operation);
  });
});

/** Cursors in examples only show the format. */
async function askForNext(operation: Operation): Promise<void> {
  const cursor = operation.parameters.find(({ name }) => name === 'cursor');
  if (cursor === undefined) return;
  const asked = operation.parameters.filter(({ name, required }) => required || name === 'limit');
  real.set('query limit', '1');
  const { next } = (await ask(operation, asked, undefined)).body;
  real.delete('query limit');
  if (next === null) return;
  real.set('query cursor', String(next));
  await ask(operation, [...asked, cursor], undefined);
}

test('every example of the document matches its schema', () => {
  const found = [...examplesIn(JSON.parse(documentText), '')];
  const wrong = found.flatMap(({ schema, example, pointer }) => {
    const { error } = validatorOf(schema).safeParse(example);
    return error === undefined ? [] : [`${pointer}: ${JSON.stringify(example)}: ${error.message}`];
  });
  expect(wrong).toEqual([]);
  expect(found.length).toBeGreaterThan(operations.length);
});

/** Returns every example of the document, in schemas, parameters and bodies. */
function* examplesIn(value: unknown, pointer: string): Generator<{ schema: Schema; example: unknown; pointer: string }> {
  if (isList(value)) for (const [index, item] of value.entries()) yield* examplesIn(item, `${pointer}/${index}`);
  if (!isObject(value)) return;
  const { example, examples, ...rest } = value;
  const { schema } = rest;
  if (isList(examples)) for (const one of examples) yield { schema: rest, example: one, pointer };
  if (isObject(schema) && example !== undefined) yield { schema, example, pointer };
  if (isObject(schema) && isObject(examples))
    for (const one of Object.values(examples)) yield { schema, example: Json.parse(one)['value'], pointer };
  for (const [name, inner] of Object.entries(rest)) yield* examplesIn(inner, `${pointer}/${name}`);
}

/** Optional properties that only reports of patch sets or unloads have: the example is the report of a build. */
const ofOtherLoads = new Set(['members', 'module', 'forceReason', 'beforeUnload']);

/**
 * Returns the properties in which a value differs from its schema. Schemas of responses accept further properties, so validation alone does not find
 * them. An example also has every optional property.
 */
function unlike(schemaOrReference: Schema, value: unknown, kind: 'example' | 'response', pointer = ''): string[] {
  const schema = resolved(schemaOrReference);
  const variants = [schema['anyOf'], schema['oneOf']].find(isList)?.filter(isObject);
  if (variants !== undefined) {
    const variant = variants.find((one) => validatorOf(one).safeParse(value).success);
    return variant === undefined ? [`${pointer} is none of its kinds`] : unlike(variant, value, kind, pointer);
  }
  const { properties, required, additionalProperties, items } = schema;
  const isOptional = (name: string) => !(isList(required) && required.includes(name));
  const mayLack = (name: string) => isOptional(name) && (kind === 'response' || ofOtherLoads.has(name));
  if (isList(value)) return isObject(items) ? value.flatMap((item, index) => unlike(items, item, kind, `${pointer}/${index}`)) : [];
  if (!isObject(value)) return [];
  const entries = Object.entries(value);
  if (isObject(properties)) {
    const names = new Set([...Object.keys(properties), ...Object.keys(value)]);
    return [...names].flatMap((name) => {
      const property = properties[name];
      if (!isObject(property)) return [`${pointer}/${name} is not in the schema`];
      if (name in value) return unlike(property, value[name], kind, `${pointer}/${name}`);
      return mayLack(name) ? [] : [`${pointer}/${name} is missing`];
    });
  }
  return isObject(additionalProperties)
    ? entries.flatMap(([name, one]) => unlike(additionalProperties, one, kind, `${pointer}/${name}`))
    : [];
}

const service = new TestService();
/** Parameter values, by location and name, that replace identifiers of examples. */
const real = new Map<string, string>();
let silentDevice = '';
/** A program with a stale address of an old version. */
let holder = '';
let provider: TestProvider;

/** Parameter values of single operations; null omits the parameter. */
const needs: Readonly<Record<string, () => Promise<Readonly<Record<string, string | null>>>>> = {
  // A queued load: the host of its device is not connected.
  cancelLoad: async () => {
    const { loads } = succeeded(await service.post('/v1/loads', { module: 'tcp', version: '1.0.0', devices: [silentDevice] }));
    return { 'path load': String(Json.array().parse(loads)[0]?.['id']) };
  },
  injectLoad: async () => ({ 'path load': await startDrain(service, '1.0.0') }),
  // The devices have the newer of two versions, whatever was requested before.
  listDevicesOfBuild: loadNewer,
  rollBackModule: loadNewer,
  createRollback: loadNewer,
  // Only one of the alternative filters.
  getAuditProof: async () => ({ 'query from': null }),
  // A separate object, because it is removed.
  revokePublisherKey: async () => ({ 'path publisherKey': await registerPublisher('to-be-revoked', generatePrivateKey()) }),
  deleteBuild: async () => {
    succeeded(await service.push('unused', '1.0.0', busyModule));
    return { 'path module': 'unused', 'path version': '1.0.0' };
  },
  // The devices have this version or a newer one.
  retryLoadBatch: async () => {
    await loadNewer();
    const loads = await service.load('tcp', '1.0.0', await north());
    return { 'path batch': String(loads[0]?.batch) };
  },
  deleteGroup: async () => ({ 'path group': await createGroup('to-be-removed') }),
  deleteChannel: async () => ({ 'path channel': await createChannel('to-be-removed') }),
  deleteAssignment: async () => ({ 'path assignment': await createAssignment('to-be-removed') }),
  withdrawPromotion: async () => ({ 'path promotion': await promote('1.0.0') }),
  deleteSignaturePolicy: async () => ({ 'path signaturePolicy': await demand('to-be-removed') }),
  deleteWebhook: async () => ({ 'path webhook': await createWebhook('to-be-removed') }),
  renameDevice: async () => ({ 'path device': (await registerScrap('renamed-device')).device }),
  getHost: async () => ({ 'path host': (await registerScrap('read')).host }),
  renameHost: async () => ({ 'path host': (await registerScrap('renamed-host')).host }),
  decommissionDevice: async () => ({ 'path device': (await registerScrap('device')).device }),
  moveDevice: async () => ({ 'path device': (await registerScrap('moved')).device }),
  moveDevicesOfHost: async () => ({ 'path host': (await registerScrap('left')).host }),
  decommissionDevices: async () => {
    await registerScrap('devices');
    return {};
  },
  decommissionHost: async () => ({ 'path host': (await registerScrap('host')).host }),
  listAbiViolations: async () => ({ 'query program': holder }),
  createRollout: async () => load('1.0.0'),
  listPatchSets: async () => ({ 'query name': exampleSet().name, 'query version': exampleSet().version, 'query module': 'udp' }),
  listRollouts: async () => ({ 'query state': 'pending' }),
  listRolloutDevices: async () => ({ 'query state': 'waiting' }),
  pauseRollout: async () => ({ 'path rollout': await roll(later) }),
  abortRollout: async () => ({ 'path rollout': await roll(later) }),
  resumeRollout: async () => {
    const rollout = await roll(later);
    succeeded(await service.post(`/v1/rollouts/${rollout}/pause`, {}));
    return { 'path rollout': rollout };
  },
  closeRollout: async () => ({ 'path rollout': await roll({ ...later, labels: { zone: 'nowhere' }, dynamic: true }) }),
  approveWave: async () => {
    await endRollouts();
    const rollout = await roll({ waves: [{ upToPercent: 100, approval: true }] });
    return { 'path rollout': await untilIs(rollout, 'awaiting-approval') };
  },
  // The devices refuse it, because they have a newer version.
  retryFailedLoads: async () => {
    await endRollouts();
    await loadNewer();
    return { 'path rollout': await untilIs(await roll({ version: '1.0.0', devices: await north(), versionPolicy: 'newer' }), 'paused') };
  },
  rollBackRollout: async () => {
    await endRollouts();
    await load('1.0.0');
    const version = String(exampleOf('createBuild')['version']);
    // The program keeps a stale address.
    const thresholds = { abiViolations: null, failedCallsPercent: null };
    return {
      'path rollout': await untilIs(await roll({ version, devices: await north(), soakSeconds: 0, thresholds }), 'completed'),
    };
  },
};

/** Registers a host with one device, to be read, renamed, moved or decommissioned. */
async function registerScrap(name: string): Promise<{ readonly host: string; readonly device: string }> {
  const capabilities = ['detach-device'];
  const devices = [{ name: `scrap-${name}`, labels: { zone: 'scrap' }, ramPages: 16 }];
  const { host } = succeeded(
    await service.post(
      '/agent/v1/hosts',
      { name: `scrap-${name}`, bootId: `boot-of-${name}`, capacity: 1, capabilities, devices },
      bearer(joinToken),
    ),
  );
  return { host: String(host), device: String(itemsOf(await service.get(`/v1/devices?host=${host}`))[0]?.id) };
}

/** A rollout that starts in a later year, on a device without a host. */
const later = { startAt: '2100-01-01T00:00:00.000Z' };

/** Ends conflicting rollouts. */
async function endRollouts(): Promise<void> {
  for (const { id, state } of itemsOf(await service.get('/v1/rollouts?limit=200')))
    if (['pending', 'running', 'awaiting-approval', 'paused'].includes(String(state)))
      succeeded(await service.post(`/v1/rollouts/${id}/abort`, {}));
}

async function roll(body: Partial<RequestSchema<'NewRollout'>>): Promise<string> {
  const selection = 'labels' in body || 'devices' in body ? {} : { devices: [silentDevice] };
  const defaults: RequestSchema<'NewRollout'> = {
    module: 'tcp',
    version: '1.0.0',
    versionPolicy: 'different',
    onConflict: 'queue',
    ...selection,
  };
  return String(succeeded(await service.post('/v1/rollouts', { ...defaults, ...body })).id);
}

async function untilIs(rollout: string, state: string): Promise<string> {
  await until(`the rollout is ${state}`, async () => (await service.get(`/v1/rollouts/${rollout}`)).body.state === state);
  return rollout;
}

async function load(version: string): Promise<Readonly<Record<string, string>>> {
  const devices = await north();
  await service.load('tcp', version, devices, { versionPolicy: 'different' });
  return {};
}

/** The devices of the host that executes orders. */
const north = async () => itemsOf(await service.get('/v1/devices?host=north&status=connected')).map(({ id }) => id);

async function loadNewer(): Promise<Readonly<Record<string, string>>> {
  const devices = await north();
  await service.load('tcp', String(exampleOf('createBuild')['version']), devices);
  return {};
}

/** Bodies that replace those of examples, which refer to keys that do not exist. */
const ownBodies: Readonly<Record<string, () => Promise<object>>> = {
  approveWave: async () => ({ wave: 1 }),
  moveDevice: async () => ({ host: 'north' }),
  moveDevicesOfHost: async () => ({ host: 'north' }),
  decommissionDevices: async () => ({ labels: { zone: 'scrap' } }),
  // It conflicts with other rollouts.
  createRollout: async () => ({ startAt: later.startAt, onConflict: 'queue' }),
  editDeviceLabels: async () => ({ selector: 'zone=north' }),
  // Always open, so that the other examples can load.
  replaceGroup: async () => ({ name: 'replaced', selector: 'zone=north', maintenanceWindows: [always] }),
  replaceChannel: async () => ({ name: 'replaced', description: 'another text' }),
  createAssignment: async () => ({ ...story(), mode: 'report' }),
  replaceAssignment: async () => ({ name: 'replaced', ...story(), mode: 'report' }),
  createSignaturePolicy: async () => ({ publisherKeys: [real.get('path publisherKey')] }),
  replaceSignaturePolicy: async () => ({ name: 'replaced', publisherKeys: [real.get('path publisherKey')] }),
  createWebhook: async () => ({ url: unusedUrl }),
  replaceWebhook: async () => ({ name: 'replaced-webhook', url: unusedUrl }),
  signBuild: async () => {
    const { keyid, sig } = signEnvelope(Envelope.parse((await service.get('/v1/modules/tcp/builds/1.1.0/provenance')).body), publisher);
    return { keyId: keyid, signature: sig };
  },
};

/** The private key of a publisher. */
const publisher = generatePrivateKey();

/** Creates a publisher key with this name. */
async function registerPublisher(name: string, privateKey: string): Promise<string> {
  const key = { name, publicKey: derivePublicKey(privateKey).pem };
  return String(succeeded(await service.post('/v1/publisher-keys', key)).id);
}

/** Creates a group of the northern devices, and returns its identifier. */
async function createGroup(name: string): Promise<string> {
  return String(succeeded(await service.post('/v1/groups', { name, selector: 'zone=north' })).id);
}

async function createChannel(name: string): Promise<string> {
  return String(succeeded(await service.post('/v1/channels', { name })).id);
}

/** The group and the channel, which other requests rename. */
const story = () => ({ group: String(real.get('path group')), channel: String(real.get('path channel')) });

/** Creates an assignment that requests no loads. */
async function createAssignment(name: string): Promise<string> {
  const body = { name, ...story(), module: 'tcp', range: '^1', mode: 'report' } as const;
  return String(succeeded(await service.post('/v1/assignments', body)).id);
}

/** Promotes a version of the module, and returns the promotion. */
async function promote(version: string): Promise<string> {
  return String(succeeded(await service.post(`/v1/channels/${real.get('path channel')}/promotions`, { module: 'tcp', version })).id);
}

/** Creates a signature policy with this name for devices that do not exist. */
async function demand(name: string): Promise<string> {
  const policy = { name, labels: { zone: 'nowhere' }, publisherKeys: [String(real.get('path publisherKey'))] };
  return String(succeeded(await service.post('/v1/signature-policies', policy)).id);
}

/** No receiver listens here. */
const unusedUrl = 'http://127.0.0.1:9/';

/** Creates a webhook with this name that receives nothing. */
async function createWebhook(name: string): Promise<string> {
  return String(succeeded(await service.post('/v1/webhooks', { name, url: unusedUrl, eventTypes: ['*'], enabled: false })).id);
}

/** Parks an event of a webhook, as after a day of failed attempts. */
async function parkEvent(webhookId: string): Promise<void> {
  const data = firstOf(await service.get('/v1/audit?limit=1'));
  const times = { firstAttemptAt: new Date(), parkedAt: new Date() };
  const facts = { webhookId, number: data.number, event: { id: 'evt_1', data }, attempts: 1, lastError: 'no response', ...times };
  const store = await Store.open(service.database);
  await store.transaction((connection) => new ParkedEventRecords(connection).park(facts));
  await store.close();
}

function succeeded<Body>({ status, body }: TestResponse<Body>): Body {
  if (status >= 400) throw new Error(`preparing the examples returned ${JSON.stringify(body)}`);
  return body;
}

const exampleSet = () => z.object({ name: z.string(), version: z.string() }).parse(exampleOf('createPatchSet'));

/** Creates the patch set of the example. */
async function createSet(): Promise<string> {
  succeeded(await service.push('udp', '1.0.0', busyModule));
  return String(succeeded(await service.postRaw('/v1/patch-sets', exampleOf('createPatchSet')))['id']);
}

const exampleOf = (operationId: string, index = 0) => Json.parse(bodiesOf(operationNamed(operationId))[index]);

function operationNamed(name: string): Operation {
  const found = operations.find(({ operationId }) => operationId === name);
  if (found === undefined) throw new Error(`the document has no operation ${name}, which the examples name`);
  return found;
}

/** The scenario of the examples: a build is loaded, a program is inside it, and a newer build replaces it. */
beforeAll(async () => {
  provider = await TestProvider.start('http://127.0.0.1/');
  service.provider = provider.settings({ roleClaim: 'scope', roleRules: [{ role: 'viewer', value: 'deploy' }] });
  await service.start();
  service.startHost('north', 2, { zone: 'north' });
  const devices = await service.connectedDevices(2);
  const [device = ''] = devices;
  const build = exampleOf('createBuild');
  succeeded(await service.postRaw('/v1/modules/tcp/builds', build));
  succeeded(await service.push('tcp', '1.0.0', busyModule));
  await service.load('tcp', '1.0.0', devices);
  const program = String(succeeded(await service.postRaw(`/v1/devices/${device}/programs`, exampleOf('startProgram')))['id']);
  await until('the threads are inside', async () =>
    JSON.stringify((await service.get(`/v1/devices/${device}`)).body).includes('"referenceCount":4'),
  );
  holder = String(succeeded(await service.postRaw(`/v1/devices/${device}/programs`, exampleOf('startProgram', 1)))['id']);
  await until('another program has the address of the version', async () => {
    const { statistics } = (await service.get(`/v1/devices/${device}/programs/${holder}`)).body;
    return isObject(statistics) && Number(statistics.callsCompleted) > 0;
  });
  const loads = await service.load('tcp', String(build['version']), devices);
  await until('the device has reported the result of the program', async () => {
    const { body } = await service.get(`/v1/devices/${device}/programs/${program}`);
    return body.statistics !== null;
  });
  await until('the program with the stale address is reported', async () => {
    return itemsOf(await service.get(`/v1/devices/${device}/abi-violations`)).length > 0;
  });
  const silent = { ...exampleOf('registerHost'), name: 'silent', devices: [{ name: 'silent-1', labels: {}, ramPages: 64 }] };
  succeeded(await service.postRaw('/agent/v1/hosts', silent, { authorization: `Bearer ${joinToken}` }));
  silentDevice = String(itemsOf(await service.get('/v1/devices?status=attaching'))[0]?.id);
  const host = itemsOf(await service.get('/v1/hosts')).find(({ name }) => name === 'north')?.id;
  const image = Json.parse((await service.get(`/v1/modules/tcp/builds/${build['version']}`)).body.image);
  const key = (await service.post('/v1/keys', { name: 'spare', role: 'viewer' })).body.id;
  const { size } = succeeded(await service.post('/v1/audit/checkpoints', undefined));
  const [signingKey] = itemsOf(await service.get('/v1/signing-keys'));
  const user = (await service.get('/v1/keys/current', bearer(await provider.token()))).body.id;
  const values = {
    device,
    user,
    size,
    signingKey: signingKey?.id,
    program,
    key,
    load: loads[0]?.id,
    batch: loads[0]?.batch,
    object: loads[0]?.id,
    digest: image['digest'],
  };
  for (const [name, value] of Object.entries(values)) for (const place of ['path', 'query']) real.set(`${place} ${name}`, String(value));
  real.set('path publisherKey', await registerPublisher('story', publisher));
  real.set('path signaturePolicy', await demand('story'));
  real.set('path webhook', await createWebhook('story'));
  await parkEvent(String(real.get('path webhook')));
  const group = await createGroup('story');
  real.set('path group', group);
  real.set('query group', group);
  real.set('path channel', await createChannel('story'));
  real.set('path promotion', await promote('1.0.0'));
  real.set('path assignment', await createAssignment('story'));
  real.set('path patchSet', await createSet());
  real.set('path rollout', await roll(later));
  real.set('path signingKey', String(itemsOf(await service.get('/v1/signing-keys'))[0]?.id));
  real.set('query id', String(device));
  real.set('query host', String(host));
  const event = firstOf(await service.get(`/v1/audit?action=load.completed&object=${loads[0]?.id}`));
  for (const name of ['actor', 'request'] as const) real.set(`query ${name}`, String(event[name]));
  real.set('query from', '2000-01-01T00:00:00.000Z');
  real.set('query until', '2100-01-01T00:00:00.000Z');
  real.set('query at', '2100-01-01T00:00:00.000Z');
  real.set('query version', String(build['version']));
  const { name } = (await service.get(`/v1/devices/${device}`)).body;
  for (const parameter of ['name', 'namePrefix']) real.set(`query ${parameter}`, String(name));
  real.set('header if-match', '*');
  real.set('header if-none-match', '"of-something-else"');
  // No wait.
  real.set('query waitSeconds', '0');
  real.set('query after', '0');
});
afterAll(async () => {
  await service.close();
  await provider.close();
});

/** Four threads can be inside the module for the whole test; a call with one iteration returns immediately. */
const busyModule = `
  (module
    (import "kernel" "sleep" (func $sleep (param i32)))
    (func (export "checksum") (param $length i32) (param $rounds i32) (result i32)
      (if (i32.gt_u (local.get $rounds) (i32.const 1)) (then (call $sleep (i32.const 3600000))))
      (i32.const 0)))`;

/** Registers the host of the example, and returns its token and identifier. */
async function register(): Promise<string> {
  const body = succeeded(await service.postRaw('/agent/v1/hosts', exampleOf('registerHost'), { authorization: `Bearer ${joinToken}` }));
  real.set('path host', String(body['host']));
  return String(body['token']);
}

/** Returns the credential of an operation: that of its first security scheme. */
async function tokenFor({ security: [first = {}] }: Operation): Promise<string> {
  if ('agentToken' in first) return register();
  return 'joinToken' in first ? joinToken : service.key;
}

/** Sends the request of the examples, and expects a documented success. */
async function ask(operation: Operation, parameters: readonly Parameter[], body: unknown): Promise<TestResponse> {
  const { operationId, method, path, responses } = operation;
  const own = (await needs[operationId]?.()) ?? {};
  const authorization = `Bearer ${await tokenFor(operation)}`;
  const given = parameters.map((parameter) => ({ ...parameter, texts: textsOf(parameter, own) }));
  const ofPlace = (place: string) =>
    given.flatMap(({ in: where, name, texts }) => (where === place ? texts.map((text) => [name, text]) : []));
  const address = ofPlace('path').reduce((text, [name, value = '']) => text.replace(`{${name}}`, encodeURIComponent(value)), path);
  const query = new URLSearchParams(ofPlace('query')).toString();
  const response = await fetch(`${service.url}${address}${query === '' ? '' : `?${query}`}`, {
    method,
    headers: {
      ...Object.fromEntries(ofPlace('header')),
      authorization,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const type = response.headers.get('content-type') ?? '';
  if (type.startsWith('text/event-stream')) await response.body?.cancel();
  const text = type.includes('json') ? await response.text() : '{}';
  const document = type.startsWith('application/x-ndjson') ? (text.split('\n')[0] ?? '') : text;
  const documented = Object.keys(responses).filter((status) => status.startsWith('2'));
  expect(documented, `${method} ${address}?${query} ${JSON.stringify(body)} returned ${text}`).toContain(String(response.status));
  return { status: response.status, headers: response.headers, body: Json.parse(JSON.parse(document)) };
}

/** Returns the values of a parameter as strings. */
function textsOf(parameter: Parameter, own: Readonly<Record<string, string | null>>): string[] {
  const { name, in: place } = parameter;
  if (name === 'Idempotency-Key') return [randomUUID()];
  const [example] = examplesOf(parameter);
  if (own[`${place} ${name}`] === null) return [];
  const value = own[`${place} ${name}`] ?? real.get(`${place} ${name}`) ?? example;
  const isIdentifier = /^[a-z]{3,4}_[0-9a-f]{32}$/.test(String(example));
  if (isIdentifier && value === example)
    throw new Error(
      `${name} names something that the service does not have: give \`real\` of test/service/http/document-examples.test.ts what "${place} ${name}" is to be`,
    );
  return [value].flat().map(String);
}
