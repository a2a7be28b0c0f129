// Every list: filters, sorts, orders, time ranges and pages against an in-memory model; cursors; pages while items are added.

import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { newIdentifier } from '../../../src/protocol/identifiers.ts';
import { AuditQueries } from '../../../src/service/audit/queries.ts';
import { withoutMarks } from '../../../src/service/database/readable-rows.ts';
import { Store } from '../../../src/service/database/store.ts';
import { KeyQueries } from '../../../src/service/keys/queries.ts';
import { defaultPolicy } from '../default-terms.ts';
import { buildKind, inTransaction } from '../records.ts';
import { itemsOf, TestService } from '../test-service.ts';

/** An item of the model: its sort position, and for each filter the values that select it. */
type Item = {
  /** The value that identifies the item in a response. */
  readonly mark: string | number;
  readonly time: number;
  readonly name: string;
  /** Orders items of the same time. */
  readonly key: string | number;
  readonly selectedBy: Readonly<Record<string, readonly string[]>>;
};
type List = {
  readonly path: string;
  /** The response property that contains the identifying value. */
  readonly mark: string;
  readonly items: readonly Item[];
  /** The sort orders; the first is the default. */
  readonly sorts: readonly string[];
  readonly hasRange: boolean;
};

const service = new TestService();
// The test blocks the process of the service.
service.limits = { ...service.limits, eventLoopDelay: 60_000 };
let store: Store;
const lists: List[] = [];

/** A deterministic generator with few values, so that many are equal. */
let state = 7;
const random = (below: number) => {
  state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
  return Math.floor((state / 2 ** 31) * below);
};
const oneOf = <Value>(values: readonly [Value, ...Value[]]): Value => values[random(values.length)] ?? values[0];
const times = Array.from({ length: 6 }, (_, second) => Date.UTC(2026, 0, 1, 0, 0, second));
const anyTime = () => new Date(times[random(times.length)] ?? 0);
const series = <Value>(length: number, make: (index: number) => Value) => Array.from({ length }, (_, index) => make(index));
const prefixesOf = (text: string) => series(text.length, (index) => text.slice(0, index + 1));

const newHost = (index: number) => ({
  id: newIdentifier('host'),
  name: `${oneOf(['rack', 'r', 'edge'])}-${index}`,
  bootId: randomUUID(),
  capacity: 100,
  registeredAt: anyTime(),
  tokenDigest: null,
  unreachableSince: index % 3 === 0 ? anyTime() : null,
});

const newDevice = (hosts: ReturnType<typeof series<ReturnType<typeof newHost>>>) => (index: number) => {
  const host = hosts[random(hosts.length)] ?? newHost(0);
  const labels: Record<string, string> = { zone: oneOf(['north', 'south']), ...(random(2) === 0 ? { rack: `=${random(3)}` } : {}) };
  const modules = (['tcp', 'udp'] as const)
    .filter(() => random(4) > 0)
    .map((module) => ({ module, version: oneOf(['1.0.0', '1.0.0', '1.0.0', '1.1.0']) }));
  const name = `${oneOf(['a', 'a_', 'a.b', 'aa', 'b'])}-${index}`;
  const isAttached = random(3) > 0;
  const status = host.unreachableSince !== null ? 'unreachable' : isAttached ? 'connected' : 'attaching';
  return { id: newIdentifier('device'), name, host, labels, modules, isAttached, status, createdAt: anyTime() };
};
type NewDevice = ReturnType<ReturnType<typeof newDevice>>;

const labelTexts = ({ labels }: NewDevice) => Object.entries(labels).map(([key, value]) => `${key}=${value}`);

/** Selectors, and the devices that they select. */
const selectors: readonly (readonly [text: string, matches: (labels: NewDevice['labels']) => boolean])[] = [
  ['zone in (north,west)', ({ zone }) => zone === 'north'],
  ['zone!=north', ({ zone }) => zone !== 'north'],
  ['zone notin (south,west),rack', ({ zone, rack }) => zone !== 'south' && rack !== undefined],
  ['!rack', ({ rack }) => rack === undefined],
  ['rack notin (7)', () => true],
  ['rack,zone==south', ({ zone, rack }) => rack !== undefined && zone === 'south'],
];
const selectorTexts = ({ labels }: NewDevice) => selectors.flatMap(([text, matches]) => (matches(labels) ? [text] : []));

