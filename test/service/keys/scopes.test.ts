// Scopes of API keys: every operation of the document, on an installation with devices in and outside of the scope of a key.

import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Operation, operations } from '../http/fuzzing/document.ts';
import { Publisher } from '../publishing.ts';
import { bearer, firstOf, itemsOf, TestService, until, workModule } from '../test-service.ts';

const service = new TestService();
const scope = { zone: 'north' };
/** Identifiers and names of the devices. */
let north: readonly string[] = [];
let south: readonly string[] = [];
const southNames = ['meridian-1', 'meridian-2'];
const keys = { viewer: {}, operator: {}, publisher: {} };

/** References for path parameters: to what is in the scope or concerns no devices, and to what is outside. */
const inside: Record<string, string[]> = {};
const outside: Record<string, string[]> = {};
const addReference = (to: Record<string, string[]>, name: string, reference: string) => {
  to[name] = [...(to[name] ?? []), reference];
};

const createKey = async (name: string, role: 'viewer' | 'operator' | 'publisher', selector: string) => {
  const created = await service.post('/v1/keys', { name, role, scope: selector });
  expect(created).toMatchObject({ status: 201, body: { scope: selector } });
  return bearer(String(created.body.secret));
};

/** Loads a version on devices, and returns the identifiers of the batch and its loads when all have ended. */
async function loadOn(version: string, devices: readonly string[]): Promise<{ batch: string; loads: string[] }> {
  const loads = await service.load('tcp', version, devices, { versionPolicy: 'different', similarityPolicy: 'off' });
  return { batch: String(loads[0]?.batch), loads: loads.map(({ id }) => id) };
}

async function rollOut(version: string, selection: object): Promise<string> {
  const { status, body } = await service.postRaw('/v1/rollouts', {
    ...{ module: 'tcp', version, waves: [{ upToPercent: 100 }], soakSeconds: 0, onFailure: 'pause', onConflict: 'queue' },
    ...selection,
  });
  expect(status, JSON.stringify(body)).toBe(202);
  return String(body['id']);
}

const hasEnded = (id: string) =>
  until(`the rollout ${id} ends`, async () => (await service.get(`/v1/rollouts/${id}`)).body.endedAt !== null);

async function startProgram(device: string): Promise<string> {
  const program = { module: 'tcp', export: 'work', arguments: [1], calls: 1 };
  return String((await service.post(`/v1/devices/${device}/programs`, program)).body.id);
}

/** Creates objects of each kind: of devices in the scope, of others, and of both. */
async function createObjects(): Promise<void> {
  for (const [version, plus] of [
    ['1.0.0', 1],
    ['1.1.0', 2],
    ['1.2.0', 3],
  ] as const)
    for (const module of ['tcp', 'udp']) await service.push(module, version, workModule(plus));
  for (const [devices, to] of [
    [north, inside],
    [south, outside],
    [[north[0] ?? '', south[0] ?? ''], outside],
  ] as const) {
    const { batch, loads } = await loadOn('1.0.0', devices);
    addReference(to, 'batch', batch);
    loads.forEach((load, index) => {
      addReference(north.includes(devices[index] ?? '') ? inside : outside, 'load', load);
    });
    const rollout = await rollOut('1.1.0', { devices });
    await hasEnded(rollout);
    addReference(to, 'rollout', rollout);
  }
  // Open for any device, and has none yet.
  addReference(outside, 'rollout', await rollOut('1.2.0', { labels: { zone: 'west' }, dynamic: true }));
  for (const device of north) addReference(inside, 'device', device);
  for (const device of south) addReference(outside, 'device', device);
  addReference(inside, 'program', await startProgram(north[0] ?? ''));
  addReference(outside, 'program', await startProgram(south[0] ?? ''));
  const publisher = await new Publisher(service, 'ci').register();
  const policy = { name: 'sealed', device: south[0] ?? '', publisherKeys: [publisher.id] };
  addReference(inside, 'signaturePolicy', String((await service.post('/v1/signature-policies', policy)).body.id));
  const patchSet = { name: 'net', version: '1.0.0', builds: ['tcp', 'udp'].map((module) => ({ module, version: '1.2.0' })) };
  addReference(inside, 'patchSet', String((await service.post('/v1/patch-sets', patchSet)).body.id));
  addReference(inside, 'group', String((await service.post('/v1/groups', { name: 'southern', selector: 'zone=south' })).body.id));
  await createAssignment();
  addReference(inside, 'host', firstOf(await service.get('/v1/hosts')).id);
  addReference(inside, 'key', firstOf(await service.get('/v1/keys')).id);
  addReference(inside, 'signingKey', firstOf(await service.get('/v1/signing-keys')).id);
  addReference(inside, 'publisherKey', publisher.id);
  addReference(inside, 'module', 'tcp');
  for (const version of ['1.0.0', '1.1.0']) addReference(inside, 'version', version);
}

