// Fuzzing with valid, nearly valid and hostile requests from the OpenAPI document: none fails or hangs the service, and each response is documented.

import { randomUUID } from 'node:crypto';
import { Agent as HttpAgent, request as httpRequest } from 'node:http';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Schemas } from '../../../src/client/client.ts';
import { Envelope } from '../../../src/proof/envelope.ts';
import { signEnvelope } from '../../../src/signing/envelope-signing.ts';
import { derivePublicKey, generatePrivateKey } from '../../../src/signing/private-key.ts';
import { randomCases } from '../../random-cases.ts';
import { startDrain } from '../agents/agent.ts';
import { TestProvider } from '../sign-in/test-provider.ts';
import { bearer, firstOf, itemsOf, joinToken, TestService, until, workModule } from '../test-service.ts';
import type { RequestSchema } from '../typed-paths.ts';
import { documentedBody, examplesOf, type Operation, operations, type Parameter } from './fuzzing/document.ts';
import { hostileValue, type Known, likeExample, nearly, validValue } from './fuzzing/values.ts';

const cases = 1_200;
/** Concurrent requests of one case. */
const atOnce = 16;
/** Maximum cases of an operation until one succeeds. */
const roundsForEach = 1_000;
const patience = 30_000;

const service = new TestService();
const connections = new HttpAgent({ keepAlive: true, maxSockets: atOnce });
let provider: TestProvider;
let known: Known;
/** The values of requests that decommission: of devices that other requests do not need. */
let scrap: Known;
/** The values of requests that move devices: of a host of their own, and one to move them to. */
let moved: Known;
/** The values of requests that yank builds. */
let withdrawn: Known;