const newLoad = (devices: readonly NewDevice[], batches: readonly string[]) => () => {
  const device = devices[random(12)];
  if (device === undefined) throw new Error('too few devices');
  const loadState = oneOf(['queued', 'dispatched', 'completed', 'completed', 'completed']);
  const load = {
    id: newIdentifier('load'),
    batchId: batches[random(batches.length)] ?? '',
    deviceId: device.id,
    ...buildKind,
    buildId: newIdentifier('build'),
    module: oneOf(['tcp', 'udp']),
    version: `1.${random(3)}.0`,
    ...defaultPolicy,
    state: loadState,
    requestedAt: anyTime(),
    requestedBy: null,
    rollback: false,
    rolloutId: null,
    deadlineAt: null,
    heldSince: null,
    heldUntil: null,
    windowOverride: null,
  };
  return { load, device, outcome: loadState === 'completed' ? oneOf(['installed', 'replaced', 'failed']) : null };
};

const newProgram = (deviceId: string) => () => ({
  id: newIdentifier('program'),
  deviceId,
  name: 'program',
  module: oneOf(['tcp', 'udp']),
  export: 'work',
  type: { parameters: [], results: [] },
  arguments: [],
  threads: 1,
  calls: null,
  pauseMilliseconds: 0,
  recovery: 'module',
  addressing: 'via-table',
  deadlineMilliseconds: null,
  driverDigest: '',
  createdAt: anyTime(),
});

const newBuild = (module: string) => (index: number) => ({
  id: newIdentifier('build'),
  module,
  version: `1.0.${index}`,
  language: oneOf(['wat', 'wasm', 'assemblyscript']),
  compiler: 'none',
  sourceDigest: '',
  imageDigest: '',
  imageBytes: 0,
  pushedBy: null,
  envelope: null,
  hasState: null,
  interface: { exports: [], imports: [] },
  createdAt: anyTime(),
});

const newPatchSet = (builds: readonly ReturnType<ReturnType<typeof newBuild>>[]) => (index: number) => ({
  id: newIdentifier('patch set'),
  name: oneOf(['net', 'net-2', 'core']),
  version: `1.0.${Math.floor(index / 3)}-${index % 3}`,
  createdAt: anyTime(),
  createdBy: 'test',
  envelope: '',
  members: ['arp', 'dns', 'tcp', 'udp'].flatMap((module) => {
    const build = random(2) === 0 ? undefined : builds.find((one) => one.module === module);
    return build === undefined
      ? []
      : [{ module, version: build.version, buildId: build.id, imageDigest: '', imagePrunedAt: null, yankReason: null, envelope: null }];
  }),
});

const newPublisherKey = (index: number) => ({
  id: newIdentifier('publisher key'),
  name: `publisher-${index}`,
  keyId: `sha256:${String(index).padStart(64, '0')}`,
  publicKey: '',
  createdAt: anyTime(),
  createdBy: 'test',
  revokedAt: random(2) === 0 ? anyTime() : null,
});

const newPolicy = (index: number) => ({
  id: newIdentifier('signature policy'),
  name: `policy-${index}`,
  deviceId: null,
  labels: { zone: 'north' },
  selector: null,
  groupId: null,
  module: null,
  publisherKeys: [],
  threshold: 1,
  createdAt: anyTime(),
});

const newKey = (index: number) => ({
  id: newIdentifier('key'),
  name: `key-${index}`,
  role: oneOf(['viewer', 'operator']),
  host: null,
  secretDigest: '',
  createdAt: anyTime(),
  createdBy: 'test',
  lastUsedAt: null,
  revokedAt: random(2) === 0 ? anyTime() : null,
  expiresAt: null,
  requestsPerMinute: null,
  scope: null,
});

const newResidency = (deviceId: string) => (index: number) => ({
  deviceId,
  module: oneOf(['tcp', 'tcp', 'udp']),
  version: '1.0.0',
  imageDigest: '',
  loadId: null,
  requestedBy: null,
  address: `0x${index}`,
  pages: 1,
  installedAt: anyTime(),
});

const newViolation = (deviceId: string, programs: readonly { id: string }[]) => (index: number) => ({
  deviceId,
  bootId: 'boot',
  programId: programs[random(3)]?.id ?? '',
  programName: 'program',
  module: oneOf(['tcp', 'udp']),
  version: '1.0.0',
  address: `0x${index}`,
  page: index,
  flag: 'nx',
  firstFaultAt: anyTime(),
  lastFaultAt: anyTime(),
  faults: 1n,
});