/** Creates an assignment for all devices, whose channel has a version that none of them has. */
async function createAssignment(): Promise<void> {
  addReference(inside, 'channel', String((await service.post('/v1/channels', { name: 'stable' })).body.id));
  const promotion = await service.postRaw('/v1/channels/stable/promotions', { module: 'tcp', version: '1.2.0' });
  addReference(inside, 'promotion', String(promotion.body['id']));
  await service.post('/v1/groups', { name: 'zoned', selector: 'zone in (north,south)' });
  const assignment = { name: 'zoned-tcp', group: 'zoned', channel: 'stable', module: 'tcp', range: '^1.2', mode: 'report' } as const;
  addReference(inside, 'assignment', String((await service.post('/v1/assignments', assignment)).body.id));
  await until('the assignment has the states of all devices', async () => (await statesOfAssignment()) === 4);
}

/** Returns the number of devices that an assignment counts and names. */
async function statesOfAssignment(headers?: Record<string, string>): Promise<number> {
  const { body } = await service.get('/v1/assignments/zoned-tcp', headers);
  for (const { devices, first } of body.unmet ?? []) expect(first).toHaveLength(devices);
  return Object.values(body.deviceCounts ?? {}).reduce((sum, count) => sum + count, 0);
}

beforeAll(async () => {
  await service.start();
  service.startHost('polar', 2, scope);
  service.startHost('meridian', 2, { zone: 'south' });
  const [south1 = '', south2 = '', north1 = '', north2 = ''] = await service.connectedDevices(4);
  north = [north1, north2];
  south = [south1, south2];
  for (const role of ['viewer', 'operator', 'publisher'] as const) keys[role] = await createKey(`${role}-north`, role, 'zone=north');
  await createObjects();
});
afterAll(() => service.close());

/** How each operation honours a scope. An operation that is not in this table refuses keys with a scope. */
const honoured: Readonly<Record<string, readonly string[]>> = {
  path: [
    ...[
      'getDevice',
      'getModuleGraph',
      'getDeviceLabels',
      'listAbiViolations',
      'listDeviceHistory',
      'listModulesAtTime',
      'listModuleHistory',
    ],
    ...['getDesiredState', 'listPrograms', 'getProgram', 'startProgram', 'stopProgram', 'rollBackModule'],
    ...['getLoad', 'injectLoad', 'cancelLoad', 'getLoadBatch', 'cancelLoadBatch', 'retryLoadBatch'],
    ...[
      'getRollout',
      'streamRolloutProgress',
      'listRolloutDevices',
      'getRolloutReport',
      'resumeRollout',
      'retryFailedLoads',
      'closeRollout',
    ],
    ...['pauseRollout', 'approveWave', 'abortRollout', 'rollBackRollout'],
  ],
  filter: [
    ...['listDevices', 'listLoads', 'listLoadBatches', 'listRollouts', 'listDevicesOfBuild', 'getGroup', 'getAssignment'],
    ...['createLoads', 'createUnloads', 'createRollback', 'createRollout'],
  ],
  unrelated: [
    ...['listModules', 'listBuilds', 'getBuild', 'getImage', 'getProvenance', 'createBuild', 'signBuild'],
    ...['listPatchSets', 'getPatchSet', 'getPatchSetProvenance', 'createPatchSet'],
    ...['listPublisherKeys', 'getPublisherKey', 'listSigningKeys', 'getSigningKey', 'listGroups'],
    ...['listChannels', 'getChannel', 'getPromotion', 'listAssignments'],
    ...['getCurrentKey', 'endCurrentSession', 'listUsers', 'getUser'],
  ],
};
const ruleOf = ({ operationId }: Operation) =>
  Object.entries(honoured).find(([, operationIds]) => operationIds.includes(operationId))?.[0] ?? 'refused';