beforeAll(async () => {
  provider = await TestProvider.start('http://127.0.0.1/');
  service.provider = provider.settings({ roleClaim: 'scope', roleRules: [{ role: 'viewer', value: 'deploy' }] });
  await service.start();
  service.startHost('host', 2, { zone: 'north' });
  const devices = await service.connectedDevices(2);
  const pushed = await service.push('tcp', '1.0.0', workModule(1));
  await service.push('tcp', '1.1.0', workModule(2));
  // Loads of other requests may have installed the newest version everywhere; with several, a rollout of a newer one is soon found.
  const newer = ['2.0.0', '3.0.0', '4.0.0', '5.0.0'];
  for (const version of newer) await service.push('tcp', version, workModule(2));
  await service.push('udp', '1.0.0', workModule(1));
  const builds = ['tcp', 'udp'].map((module) => ({ module, version: '1.0.0' }));
  const patchSet = await service.post('/v1/patch-sets', { name: 'net', version: '1.0.0', builds });
  // A version to roll back to.
  for (const version of ['1.0.0', '1.1.0']) await service.load('tcp', version, devices);
  // A newer version to roll out.
  await service.load('tcp', '1.0.0', devices, { versionPolicy: 'different' });
  // A batch with failed loads.
  await service.load('tcp', '1.0.0', devices);
  // Builds that nothing uses: yanked and deleted ones would make other requests fail.
  for (const module of ['scrap', 'withdrawn']) for (const version of ['1.0.0', '1.1.0']) await service.push(module, version, workModule(1));
  const program = await service.post(`/v1/devices/${devices[0]}/programs`, { module: 'tcp', export: 'work', arguments: [1], calls: 1 });
  const bootId = randomUUID();
  const join = (name: string, ...names: string[]) => {
    const ofHost = names.map((one) => ({ name: one, labels: {}, ramPages: 64 }));
    return service.post(
      '/agent/v1/hosts',
      { name, bootId, capacity: 3, capabilities: ['detach-device'], devices: ofHost },
      { authorization: `Bearer ${joinToken}` },
    );
  };
  const registered = await join('played');
  // This host never connects, so the load for its device stays queued.
  await join('silent', 'silent-1');
  const silent = firstOf(await service.get('/v1/devices?limit=1'));
  await service.post('/v1/loads', { module: 'tcp', version: '1.0.0', devices: [silent.id] });
  const scrapped = await join('scrap', 'scrap-1', 'scrap-2');
  const toMove = await join('moved', 'moved-1', 'moved-2');
  // Other requests fill the other hosts with devices.
  const destination = await join('destination');
  const devicesToMove = itemsOf(await service.get(`/v1/devices?host=${toMove.body.host}`)).map(({ id }) => id);
  const scrappedDevices = itemsOf(await service.get(`/v1/devices?host=${scrapped.body.host}`)).map(({ id }) => id);
  const draining = await startDrain(service, '1.1.0');
  const user = (await service.get('/v1/keys/current', bearer(await provider.token('deploy')))).body.id;
  const rollouts = await makeRollouts(devices, silent.id);
  const loads = itemsOf(await service.get('/v1/loads'));
  const image = Object(pushed.body.image);
  const keyOf = async (role: Schemas['Role']) => (await service.post('/v1/keys', { name: role, role })).body;
  const publisher = generatePrivateKey();
  const publisherKeyOf = async (name: string, privateKey: string) =>
    (await service.post('/v1/publisher-keys', { name, publicKey: derivePublicKey(privateKey).pem })).body.id ?? '';
  const publisherKey = await publisherKeyOf('publisher', publisher);
  const toBeRevoked = [await publisherKeyOf('first', generatePrivateKey()), await publisherKeyOf('second', generatePrivateKey())];
  const policies: unknown[] = [];
  for (let index = 0; index < 60; index += 1) {
    const policy = { name: `policy-${index}`, labels: { zone: 'nowhere' }, publisherKeys: [publisherKey] };
    policies.push((await service.post('/v1/signature-policies', policy)).body.id);
  }
  const webhooks: unknown[] = [];
  // No receiver listens at the URL.
  const url = 'http://127.0.0.1:9/';
  for (let index = 0; index < 30; index += 1)
    webhooks.push((await service.post('/v1/webhooks', { name: `webhook-${index}`, url, eventTypes: ['*'], enabled: false })).body.id);
  const groups: unknown[] = [];
  for (let index = 0; index < 60; index += 1)
    groups.push((await service.post('/v1/groups', { name: `group-${index}`, selector: 'zone=north' })).body.id);
  const scrapGroup = await service.post('/v1/groups', { name: 'scrap', selector: 'zone=scrap' });
  const channels: unknown[] = [];
  const assignments: unknown[] = [];
  for (let index = 0; index < 60; index += 1) {
    const name = `object-${index}`;
    channels.push((await service.post('/v1/channels', { name })).body.id);
    const assignment = { name, group: 'group-0', channel: 'object-0', module: 'tcp', range: '^1', mode: 'report' } as const;
    assignments.push((await service.post('/v1/assignments', assignment)).body.id);
  }
  const promotion = await service.post('/v1/channels/object-0/promotions', { module: 'tcp', version: '1.0.0' });
  const signed = signEnvelope(Envelope.parse((await service.get('/v1/modules/tcp/builds/1.0.0/provenance')).body), publisher);
  const keys = [await keyOf('viewer'), await keyOf('operator'), await keyOf('publisher')];
  known = new Map<string, readonly unknown[]>([
    ['device', devices],
    ['load', [draining, ...loads.map(({ id }) => id)]],
    ['batch', loads.map(({ batch }) => batch)],
    ['program', [program.body.id]],
    ['host', [registered.body.host]],
    ['bootId', [bootId]],
    ['token', [registered.body.token, joinToken]],
    ['secret', [service.key, service.key, service.key, ...keys.map(({ secret }) => secret)]],
    // Not the administrator's key, which most requests use.
    ['key', [(await keyOf('admin')).id]],
    ['size', [Number((await service.post('/v1/audit/checkpoints', undefined)).body.size)]],
    ['event', [1, 2]],
    ['publisherKey', toBeRevoked],
    ['publisherKeys', [[publisherKey]]],
    ['signaturePolicy', policies],
    ['webhook', webhooks],
    ['url', [url]],
    ['eventTypes', [['*'], ['load.*', 'rollout.completed']]],
    ['after', [0, 1]],
    ['patchSet', [patchSet.body.id, { name: 'net', version: '1.0.0' }]],
    ['builds', [builds]],
    ['threshold', [1]],
    ['if-match', ['*']],
    ['user', [user]],
    ['rollout', rollouts],
    ['wave', [1]],
    ['onFailure', ['pause', 'rollback', 'continue']],
    ['soakSeconds', [0, 1]],
    ['runningVersion', ['*', '<2', 'none']],
    ['waves', [[{ upToPercent: 100 }], [{ devices: 1 }, { upToPercent: 100 }], [{ devices: 1 }]]],
    ['startAt', ['2100-01-01T00:00:00Z']],
    ['onConflict', ['queue']],
    ['signingKey', itemsOf(await service.get('/v1/signing-keys')).map(({ id }) => id)],
    ['keyId', [signed.keyid]],
    ['signature', [signed.sig]],
    ['labels', [{ zone: 'north' }]],
    ['selector', ['zone=north', 'zone in (north,south),!beta']],
    ['group', groups],
    ['channel', channels],
    ['promotion', [promotion.body.id]],
    ['assignment', assignments],
    ['range', ['^1', '>=1.0.0 <2.0.0', 'x.y']],
    // Loads of an assignment would disturb other requests.
    ['mode', ['off', 'report']],
    ['set', [{ owner: 'team' }, {}]],
    ['remove', [['beta'], []]],
    ['to', ['1.0.0', '1.1.0']],
    ['module', ['tcp']],
    ['version', ['1.0.0', '1.1.0', 'next-minor', ...newer]],
    ['digest', [image.digest]],
    ['export', ['work']],
    // Small, so that the devices can run all of them.
    ['threads', [1, 2]],
    ['calls', [1, 2]],
    ['arguments', [[1], [], ['5'], [1, 2]]],
    ['language', ['wat', 'wat', 'wat', 'cobol']],
    ['source', [workModule(3), workModule(4), workModule(5), workModule(6), 'nonsense']],
  ]);
  scrap = new Map([
    ...known,
    ['device', scrappedDevices],
    ['module', ['scrap']],
    ['version', ['1.0.0', '1.1.0']],
    ['host', [scrapped.body.host]],
    ['labels', [{ zone: 'scrap' }]],
    ['selector', ['zone=scrap']],
    ['group', [scrapGroup.body.id]],
  ]);
  withdrawn = new Map([...scrap, ['module', ['withdrawn']]]);
  moved = new Map([...known, ['device', devicesToMove], ['host', [toMove.body.host, destination.body.host]]]);
});
afterAll(async () => {
  connections.destroy();
  await service.close();
  await provider.close();
});