const newEvent = (index: number) => ({
  // The audit trail is ordered by time.
  at: new Date(Date.UTC(2030, 0, 1, 0, 0, Math.floor(index / 12))),
  actor: oneOf(['key_a', 'key_b']),
  action: oneOf(['load.completed', 'load.requested', 'device.created']),
  object: oneOf(['dev_a', 'dev_b']),
  requestId: oneOf(['', 'req_a', 'req_b']),
  outcome: oneOf(['succeeded', 'refused', 'failed'] as const),
  detail: {},
});

beforeAll(async () => {
  // The hosts are silent, and unreachable hosts would add events.
  service.unreachableAfter = 24 * 3_600_000;
  await service.start();
  store = await Store.open(service.database);
  const hosts = series(9, newHost);
  // So many that some labels have more devices than the limit of indexed look-ups, and some fewer.
  const devices = series(300, newDevice(hosts));
  const [device] = devices;
  if (device === undefined) throw new Error('no devices');
  const batches = series(4, () => newIdentifier('batch'));
  const loads = series(160, newLoad(devices, batches));
  const programs = series(40, newProgram(device.id));
  const builds = ['tcp', 'udp', 'icmp', 'arp', 'dns'].flatMap((module, index) => series(12 * (index + 1), newBuild(module)));
  const keys = series(40, newKey);
  const patchSets = series(60, newPatchSet(builds)).filter(({ members }) => members.length > 0);
  const publisherKeys = series(40, newPublisherKey);
  const policies = series(40, newPolicy);
  const violations = series(40, newViolation(device.id, programs));
  const residencies = series(60, newResidency(device.id));
  await inTransaction(store, async (records) => {
    for (const host of hosts) await records.hosts.save(host);
    await records.devices.create(
      devices.map(({ id, name, host, labels, createdAt }) => ({ id, name, hostId: host.id, labels, createdAt, ramPages: 16 })),
    );
    for (const { id, modules, isAttached } of devices) {
      if (isAttached) await records.devices.setAttached([{ id, attachedBootId: 'boot', attachFailure: null }]);
      await records.devices.setModules(modules.map((entry) => ({ deviceId: id, imageDigest: '', loadedAt: null, ...entry })));
    }
    await records.loads.create(loads.map(({ load }) => ({ ...load, state: load.state === 'completed' ? 'queued' : load.state })));
    for (const { load, outcome } of loads)
      if (outcome !== null) await records.loads.end([load.id], { outcome, reason: null, completedAt: new Date() });
    for (const program of programs) await records.programs.create(program);
    for (const build of builds) await records.builds.create(build);
    for (const patchSet of patchSets) await records.patchSets.create(patchSet);
    for (const key of keys) await records.keys.create(key);
    for (const key of publisherKeys) await records.publisherKeys.create(key);
    for (const policy of policies) await records.signaturePolicies.create(policy);
    await records.history.insert(residencies);
    await records.abiViolations.create(device.id, violations);
    await records.audit.append(series(150, newEvent));
  });
  const named = { name: '', key: '' };
  lists.push(
    {
      path: '/v1/hosts',
      mark: 'id',
      sorts: ['registeredAt', 'name'],
      hasRange: false,
      items: hosts.map(({ id, name, registeredAt, unreachableSince }) => ({
        mark: id,
        key: id,
        name,
        time: registeredAt.getTime(),
        selectedBy: { status: [unreachableSince === null ? 'connected' : 'unreachable'] },
      })),
    },
    {
      path: '/v1/devices',
      mark: 'id',
      sorts: ['createdAt', 'name'],
      hasRange: true,
      items: devices.map((one) => ({
        mark: one.id,
        key: one.id,
        name: one.name,
        time: one.createdAt.getTime(),
        selectedBy: {
          status: [one.status],
          host: [one.host.id, one.host.name],
          label: labelTexts(one),
          selector: selectorTexts(one),
          namePrefix: prefixesOf(one.name),
          module: one.modules.map(({ module }) => module),
          version: one.modules.map(({ version }) => version),
          'module version': one.modules.map(({ module, version }) => `${module} ${version}`),
        },
      })),
    },
    {
      path: '/v1/loads',
      mark: 'id',
      sorts: ['requestedAt'],
      hasRange: true,
      items: loads.map(({ load, device: on, outcome }) => ({
        ...named,
        mark: load.id,
        key: load.id,
        time: load.requestedAt.getTime(),
        selectedBy: {
          batch: [load.batchId],
          device: [load.deviceId],
          label: labelTexts(on),
          selector: selectorTexts(on),
          module: [load.module],
          version: [load.version],
          state: [load.state],
          outcome: outcome === null ? [] : [outcome],
        },
      })),
    },
    {
      path: `/v1/devices/${device.id}/programs`,
      mark: 'id',
      sorts: ['createdAt'],
      hasRange: true,
      items: programs.map(({ id, module, createdAt }) => ({
        ...named,
        mark: id,
        key: id,
        time: createdAt.getTime(),
        selectedBy: { module: [module] },
      })),
    },
    ...['history', 'modules/tcp/history'].map((path) => ({
      path: `/v1/devices/${device.id}/${path}`,
      mark: 'address',
      sorts: ['installedAt'],
      hasRange: true,
      items: residencies
        .map((residency, index) => ({
          ...named,
          ...residency,
          mark: residency.address,
          key: index,
          time: residency.installedAt.getTime(),
          selectedBy: {},
        }))
        .filter(({ module }) => path === 'history' || module === 'tcp'),
    })),
    {
      path: `/v1/devices/${device.id}/abi-violations`,
      mark: 'address',
      sorts: ['firstFaultAt'],
      hasRange: true,
      items: violations.map(({ address, firstFaultAt, programId, module }, index) => ({
        ...named,
        mark: address,
        key: index,
        time: firstFaultAt.getTime(),
        selectedBy: { program: [programId], module: [module] },
      })),
    },
    {
      path: '/v1/modules',
      mark: 'name',
      sorts: ['name', 'lastBuildAt'],
      hasRange: false,
      items: [...Map.groupBy(builds, ({ module }) => module)].map(([module, some]) => ({
        mark: module,
        key: module,
        name: module,
        time: Math.max(...some.map(({ createdAt }) => createdAt.getTime())),
        selectedBy: {},
      })),
    },
    {
      path: '/v1/modules/dns/builds',
      mark: 'id',
      sorts: ['createdAt'],
      hasRange: true,
      items: builds
        .filter(({ module }) => module === 'dns')
        .map(({ id, language, createdAt }) => ({
          ...named,
          mark: id,
          key: id,
          time: createdAt.getTime(),
          selectedBy: { language: [language] },
        })),
    },
    {
      path: '/v1/patch-sets',
      mark: 'id',
      sorts: ['createdAt'],
      hasRange: true,
      items: patchSets.map(({ id, name, version, members, createdAt }) => ({
        ...named,
        mark: id,
        key: id,
        time: createdAt.getTime(),
        selectedBy: { name: [name], version: [version], module: members.map(({ module }) => module) },
      })),
    },
    {
      path: '/v1/keys',
      mark: 'id',
      sorts: ['createdAt'],
      hasRange: true,
      items: withoutMarks(await new KeyQueries(store.reader).list({}, { sort: 'time', order: 'asc', limit: 100, after: null })).map(
        (key) => ({
          ...named,
          mark: key.id,
          key: key.id,
          time: key.createdAt.getTime(),
          selectedBy: { role: [key.role], revoked: [String(key.revokedAt !== null)] },
        }),
      ),
    },
    {
      path: '/v1/publisher-keys',
      mark: 'id',
      sorts: ['createdAt'],
      hasRange: false,
      items: publisherKeys.map(({ id, createdAt, revokedAt }) => ({
        ...named,
        mark: id,
        key: id,
        time: createdAt.getTime(),
        selectedBy: { revoked: [String(revokedAt !== null)] },
      })),
    },
    {
      path: '/v1/signature-policies',
      mark: 'id',
      sorts: ['createdAt'],
      hasRange: false,
      items: policies.map(({ id, createdAt }) => ({ ...named, mark: id, key: id, time: createdAt.getTime(), selectedBy: {} })),
    },
    {
      path: '/v1/audit',
      mark: 'number',
      sorts: ['at'],
      hasRange: true,
      items: withoutMarks(await new AuditQueries(store.reader).listAfter(0, ['load', 'device', 'key', 'signing-key'], 1_000)).map(
        (event) => ({
          ...named,
          mark: event.number,
          key: event.number,
          time: event.at.getTime(),
          selectedBy: {
            actor: [event.actor],
            action: [event.action],
            object: [event.object],
            outcome: [event.outcome],
            request: event.requestId === '' || event.requestId === null ? [] : [event.requestId],
          },
        }),
      ),
    },
  );
});
afterAll(async () => {
  await store.close();
  await service.close();
});