const roleOf = ({ security }: Operation) => security.flatMap(({ apiKey = [] }) => apiKey)[0];
const isForKeysWithScope = (operation: Operation): boolean => ['viewer', 'operator', 'publisher'].includes(roleOf(operation) ?? '');
const keyFor = (operation: Operation) => {
  const role = roleOf(operation);
  return role === 'operator' || role === 'publisher' ? keys[role] : keys.viewer;
};
const outOfScope = { status: 403, body: { type: 'urn:patchbay:problem:out-of-scope' } };

/** Returns each path of an operation, with references from these lists in place of its parameters. */
function pathsOf({ path }: Pick<Operation, 'path'>, references: readonly Readonly<Record<string, readonly string[]>>[]): string[] {
  const [parameter, name = ''] = /\{(\w+)\}/.exec(path) ?? [];
  if (parameter === undefined) return [path];
  const values = references.flatMap((some) => some[name] ?? []);
  return (values.length === 0 ? ['none'] : values).flatMap((value) => pathsOf({ path: path.replace(parameter, value) }, references));
}

test('an operation that does not declare how it honours a scope refuses keys with one', async () => {
  const known = Object.values(honoured).flat();
  expect(known.filter((id) => !operations.some(({ operationId }) => operationId === id))).toEqual([]);
  const wrong: string[] = [];
  for (const operation of operations.filter(isForKeysWithScope)) {
    const [path = ''] = pathsOf(operation, []);
    const { status, body } = await service.request(operation.method, path, undefined, keyFor(operation));
    const isRefused = status === 403 && body['type'] === outOfScope.body.type;
    if (isRefused !== (ruleOf(operation) === 'refused')) wrong.push(`${operation.operationId}: ${status} ${String(body['type'])}`);
  }
  expect(wrong).toEqual([]);
});

/** Queries of lists that could find devices outside of the scope, by operation. */
function queriesOf({ operationId }: Operation): readonly string[] {
  const [first = ''] = south;
  const queries: Readonly<Record<string, readonly string[]>> = {
    listDevices: [
      `id=${first}`,
      'name=meridian-1',
      'namePrefix=m',
      'sort=name&order=desc',
      'group=southern',
      'selector=zone!=north',
      'module=tcp',
    ],
    listLoads: [
      `device=${first}`,
      'device=meridian-1',
      'group=southern',
      'label=zone%3Dsouth',
      ...(outside['batch'] ?? []).map((id) => `batch=${id}`),
    ],
    listDevicesOfBuild: ['running=true', 'running=false'],
    listLoadBatches: ['module=tcp', 'version=1.0.0&order=asc'],
    listRollouts: ['module=tcp&order=asc', 'state=completed', 'state=running'],
  };
  return queries[operationId] ?? [];
}

/** Returns the bodies of a response and, of a list, of the pages that follow. */
async function readAll(path: string, headers: Record<string, string>): Promise<{ status: number; text: string }> {
  const first = await service.get(path, headers);
  let text = JSON.stringify(first.body);
  for (let link = first.headers.get('link'); link !== null; ) {
    const next = await service.get(/^<(.+)>/.exec(link)?.[1] ?? '', headers);
    expect(next.status).toBe(200);
    text += JSON.stringify(next.body);
    link = next.headers.get('link');
  }
  return { status: first.status, text };
}

const isOutside = (path: string) => Object.values(outside).some((references) => references.some((reference) => path.includes(reference)));

/** Returns the path with unknown references in place of those to objects outside of the scope. */
function withUnknown(path: string): { path: string; restore: (text: string) => string } {
  const unknown = new Map<string, string>();
  const replaced = path.replaceAll(/[a-z]{3}_[0-9a-f]{32}|meridian-\d/g, (reference) => {
    if (!isOutside(reference)) return reference;
    const other = reference.startsWith('meridian') ? 'meridian-9' : `${reference.slice(0, 4)}${randomUUID().replaceAll('-', '')}`;
    unknown.set(other, reference);
    return other;
  });
  return { path: replaced, restore: (text) => [...unknown].reduce((rest, [other, reference]) => rest.replaceAll(other, reference), text) };
}

const withoutInstance = (text: string) => text.replaceAll(/req_[0-9a-f]{32}/g, 'req');