/** Rollouts in states for every decision: completed, failed, approved, not started, and accepting devices. */
async function makeRollouts(devices: readonly string[], silent: string): Promise<string[]> {
  const made: string[] = [];
  const roll = async (body: Omit<RequestSchema<'NewRollout'>, 'module'> & { module?: string }) => {
    const { status, body: rollout } = await service.post('/v1/rollouts', {
      module: 'tcp',
      soakSeconds: 0,
      waves: [{ upToPercent: 100 }],
      ...body,
    });
    if (status !== 202) throw new Error(JSON.stringify(rollout));
    made.push(String(rollout.id));
    return String(rollout.id);
  };
  const becomes = (id: string, state: string) =>
    until(`a rollout is ${state}`, async () => (await service.get(`/v1/rollouts/${id}`)).body.state === state);
  // With separate modules, so that they do not conflict.
  for (const module of ['icmp', 'udp']) for (const version of ['1.0.0', '1.1.0']) await service.push(module, version, workModule(1));
  for (const version of ['1.0.0', '1.1.0', '1.0.0', '1.1.0', '1.0.0', '1.1.0'])
    await becomes(await roll({ module: 'icmp', version, devices, versionPolicy: 'different' }), 'completed');
  // The device of the silent host has no version that could conflict.
  const approved = await roll({ version: '1.0.0', devices: [silent], waves: [{ upToPercent: 100, approval: true }] });
  await becomes(approved, 'awaiting-approval');
  await service.post(`/v1/rollouts/${approved}/approve`, { wave: 1 });
  for (let index = 0; index < 5; index += 1) await roll({ version: '1.1.0', devices: [silent], onConflict: 'queue' });
  await roll({ version: '1.1.0', labels: { zone: 'south' }, dynamic: true });
  await service.load('udp', '1.1.0', devices);
  await becomes(await roll({ module: 'udp', version: '1.0.0', devices }), 'paused');
  return made;
}

type FuzzRequest = {
  readonly operation: Operation;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
};

/** Compilation is slow, and is tested elsewhere. */
const weightOf = ({ operationId }: Operation) => (operationId === 'createBuild' ? 3 : 4);
/** Fixed parameters: with other values, the service delays the response. */
const fixed: ReadonlyMap<string, unknown> = new Map([['waitSeconds', 0]]);

const anyRequest = () => fc.oneof(...operations.map((operation) => ({ weight: weightOf(operation), arbitrary: requestOf(operation) })));