type Query = {
  readonly filters: readonly (readonly [string, string])[];
  readonly sort: string | undefined;
  readonly order: 'asc' | 'desc' | undefined;
  readonly from: number | undefined;
  readonly until: number | undefined;
  readonly limit: number;
};

/** The single filters of a list. */
const filtersOf = (items: readonly Item[]) =>
  [...new Set(items.flatMap(({ selectedBy }) => Object.keys(selectedBy)))].filter((name) => !name.includes(' '));

/** Generates queries of a list, with values that some items have. */
function queryOf({ items, sorts, hasRange }: List): fc.Arbitrary<Query> {
  const names = filtersOf(items);
  const filter = (name: string) => {
    const values = [...new Set(items.flatMap(({ selectedBy }) => selectedBy[name] ?? []))].toSorted();
    return fc.constantFrom(...values).map((value) => [name, value] as const);
  };
  // Labels can be repeated; two values of one label are rejected.
  const choice = [...names, ...names.filter((name) => name === 'label')];
  const moments = [...new Set(items.map(({ time }) => time))].flatMap((time) => [time, time + 1]);
  const moment = hasRange ? fc.option(fc.constantFrom(...moments), { nil: undefined }) : fc.constant(undefined);
  return fc
    .record({
      // At most three: combinations of more select nothing.
      filters: fc.subarray(choice, { maxLength: Math.min(3, choice.length) }).chain((chosen) => fc.tuple(...chosen.map(filter))),
      sort: fc.constantFrom(undefined, ...(sorts.length > 1 ? sorts : [])),
      order: fc.constantFrom(undefined, 'asc' as const, 'desc' as const),
      bounds: fc.tuple(moment, moment),
      limit: fc.oneof(fc.integer({ min: 2, max: 12 }), fc.integer({ min: 12, max: 200 })),
    })
    .map(({ bounds: [one, another], ...rest }) => {
      const isBackward = one !== undefined && another !== undefined && one > another;
      return { ...rest, from: isBackward ? another : one, until: isBackward ? one : another };
    })
    .filter(({ filters }) => {
      const keys = new Map<string, string>();
      return filters.every(([name, value]) => {
        const key = name === 'label' ? `label ${value.split('=')[0]}` : name;
        const isNew = (keys.get(key) ?? value) === value;
        keys.set(key, value);
        return isNew;
      });
    });
}