test('no operation returns anything about a device outside of the scope', async () => {
  const hidden = [...south, ...southNames, ...(outside['program'] ?? []), ...(outside['load'] ?? [])];
  const references = [inside, outside, { device: southNames }];
  const wrong: string[] = [];
  const responded = new Set<string>();
  let requests = 0;
  const reads = operations.filter((operation) => operation.method === 'GET' && isForKeysWithScope(operation));
  for (const operation of reads)
    for (const path of pathsOf(operation, references))
      for (const query of [
        '',
        ...(operation.parameters.some(({ name }) => name === 'limit') ? ['limit=1'] : []),
        ...queriesOf(operation),
      ]) {
        const { status, text } = await readAll(query === '' ? path : `${path}?${query}`, keys.viewer);
        requests += 1;
        if (isOutside(path) || path.includes('meridian')) {
          const unknown = withUnknown(path);
          const other = await readAll(unknown.path, keys.viewer);
          const isSame = status === other.status && withoutInstance(text) === withoutInstance(unknown.restore(other.text));
          if (status < 400 || !isSame)
            wrong.push(`${path}: ${status} and ${text}, but an unknown object: ${other.status} and ${other.text}`);
          continue;
        }
        if (status === 200) responded.add(operation.operationId);
        const found = hidden.filter((text_) => text.includes(text_));
        if (status >= 500 || found.length > 0) wrong.push(`${path}?${query}: ${status} with ${found.join(', ')}`);
      }
  expect(wrong).toEqual([]);
  expect(requests).toBeGreaterThan(150);
  // Users exist with an identity provider only.
  const honouring = reads.filter((operation) => ruleOf(operation) !== 'refused').map(({ operationId }) => operationId);
  expect(honouring.filter((id) => !responded.has(id))).toEqual(['getUser']);
});

test('lists and objects with devices in the scope alone are complete', async () => {
  const idsOf = async (path: string) => itemsOf(await service.request('GET', path, undefined, keys.viewer)).map(({ id }) => String(id));
  expect((await idsOf('/v1/devices')).toSorted()).toEqual(north.toSorted());
  expect(await idsOf('/v1/rollouts')).toEqual(inside['rollout']);
  expect(await idsOf('/v1/load-batches')).toEqual(inside['batch']);
  const all = await idsOf('/v1/loads?limit=200');
  expect(inside['load']?.every((load) => all.includes(load))).toBe(true);
  const builds = itemsOf(await service.get('/v1/modules/tcp/builds/1.0.0/devices', keys.viewer));
  expect(builds.map(({ device }) => device).toSorted()).toEqual(north.toSorted());
  expect(await service.get('/v1/groups/southern', keys.viewer)).toMatchObject({ body: { devices: 0 } });
  expect(await service.get('/v1/groups/southern')).toMatchObject({ body: { devices: 2 } });
  expect(await statesOfAssignment(keys.viewer)).toBe(2);
  expect(await service.get(`/v1/devices/${north[0]}/desired-state`, keys.viewer)).toMatchObject({
    body: { versions: [{ assignmentName: 'zoned-tcp', desiredVersion: '1.2.0' }] },
  });
  expect(await service.get('/v1/keys/current', keys.operator)).toMatchObject({ body: { role: 'operator', scope: 'zone=north' } });
});

/** Valid bodies of the operations that need one. */
const bodies: Readonly<Record<string, object>> = {
  startProgram: { module: 'tcp', export: 'work', arguments: [1] },
  rollBackModule: { reason: 'test' },
  approveWave: { wave: 1 },
  rollBackRollout: { reason: 'test' },
  pauseRollout: {},
  abortRollout: {},
};

/** Requests that select devices outside of the scope, by operation. */
function selectionsOf(operationId: string): object[] {
  const base: Readonly<Record<string, object>> = {
    createLoads: { module: 'tcp', version: '1.2.0' },
    createUnloads: { module: 'tcp' },
    createRollback: { module: 'tcp', reason: 'test' },
    createRollout: { module: 'tcp', version: '1.2.0', onConflict: 'queue' },
  };
  const [first = ''] = south;
  const selections = [
    ...[{ devices: [first] }, { devices: ['meridian-1'] }, { devices: [north[0], first] }],
    ...[{ labels: { zone: 'south' } }, { selector: 'zone!=north' }, { selector: 'zone=south' }, { group: 'southern' }],
  ];
  return selections.map((selection) => ({ ...base[operationId], ...selection }));
}