const requests = new Map<Operation, fc.Arbitrary<FuzzRequest>>();

/** Returns the generator of requests for an operation; it is created once, after the known values. */
function requestOf(operation: Operation): fc.Arbitrary<FuzzRequest> {
  const request = requests.get(operation) ?? createRequest(operation);
  requests.set(operation, request);
  return request;
}

/** Returns the values for an operation: those of its own if it would break other requests. */
function valuesOf({ operationId }: Operation): Known {
  if (/^(?:decommission|deleteBuild)/.test(operationId)) return scrap;
  if (/^(?:un)?yank/.test(operationId)) return withdrawn;
  return operationId.startsWith('move') ? moved : known;
}

function createRequest(operation: Operation): fc.Arbitrary<FuzzRequest> {
  const json = operation.requestBody?.content['application/json']?.schema;
  const values = valuesOf(operation);
  const valid = json === undefined ? fc.constant(undefined) : validValue(json, '', values);
  const examples = Object.values(operation.requestBody?.content ?? {}).flatMap(examplesOf);
  const body = fc.oneof(
    // Random values rarely form a useful combination.
    ...(examples.length === 0
      ? []
      : [
          { weight: 1, arbitrary: fc.constantFrom(...examples, undefined).map(toText) },
          { weight: 3, arbitrary: fc.oneof(...examples.map((example) => likeExample(example, '', values))).map(toText) },
        ]),
    { weight: 4, arbitrary: valid.map(toText) },
    { weight: 4, arbitrary: nearly(valid).map(toText) },
    { weight: 1, arbitrary: hostileValue.map(toText) },
    { weight: 1, arbitrary: fc.constantFrom('{', '[[[[', '{"a":1}}', '"', '\u0000', 'null', '[]', undefined) },
  );
  return fc
    .record({
      parameters: fc.tuple(...operation.parameters.map((parameter) => parameterOf(parameter, values))),
      // Without a length, which Node.js does not send for them, a body would be the next request.
      body: ['GET', 'DELETE'].includes(operation.method) ? fc.constant(undefined) : body,
      contentType: fc.oneof(
        { weight: 12, arbitrary: fc.constant('application/json') },
        { weight: 1, arbitrary: fc.constantFrom('application/wasm', 'text/plain', 'application/x-www-form-urlencoded', 'nonsense', '') },
      ),
      token: fc.oneof(
        { weight: 8, arbitrary: fc.constantFrom(...(known.get(operation.path.startsWith('/agent') ? 'token' : 'secret') ?? [])) },
        { weight: 1, arbitrary: fc.constantFrom('', 'agt_x', 'Basic') },
      ),
    })
    .map(({ parameters, body: content, contentType, token }) => {
      const given = parameters.filter((one) => one !== null);
      const query = given.filter((one) => one.in === 'query').map(({ name, value }) => `${encode(name)}=${encode(value)}`);
      const path = given
        .filter((one) => one.in === 'path')
        .reduce((text, { name, value }) => text.replace(`{${name}}`, encode(value) || '%20'), operation.path);
      const headers = given.filter((one) => one.in === 'header').map(({ name, value }) => [name, headerText(value)] as const);
      return {
        operation,
        path: query.length === 0 ? path : `${path}?${query.join('&')}`,
        headers: {
          ...Object.fromEntries(headers),
          ...(content === undefined ? {} : { 'content-type': contentType }),
          authorization: `Bearer ${String(token)}`,
        },
        body: content,
      };
    });
}

function parameterOf({ name, in: place, required, schema }: Parameter, values: Known) {
  if (fixed.has(name)) return fc.constant({ name, in: place, value: fixed.get(name) });
  const value = fc.oneof({ weight: 5, arbitrary: validValue(schema, name, values) }, { weight: 1, arbitrary: hostileValue });
  const given = value.map((one) => ({ name, in: place, value: Array.isArray(one) ? one[0] : one }));
  return required || place === 'path' ? given : fc.option(given, { freq: 2 });
}

const toText = (value: unknown): string | undefined => (value === undefined ? undefined : JSON.stringify(value));
const encode = (value: unknown) =>
  encodeURIComponent((typeof value === 'string' ? value : (JSON.stringify(value) ?? '')).toWellFormed().slice(0, 2_000));