/** Returns the expected items of a query, in order. */
function expected(list: List, { filters, sort = list.sorts[0], order, from = -Infinity, until = Infinity }: Query): (string | number)[] {
  const given = new Map(filters);
  const both =
    given.has('module') && given.has('version') ? [['module version', `${given.get('module')} ${given.get('version')}`] as const] : [];
  const selected = list.items.filter(
    ({ selectedBy, time }) =>
      time >= from &&
      time < until &&
      [...filters, ...both].every(([name, value]) => !(name in selectedBy) || selectedBy[name]?.includes(value)),
  );
  const compare = <Value extends string | number>(left: Value, right: Value) => (left < right ? -1 : left > right ? 1 : 0);
  const sorted = selected.toSorted((left, right) =>
    sort === 'name' ? compare(left.name, right.name) : compare(left.time, right.time) || compare(left.key, right.key),
  );
  const isAscending = (order ?? (sort === 'name' ? 'asc' : 'desc')) === 'asc';
  return (isAscending ? sorted : sorted.toReversed()).map(({ mark }) => mark);
}

function pathOf({ path }: List, { filters, sort, order, from, until, limit }: Query): string {
  const query = new URLSearchParams([...filters.map(([name, value]) => [name, value]), ['limit', String(limit)]]);
  if (sort !== undefined) query.set('sort', sort);
  if (order !== undefined) query.set('order', order);
  if (from !== undefined) query.set('from', new Date(from).toISOString());
  if (until !== undefined) query.set('until', new Date(until).toISOString());
  return `${path}?${query}`;
}