test('no operation changes anything on a device outside of the scope', async () => {
  const changes = operations.filter(
    (operation) => operation.method !== 'GET' && isForKeysWithScope(operation) && ruleOf(operation) !== 'unrelated',
  );
  const newest = firstOf(await service.get('/v1/audit?limit=1'));
  const wrong: string[] = [];
  for (const operation of changes) {
    const rule = ruleOf(operation);
    const paths = pathsOf(operation, rule === 'path' ? [outside, { device: southNames, module: ['tcp'] }] : [inside, outside]);
    const requests = rule === 'filter' ? selectionsOf(operation.operationId) : [bodies[operation.operationId]];
    for (const path of paths)
      for (const body of requests) {
        const response = await service.request(operation.method, path, body, keyFor(operation));
        const expected = rule === 'path' ? 404 : rule === 'filter' ? 422 : 403;
        if (response.status !== expected)
          wrong.push(`${operation.method} ${path}: ${JSON.stringify(body)}: ${JSON.stringify(response.body)}`);
      }
  }
  expect(wrong).toEqual([]);
  const later = itemsOf(await service.get('/v1/audit?limit=200')).filter(({ number }) => number > newest.number);
  expect(later.filter(({ action }) => action !== 'key.denied')).toEqual([]);
  const [denial] = itemsOf(await service.get('/v1/audit?action=key.denied&limit=1'));
  expect(denial?.detail).toMatchObject({ scope: 'zone=north', operation: expect.stringContaining('/v1/') });
});

test('a device outside of the scope is reported as one that does not exist', async () => {
  const unknown = { module: 'tcp', version: '1.2.0', devices: [south[0] ?? '', 'meridian-1', 'meridian-9'] };
  expect(await service.postRaw('/v1/loads', unknown, keys.operator)).toMatchObject({
    status: 422,
    body: {
      type: 'urn:patchbay:problem:invalid-value',
      errors: unknown.devices.map((device, index) => {
        return { pointer: `/devices/${index}`, detail: `the device ${device} does not exist` };
      }),
    },
  });
});

test('criteria select the devices that match them and the scope, in loads, unloads, rollbacks and rollouts', async () => {
  const request = async (path: string, body: object) => {
    const response = await service.postRaw(path, body, keys.operator);
    expect(response.status, JSON.stringify(response.body)).toBe(202);
    return response.body;
  };
  const devicesOf = async (batch: unknown) => {
    const loads = await until('the loads end', async () => {
      const items = itemsOf(await service.get(`/v1/loads?batch=${String(batch)}`));
      return items.every(({ outcome }) => outcome !== null) && items;
    });
    return loads.map(({ device }) => device).toSorted();
  };
  const load = { module: 'tcp', version: '1.2.0', versionPolicy: 'different' };
  const { batch } = await request('/v1/loads', { ...load, selector: 'zone in (north,south)' });
  expect(await devicesOf(batch)).toEqual(north.toSorted());
  expect((await service.get(`/v1/load-batches/${String(batch)}`, keys.operator)).body.selection).toEqual({
    ...{ labels: null, selector: 'zone in (north,south)', group: null },
    scope: 'zone=north',
  });
  const back = await request('/v1/rollbacks', { module: 'tcp', selector: 'zone', reason: 'test' });
  expect(await devicesOf(back['batch'])).toEqual(north.toSorted());
  const unload = await request('/v1/unloads', { module: 'tcp', selector: 'zone' });
  expect(await devicesOf(unload['batch'])).toEqual(north.toSorted());
  const rollout = await request('/v1/rollouts', { module: 'tcp', version: '1.2.0', selector: 'zone', onConflict: 'queue', soakSeconds: 0 });
  expect(rollout).toMatchObject({ scope: 'zone=north', deviceCounts: { waiting: 2 } });
  await hasEnded(String(rollout['id']));
});

test('a dynamic rollout takes only devices of its scope, and belongs to keys of that scope', async () => {
  const dynamic = {
    module: 'tcp',
    version: '1.0.0',
    selector: 'zone',
    dynamic: true,
    soakSeconds: 0,
    onConflict: 'queue',
    versionPolicy: 'different',
    similarityPolicy: 'off',
    waves: [{ upToPercent: 100 }],
  };
  const { status, body } = await service.postRaw('/v1/rollouts', dynamic, keys.operator);
  expect(status, JSON.stringify(body)).toBe(202);
  const path = `/v1/rollouts/${String(body['id'])}`;
  const joined = { zone: 'north', tier: 'edge' };
  await service.put(`/v1/devices/${south[1]}/labels`, { labels: joined });
  await until('the relabelled device joins', async () => itemsOf(await service.request('GET', `${path}/devices`)).length === 3);
  await service.put(`/v1/devices/${south[0]}/labels`, { labels: { zone: 'east' } });
  const edge = await createKey('edge', 'operator', 'zone=north,tier=edge');
  expect((await service.get(path, edge)).status).toBe(404);
  expect((await service.get(path, keys.operator)).status).toBe(200);
  const wider = await createKey('wider', 'viewer', '(zone=north) or (tier=core)');
  expect((await service.get(path, wider)).status).toBe(200);
  expect((await service.postRaw(`${path}/close`, undefined, keys.operator)).status).toBe(200);
  await hasEnded(String(body['id']));
  expect(itemsOf(await service.request('GET', `${path}/devices`)).map(({ device }) => device)).not.toContain(south[0]);
});