/** Headers are bytes without line breaks. */
const headerText = (value: unknown) =>
  (typeof value === 'string' ? value : (JSON.stringify(value) ?? '')).replaceAll(/[^\x20-\x7e]/g, '?').slice(0, 500);

type FuzzResponse = { readonly status: number; readonly contentType: string; readonly text: string };

/** Sends a request; only the beginning of a stream is read. */
function ask({ operation, path, headers, body }: FuzzRequest): Promise<FuzzResponse> {
  return new Promise((resolve, reject) => {
    // As options, because a URL string would be normalized (`.` and `..`).
    const { hostname, port } = new URL(service.url);
    const address = { hostname, port };
    const outgoing = httpRequest(
      { ...address, path, method: operation.method, headers: { ...headers }, agent: connections },
      (response) => {
        const contentType = (response.headers['content-type'] ?? '').split(';')[0] ?? '';
        const finish = (text: string) => resolve({ status: response.statusCode ?? 0, contentType, text });
        if (contentType === 'text/event-stream') {
          finish('');
          return response.destroy();
        }
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => finish(Buffer.concat(chunks).toString()));
        response.on('error', reject);
        return response;
      },
    );
    outgoing.setTimeout(patience, () => outgoing.destroy(new Error(`no response in ${patience / 1_000} s`)));
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

/** Returns the fault of a response, or null if it is documented. */
function wrongIn({ operation }: FuzzRequest, { status, contentType, text }: FuzzResponse): string | null {
  if (status >= 500) return `the response was ${status}: ${text}`;
  // The path matches no route.
  const isNoRoute = status === 404 && contentType === 'application/problem+json' && text.includes('see /documentation for the API');
  if (isNoRoute) return null;
  const documented = documentedBody(operation, status, contentType);
  if (documented === null) return `the document has no response ${status} of the type "${contentType}": ${text.slice(0, 500)}`;
  if (documented === 'no body') return text === '' ? null : `it is to have no body, and has ${text.slice(0, 200)}`;
  if (!contentType.includes('json')) return null;
  const documents = contentType === 'application/x-ndjson' ? text.split('\n').filter((line) => line !== '') : [text];
  for (const one of documents) {
    const parsed = documented.safeParse(JSON.parse(one));
    if (!parsed.success) return `the response ${status} is not as documented: ${parsed.error.message}: ${one.slice(0, 1_000)}`;
  }
  return null;
}

/** Runs a number of request cases, and counts the response statuses. */
async function checkRequests(request: fc.Arbitrary<FuzzRequest>, numRuns: number, statuses: Map<string, number>): Promise<void> {
  await fc.assert(
    fc.asyncProperty(fc.array(request, { minLength: atOnce, maxLength: atOnce }), async (requests) => {
      const responses = await Promise.all(requests.map(async (one) => [one, await ask(one)] as const));
      for (const [asked, response] of responses) {
        const { operation, path, headers, body } = asked;
        const wrong = wrongIn(asked, response);
        expect(wrong, `${operation.method} ${path}\n${JSON.stringify(headers)}\n${body}\n`).toBeNull();
        const key = `${operation.operationId} ${response.status}`;
        statuses.set(key, (statuses.get(key) ?? 0) + 1);
      }
    }),
    { numRuns },
  );
}

/** Removes the maintenance windows that random groups have: most of them are closed, so that no load would succeed. */
async function removeWindows(): Promise<void> {
  for (const { id, name, selector, maintenanceWindows } of itemsOf(await service.get('/v1/groups?limit=200')))
    if (maintenanceWindows.length > 0) await service.put(`/v1/groups/${id}`, { name, selector });
}

test('any request gets a documented response in time, and never an internal error', { timeout: 600_000 }, async () => {
  const statuses = new Map<string, number>();
  // First each operation, while its objects exist, until one request succeeds: so the requests get past the validation.
  const hasSucceeded = ({ operationId }: Operation) => [200, 201, 202, 204].some((status) => statuses.has(`${operationId} ${status}`));
  for (const operation of operations) {
    await removeWindows();
    for (let round = 0; round < roundsForEach && !hasSucceeded(operation); round += 1)
      await checkRequests(requestOf(operation), 1, statuses);
  }
  expect(operations.filter((operation) => !hasSucceeded(operation)).map(({ operationId }) => operationId)).toEqual([]);
  await checkRequests(anyRequest(), randomCases(cases), statuses);
  await until('the service is ready afterwards', async () => (await service.get('/health/ready')).status === 200);
});