/** Reads the pages one after another, and calls a function between them. */
async function readPages(path: string, mark: string, limit: number, between = async () => {}): Promise<unknown[]> {
  const marks: unknown[] = [];
  for (let cursor: unknown = null; ; ) {
    const response = await service.get(cursor === null ? path : `${path}&cursor=${cursor}`);
    expect([path, response.status]).toEqual([path, 200]);
    const items = itemsOf(response);
    marks.push(...items.map((item) => item[mark]));
    if (marks.length > 2_000) throw new Error(`the pages of ${path} do not end`);
    cursor = response.body['next'];
    expect(items.length).toBe(cursor === null ? items.length : limit);
    if (cursor === null) return marks;
    await between();
  }
}

test.each([
  '/v1/hosts',
  '/v1/devices',
  '/v1/loads',
  '/v1/devices/{device}/programs',
  '/v1/devices/{device}/history',
  '/v1/devices/{device}/modules/tcp/history',
  '/v1/devices/{device}/abi-violations',
  '/v1/modules',
  '/v1/modules/dns/builds',
  '/v1/keys',
  '/v1/audit',
])('the pages of %s are exactly its filtered, sorted items', { timeout: 300_000 }, async (template) => {
  const list = lists.find(({ path }) => path.replace(/dev_[0-9a-f]+/, '{device}') === template);
  if (list === undefined) throw new Error(`the model has no ${template}`);
  /** Filters that have both selected and excluded items. */
  const tried = new Set<string>();
  await fc.assert(
    fc.asyncProperty(queryOf(list), async (query) => {
      const path = pathOf(list, query);
      const marks = await readPages(path, list.mark, query.limit);
      expect([path, marks]).toEqual([path, expected(list, query)]);
      if (marks.length > 0 && marks.length < list.items.length) for (const [name] of query.filters) tried.add(name);
    }),
    // Queries are small enough to be readable without shrinking.
    { numRuns: 200, endOnFailure: true },
  );
  expect([...tried].toSorted()).toEqual(filtersOf(list.items).toSorted());
});

test('devices are found by the maximum number of identifiers in a query', async () => {
  const devices = lists.find(({ path }) => path === '/v1/devices')?.items ?? [];
  const wanted = devices.slice(100, 200);
  const query = (ids: readonly unknown[]) => ids.map((id) => `id=${id}`).join('&');
  const found = await readPages(`/v1/devices?${query(wanted.map(({ mark }) => mark))}&limit=40`, 'id', 40);
  expect(found.toSorted()).toEqual(wanted.map(({ mark }) => mark).toSorted());
  const [one, another] = [wanted.find(({ selectedBy }) => selectedBy['label']?.includes('zone=north')), wanted.at(-1)];
  const few = await service.get(`/v1/devices?${query([one?.mark, newIdentifier('device')])}&label=zone=north`);
  expect(itemsOf(few).map(({ id }) => id)).toEqual([one?.mark]);
  expect(itemsOf(await service.get(`/v1/devices?${query([another?.mark])}&namePrefix=none`))).toEqual([]);
  const tooMany = await service.get(`/v1/devices?${query(Array.from({ length: 101 }, () => another?.mark))}`);
  expect(tooMany).toMatchObject({ status: 422, body: { errors: [{ in: 'query', pointer: '/id' }] } });
});

test('pages hold every earlier item once and in order while items are added', async () => {
  const [host] = lists[0]?.items ?? [];
  let made = 0;
  const addDevice = async () => {
    made += 1;
    const name = `${oneOf(['a', 'b'])}-added-${made}`;
    const device = { id: newIdentifier('device'), name, hostId: String(host?.mark), labels: {}, createdAt: new Date(), ramPages: 16 };
    await inTransaction(store, (records) => records.devices.create([device]));
  };
  for (const query of ['sort=createdAt', 'sort=createdAt&order=asc', 'sort=name', 'sort=name&order=desc', 'label=zone=north']) {
    const before = await readPages(`/v1/devices?${query}&limit=200`, 'id', 200);
    const read = await readPages(`/v1/devices?${query}&limit=30`, 'id', 30, addDevice);
    expect(new Set(read).size).toBe(read.length);
    expect(read.filter((id) => before.includes(id))).toEqual(before);
  }
  expect(made).toBeGreaterThan(20);
});