test('the stream of a rollout ends when one of its devices leaves the scope', async () => {
  const rollout = await rollOut('1.0.0', { module: 'udp', devices: north, startAt: '2090-01-01T00:00:00Z' });
  const path = `/v1/rollouts/${rollout}`;
  const open = (headers: Record<string, string>) => fetch(`${service.url}${path}/progress`, { headers });
  const streams = await Promise.all([open(keys.operator), open(keys.viewer), open(bearer(service.key))]);
  expect(streams.map(({ status }) => status)).toEqual([200, 200, 200]);
  const [first = '', second = ''] = north;
  await service.put(`/v1/devices/${second}/labels`, { labels: { zone: 'south' } });
  const [ofOperator = '', ofViewer = ''] = await Promise.all(streams.slice(0, 2).map((stream) => stream.text()));
  for (const text of [ofOperator, ofViewer]) expect(text).not.toContain('"state":"aborted"');
  expect((await open(keys.operator)).status).toBe(404);
  await service.put(`/v1/devices/${first}/labels`, { labels: { zone: 'south' } });
  expect((await service.postRaw(`${path}/abort`, {})).status).toBe(200);
  // Without a scope, the stream shows the end of the rollout.
  expect(await streams[2]?.text()).toContain('"state":"aborted"');
  for (const device of north) await service.put(`/v1/devices/${device}/labels`, { labels: scope });
});

test('a scope is evaluated at each request, and protects stored responses', async () => {
  const [device = ''] = north;
  const headers = { ...keys.operator, 'idempotency-key': randomUUID() };
  const program = { module: 'tcp', export: 'work', arguments: [1], calls: 1 };
  const start = () => service.postRaw(`/v1/devices/${device}/programs`, program, headers);
  expect((await start()).status).toBe(202);
  await service.put(`/v1/devices/${device}/labels`, { labels: { zone: 'south' } });
  expect((await start()).status).toBe(404);
  expect((await service.get(`/v1/devices/${device}`, keys.operator)).status).toBe(404);
  expect(itemsOf(await service.get('/v1/rollouts', keys.operator))).toEqual([]);
  await service.put(`/v1/devices/${device}/labels`, { labels: scope });
  expect((await start()).headers.get('idempotency-replayed')).toBe('true');
});

test.each(['admin', 'agent'] as const)('a key with the role %s has no scope', async (role) => {
  const key = { name: 'wrong', role, scope: 'zone=north', ...(role === 'agent' ? { host: 'rack' } : {}) };
  expect(await service.postRaw('/v1/keys', key)).toMatchObject({ status: 422, body: { errors: [{ pointer: '/scope' }] } });
});

test('the scope of a key is a label selector, stored in its canonical form', async () => {
  const invalid = await service.postRaw('/v1/keys', { name: 'wrong', role: 'viewer', scope: 'zone>1' });
  expect(invalid).toMatchObject({
    status: 422,
    body: { errors: [{ pointer: '/scope', detail: expect.stringContaining('at character 5') }] },
  });
  const created = await service.post('/v1/keys', { name: 'spaced', role: 'viewer', scope: ' zone == north , !beta' });
  expect(created.body.scope).toBe('zone=north,!beta');
  const several = await service.post('/v1/keys', {
    name: 'several',
    role: 'viewer',
    scope: '( zone in (east, south) ) or (zone==north,!x)',
  });
  expect(several.body.scope).toBe('(zone in (east,south)) or (zone=north,!x)');
  expect(itemsOf(await service.get('/v1/devices', bearer(String(several.body.secret))))).toHaveLength(4);
  const [event] = itemsOf(await service.get(`/v1/audit?object=${created.body.id}`));
  expect(event).toMatchObject({ action: 'key.created', detail: { scope: 'zone=north,!beta' } });
});