test('a cursor is accepted only by its own list, sort and order', async () => {
  const sorts = ['sort=createdAt&order=desc', 'sort=createdAt&order=asc', 'sort=name&order=desc', 'sort=name&order=asc'];
  for (const sort of sorts) {
    const { body } = await service.get(`/v1/devices?${sort}&limit=2`);
    for (const other of sorts) {
      const response = await service.get(`/v1/devices?${other}&limit=2&cursor=${body.next}`);
      expect([sort, other, response.status]).toEqual([sort, other, sort === other ? 200 : 422]);
      if (response.status === 422) expect(response.body).toMatchObject({ errors: [{ in: 'query', pointer: '/cursor' }] });
    }
  }
  const { body } = await service.get('/v1/devices?limit=2');
  expect(await service.get(`/v1/loads?limit=2&cursor=${body.next}`)).toMatchObject({ status: 422 });
  // The default order is the same whether it is requested or not.
  expect(await service.get(`/v1/devices?order=desc&limit=2&cursor=${body.next}`)).toMatchObject({ status: 200 });
});

test('a modified cursor is rejected', async () => {
  const cursorOf = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const list = ['/v1/loads', 'time', 'desc'];
  expect((await service.get(`/v1/loads?cursor=${cursorOf([...list, [0, 'lod']])}`)).status).toBe(200);
  for (const position of [[], [0], ['0', 'lod'], [0, 1], [1e300, 'lod'], [8.64e15 + 1, 'lod'], [0, 'lod', 1], null, {}, 'lod']) {
    const response = await service.get(`/v1/loads?cursor=${cursorOf([...list, position])}`);
    expect(response).toMatchObject({ status: 422, body: { errors: [{ in: 'query', pointer: '/cursor' }] } });
  }
});

test('an inverted or malformed time range is rejected with a correction', async () => {
  for (const { path, hasRange } of lists) {
    const backward = await service.get(`${path}?from=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z`);
    expect([path, backward.status]).toEqual([path, 422]);
    if (!hasRange) continue;
    expect(backward).toMatchObject({
      body: { errors: [{ in: 'query', pointer: '/from', detail: expect.stringContaining('before `until`') }] },
    });
    expect((await service.get(`${path}?from=2026-01-02T00:00:00Z&until=2026-01-02T00:00:00Z`)).body).toEqual({
      items: [],
      damaged: [],
      next: null,
    });
    for (const wrong of [
      'yesterday',
      '2026-01-01',
      '2026-01-01T00:00:00',
      '2026-01-01T00:00:00+25:00',
      '2026-02-30T00:00:00Z',
      '1767225600',
    ])
      expect(await service.get(`${path}?until=${encodeURIComponent(wrong)}`)).toMatchObject({
        status: 422,
        body: { errors: [{ in: 'query', pointer: '/until' }] },
      });
  }
});

test('a time range can begin and end with the first and last representable time', async () => {
  const [first, last] = ['0000-01-01T00:00:00Z', '9999-12-31T23:59:59.999Z'];
  for (const { path } of lists.filter(({ hasRange }) => hasRange)) {
    const [all, within, none] = await Promise.all(
      ['', `from=${first}&until=${last}`, `until=${first}`].map((range) => service.get(`${path}?${range}`)),
    );
    expect([path, within?.body['items']]).toEqual([path, all?.body['items']]);
    expect([path, none?.status, none?.body['items']]).toEqual([path, 200, []]);
  }
});

test('range times can have any offset, with an unescaped +', async () => {
  const ids = async (query: string) => itemsOf(await service.get(`/v1/loads?limit=200&${query}`)).map(({ id }) => id);
  const expected = await ids('until=2026-01-01T00:00:00.001Z');
  expect(expected.length).toBeGreaterThan(0);
  for (const same of [
    '2026-01-01T01:00:00.001+01:00',
    '2026-01-01T01:00:00.001%2B01:00',
    '2025-12-31T16:00:00.001-08:00',
    '2026-01-01t00:00:00.001z',
  ])
    expect(await ids(`until=${same}`)).toEqual(expected);
  expect(await ids('until=2026-01-01T00:00:00.001+01:00')).toEqual([]);
  // The first and the last time, with offsets beyond the years of RFC 3339.
  expect(await ids('from=0000-01-01T00:00:00+23:59&until=9999-12-31T23:59:59.999-23:59')).toEqual(await ids(''));
});

test('the rejection of a filter states the expected syntax', async () => {
  const detailOf = async (path: string) => String((await service.get(path)).body['detail']);
  expect(await detailOf('/v1/devices?label=host!=x')).toContain('must have the form key=value (selector has other comparisons)');
  expect(await detailOf('/v1/devices?selector=zone+in+north')).toContain('at character 9: expected "(", received "north"');
  expect(await detailOf('/v1/loads?version=1.0.0+b1')).toContain('in a query, write "+" as %2B: 1.0.0%2Bb1');
  for (const query of ['label=build+host=x', 'label=%20host=x', 'label=zone=north&label=host+=x'])
    expect(await detailOf(`/v1/devices?${query}`)).toContain('write it as %2B');
  expect(await detailOf('/v1/devices?label=Host=a+b')).not.toContain('%2B');
  expect(await detailOf('/v1/devices?label=host=%FF')).toContain('write "%" as %25');
  expect(await detailOf('/v1/loads?from=2026-06-30T23:59:60Z')).toContain('leap seconds are not accepted: use second 59');
  expect(await detailOf('/v1/loads?from=2026-01-01')).toContain('with an offset (RFC 3339), like 2026-11-23T09:30:00Z');
});

test('a range compares times with sub-millisecond precision', async () => {
  const ids = async (query: string) => itemsOf(await service.get(`/v1/loads?limit=200&${query}`)).map(({ id }) => id);
  const [all, first] = [await ids('order=asc'), await ids('until=2026-01-01T00:00:00.001Z')];
  expect(first.length).toBeGreaterThan(0);
  expect(await ids('until=2026-01-01T00:00:00.000001Z')).toEqual(first);
  expect(await ids('until=2026-01-01T00:00:00.000000Z')).toEqual([]);
  expect(await ids('order=asc&from=2026-01-01T00:00:00.000000Z')).toEqual(all);
  expect(await ids('order=asc&from=2026-01-01T00:00:00.000001Z')).toEqual(all.filter((id) => !first.includes(id)));
});

test.each([
  ['/v1/devices', 'label=zone=north&label=zone=south', 'label'],
  ['/v1/loads', 'label=zone=north&label=zone=south', 'label'],
  ['/v1/loads', 'label=zone', 'label'],
  ['/v1/devices', 'label=host!=x', 'label'],
  ['/v1/devices', 'label=Zone=north', 'label'],
  ['/v1/devices', 'label=zone=north%0D%0A', 'label'],
  ['/v1/devices', 'selector=', 'selector'],
  ['/v1/devices', 'selector=Zone', 'selector'],
  ['/v1/devices', 'selector=zone&selector=rack', 'selector'],
  ['/v1/loads', 'selector=zone+in+()', 'selector'],
  ['/v1/loads', 'label=zone=north&label=rack!=1', 'label/1'],
  ['/v1/devices', 'label=host=%FF', 'label'],
  ['/v1/devices', 'label=host=%zz', 'label'],
  ['/v1/devices', 'limit=5&label=host=a%', 'label'],
  ['/v1/devices', 'label=host=%C3', 'label'],
  ['/v1/hosts', 'name=%E0%A4', 'name'],
  ['/v1/devices', 'version=1.0.0+b1', 'version'],
  ['/v1/loads', 'version=1.0.0+b1', 'version'],
  ['/v1/loads', 'version=v1.0.0', 'version'],
  ['/v1/devices', 'module=TCP', 'module'],
  ['/v1/loads', 'module=', 'module'],
  ['/v1/rollouts', 'module=tcp,udp', 'module'],
  ['/v1/devices', 'id=router-7', 'id'],
  ['/v1/devices', 'host=rack 1', 'host'],
  ['/v1/loads', 'device=Router 7', 'device'],
  ['/v1/loads', 'batch=lod_01a207bda9c07b1e9d2f4c6a8b0d1e2f', 'batch'],
  ['/v1/audit', 'action=load', 'action'],
  ['/v1/audit', 'actor=Anna', 'actor'],
  ['/v1/audit/export', 'after=', 'after'],
  ['/v1/devices', 'name=Upper', 'name'],
  ['/v1/devices', 'namePrefix=', 'namePrefix'],
  ['/v1/devices', 'sort=host', 'sort'],
  ['/v1/hosts', 'status=attaching', 'status'],
  ['/v1/modules', 'order=up', 'order'],
  ['/v1/loads', 'sort=name', 'sort'],
  ['/v1/audit', 'request=', 'request'],
])('%s?%s is refused', async (path, query, name) => {
  expect(await service.get(`${path}?${query}`)).toMatchObject({ status: 422, body: { errors: [{ in: 'query', pointer: `/${name}` }] } });
});
