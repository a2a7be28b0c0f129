// Wrong clocks of the service and of devices: nothing ends early, stalls or is executed twice.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { HostRegistration, type Order, Report } from '../../../src/protocol/agent.ts';
import { ModuleName } from '../../../src/protocol/identifiers.ts';
import { clockSettings } from '../../../src/service/clock/service-clock.ts';
import { DamagedItem } from '../../../src/service/database/damaged-rows.ts';
import { Store } from '../../../src/service/database/store.ts';
import { Installation } from '../../../src/service/installation.ts';
import { retainEverything } from '../../../src/service/retention/retention.ts';
import { kind, newDatabase } from '../../databases.ts';
import { defaultSettings } from '../../default-settings.ts';
import { defaultTerms } from '../default-terms.ts';
import { Records } from '../records.ts';
import { until } from '../test-service.ts';

const requester = { actor: 'test', requestId: 'req_test' };
const never = () => {
  throw new Error('no request here has a key');
};
const hour = 3_600_000;
const year = 365 * 24 * hour;

/** Controllable clocks of a machine; on PostgreSQL, the clock of one replica, whose time comes from the database. */
class Machine {
  ahead = 0;
  slept = 0;
  readonly time = { wall: () => Date.now() + this.ahead + this.slept, monotonic: () => performance.now() + this.slept };
}

let folder: string;
let database: string;
let machine: Machine;
let installation: Installation;
let defaults: ReturnType<typeof defaultSettings>;
let unreachableAfter: number;
const settings = () => ({ joinToken: 'not used', unreachableAfter, adminKey: null, ...defaults, time: machine.time });
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'patchbay-clocks-'));
  database = await newDatabase(folder);
  machine = new Machine();
  defaults = defaultSettings();
  unreachableAfter = 60_000;
});
afterEach(async () => {
  await installation.close();
  rmSync(folder, { recursive: true, force: true });
});

async function start(): Promise<{ readonly host: string; readonly device: string }> {
  installation = await Installation.open(database, settings());
  const devices = [{ name: 'd1', labels: {}, ramPages: 64 }];
  const registration = HostRegistration.parse({ name: 'host', bootId: 'the-only-boot', capacity: 1, devices });
  const { id } = await installation.agents.register(registration, null, requester);
  const source = '(module (func (export "one") (result i32) (i32.const 1)))';
  await installation.builds.push({ module: ModuleName.parse('tcp'), version: '1.0.0', language: 'wat', source }, requester, never);
  const [attach] = await orders(id);
  if (attach === undefined) throw new Error('no order');
  return { host: id, device: attach.device };
}

const orders = (host: string): Promise<Order[]> => installation.agents.pollOrders(host, 'the-only-boot', 0, AbortSignal.timeout(0));

async function requestLoad(device: string, deadlineSeconds: number): Promise<string> {
  const request = { module: 'tcp', version: '1.0.0', selector: { devices: [device] }, ...defaultTerms, deadlineSeconds };
  const { loads } = await installation.loads.request(request, requester, never);
  return loads[0]?.id ?? '';
}

const outcomeOf = async (load: string) => (await installation.loads.get(load)).outcome;
const remainingOf = async (host: string) => {
  const load = (await orders(host)).find((order) => order.kind === 'load');
  return load?.remainingMilliseconds ?? Number.NaN;
};
const reportsJump = async () => (await installation.health.fleet()).reasons.some((reason) => reason.includes(' jumped '));

test.each([hour, -hour, 10 * year, -40 * year])('a clock jump of %d ms does not end a load or change its remaining time', async (ahead) => {
  const { host, device } = await start();
  const load = await requestLoad(device, 600);
  machine.ahead = ahead;
  if (kind === 'sqlite') await until('the jump is seen', reportsJump);
  await installation.loads.expire();
  expect(await outcomeOf(load)).toBeNull();
  expect(await remainingOf(host)).toBeGreaterThan(570_000);
  expect(await remainingOf(host)).toBeLessThanOrEqual(600_000);
  machine.ahead = 0;
  await until('the clock is right again', async () => !(await reportsJump()));
  await installation.loads.expire();
  expect(await outcomeOf(load)).toBeNull();
});

test.runIf(kind === 'sqlite')('a load expires in time even if the machine clock stands still or runs backwards', async () => {
  const { host, device } = await start();
  const load = await requestLoad(device, 600);
  machine.ahead = -2 * hour;
  machine.slept = 590_000;
  await installation.loads.expire();
  expect(await outcomeOf(load)).toBeNull();
  expect(await remainingOf(host)).toBeLessThanOrEqual(10_000);
  machine.slept = 601_000;
  await installation.loads.expire();
  expect(await outcomeOf(load)).toBe('expired');
});

test.runIf(kind === 'sqlite')(
  'a load that was requested while the clock was ahead keeps its remaining time once the clock is correct',
  async () => {
    machine.ahead = 10 * year;
    const { host, device } = await start();
    const load = await requestLoad(device, 600);
    await installation.close();
    machine.ahead = 0;
    installation = await Installation.open(database, settings());
    expect(await remainingOf(host)).toBeLessThanOrEqual(600_000);
    await installation.loads.expire();
    expect(await outcomeOf(load)).toBeNull();
    const { requestedAt, deadlineAt } = await installation.loads.get(load);
    expect((deadlineAt?.getTime() ?? 0) - requestedAt.getTime()).toBe(600_000);
    expect(Math.abs(requestedAt.getTime() - Date.now())).toBeLessThan(60_000);
    expect(
      (await installation.auditTrail.list({ action: 'load.deadline-moved' }, { sort: 'time', order: 'desc', limit: 9, after: null })).items,
    ).toMatchObject([{ object: load }]);
    machine.slept = 601_000;
    await installation.loads.expire();
    expect(await outcomeOf(load)).toBe('expired');
  },
);

test.runIf(kind === 'postgresql')(
  'a replica with a wrong clock ends no load of another replica, and uses the same host timeout',
  async () => {
    const { host, device } = await start();
    const load = await requestLoad(device, 600);
    const right = installation;
    for (const ahead of [hour, -hour, 10 * year]) {
      machine = new Machine();
      machine.ahead = ahead;
      installation = await Installation.open(database, settings());
      await installation.loads.expire();
      expect(await outcomeOf(load)).toBeNull();
      expect(await remainingOf(host)).toBeGreaterThan(540_000);
      await installation.close();
    }
    installation = right;
  },
);

test.each([hour, -hour, 10 * year, -40 * year])(
  'a dead host is detected, and a live one is not, even if the clock of the service was wrong by %d ms',
  async (ahead) => {
    unreachableAfter = 1_000;
    machine.ahead = ahead;
    installation = await Installation.open(database, settings());
    const register = (name: string) =>
      installation.agents.register(HostRegistration.parse({ name, bootId: 'the-only-boot', capacity: 1, devices: [] }), null, requester);
    const [dying, living] = [await register('dying'), await register('living')];
    await installation.hosts.authenticate(dying.token);
    const unreachable = async () => {
      await installation.hosts.authenticate(living.token);
      const { items } = await installation.hosts.list({ status: 'unreachable' }, { sort: 'name', order: 'asc', limit: 9, after: null });
      return items.flatMap((host) => (host instanceof DamagedItem ? [] : host.name));
    };
    machine.ahead = 0;
    expect(await until('one host is unreachable', async () => ((await unreachable()).length > 0 ? unreachable() : null))).toEqual([
      'dying',
    ]);
    await installation.close();
    installation = await Installation.open(database, settings());
    expect(await unreachable()).toEqual(['dying']);
    machine.ahead = -ahead;
    await installation.hosts.authenticate(dying.token);
    expect(await unreachable()).toEqual([]);
    expect(await until('it is found again', async () => ((await unreachable()).length > 0 ? unreachable() : null))).toEqual(['dying']);
  },
);

test.runIf(kind === 'postgresql')('a host in contact with one replica is not unreachable for another with a wrong clock', async () => {
  unreachableAfter = 1_000;
  installation = await Installation.open(database, settings());
  const register = async (name: string) =>
    await installation.agents.register(
      HostRegistration.parse({ name, bootId: 'the-only-boot', capacity: 1, devices: [] }),
      null,
      requester,
    );
  const living = await register('living');
  machine = new Machine();
  machine.ahead = hour;
  const other = await Installation.open(database, settings());
  const dead: string[] = [];
  // While the second host dies, the other replica observes the live one for longer than the timeout.
  for (const name of ['first', 'second']) {
    dead.push((await register(name)).id);
    await until(`the ${name} host is unreachable`, async () => {
      await installation.hosts.authenticate(living.token);
      return (await other.health.fleet()).hosts.unreachable === dead.length;
    });
  }
  await other.close();
  const { items } = await installation.auditTrail.list(
    { action: 'host.unreachable' },
    { sort: 'time', order: 'asc', limit: 9, after: null },
  );
  expect(items.map((event) => (event instanceof DamagedItem ? event : event.object))).toEqual(dead);
});

test('a dead host is detected after a restart of the service, with any earlier clock error', async () => {
  unreachableAfter = 1_000;
  machine.ahead = hour;
  installation = await Installation.open(database, settings());
  await installation.agents.register(
    HostRegistration.parse({ name: 'dying', bootId: 'the-only-boot', capacity: 1, devices: [] }),
    null,
    requester,
  );
  await installation.close();
  machine.ahead = 0;
  installation = await Installation.open(database, settings());
  await until('it is found', async () => (await installation.health.fleet()).hosts.unreachable === 1);
});

const repeatable = { actor: 'key_1', sealedBy: null, key: 'k', route: 'POST /v1/things', body: '{"a":1}' };
const response = { status: 201, contentType: 'application/json', location: null, body: '{"id":1}' };

test.each([hour, 10 * year, -40 * year])('a request is not executed twice if the clock was wrong by %d ms for some time', async (ahead) => {
  installation = await Installation.open(database, settings());
  const keep = async (key: string) => {
    expect(await installation.idempotencyStore.begin({ ...repeatable, key })).toBeNull();
    await installation.idempotencyStore.store({ ...repeatable, key }, response);
  };
  await keep('before');
  // Also across restarts, at which the service starts with the machine clock; expired responses are deleted after the first request.
  for (const wrong of [0, ahead, ahead, 0]) {
    machine.ahead = wrong;
    await installation.close();
    installation = await Installation.open(database, settings());
    await keep(`at start ${wrong} ${performance.now()}`);
    expect(await installation.idempotencyStore.begin({ ...repeatable, key: 'before' })).toMatchObject(response);
    if (wrong !== 0)
      await installation.idempotencyStore
        .begin({ ...repeatable, key: 'while wrong' })
        .then((known) => known ?? installation.idempotencyStore.store({ ...repeatable, key: 'while wrong' }, response));
  }
  expect(await installation.idempotencyStore.begin({ ...repeatable, key: 'while wrong' })).toMatchObject(response);
  // After a day the response is deleted.
  machine.slept += 25 * hour;
  await installation.close();
  installation = await Installation.open(database, settings());
  expect(await installation.idempotencyStore.begin({ ...repeatable, key: 'before' })).toBeNull();
});

test('a clock that is ahead expires no event and no image', async () => {
  const day = 24 * hour;
  installation = await Installation.open(database, settings());
  const push = (version: string) => {
    const source = `(module (func (export "v${version}") (result i32) (i32.const 1)))`;
    return installation.builds.push({ module: ModuleName.parse('tcp'), version, language: 'wat', source }, requester, never);
  };
  const { build } = await push('1.0.0');
  await push('1.1.0');
  const relabel = async (device: string, labels: Record<string, string>) =>
    installation.devices.replaceLabels(device, labels, () => true, requester);
  const devices = [{ name: 'd1', labels: {}, ramPages: 64 }];
  await installation.agents.register(
    HostRegistration.parse({ name: 'host', bootId: 'the-only-boot', capacity: 1, devices }),
    null,
    requester,
  );
  const [view] = (await installation.devices.list({}, { sort: 'name', order: 'asc', limit: 1, after: null })).items;
  const id = view === undefined || view instanceof DamagedItem ? '' : view.device.id;
  for (let turn = 0; turn < 300; turn += 1) await relabel(id, { turn: String(turn) });
  await installation.close();
  machine.ahead = 10 * year;
  defaults = {
    ...defaults,
    retention: { ...retainEverything, interval: 20, events: { age: day, number: null }, keepImages: day, keepVersions: 0 },
  };
  const isThere = async () => {
    const { start } = await installation.auditTrail.export(undefined);
    return start.after === 0 && (await installation.builds.image(build.imageDigest)).length > 0;
  };
  installation = await Installation.open(database, settings());
  const store = await Store.open(database);
  const retentionTime = async () => (await new Records(store.readConnection).retentionTime.now()).getTime();
  // Each pruning run saves the retention time before it deletes anything.
  for (let turn = 0; turn < 3; turn += 1) {
    const before = await retentionTime();
    await until('the retention has had another turn', async () => (await retentionTime()) > before);
  }
  expect(await isThere()).toBe(true);
  // Two days later they have expired by any clock.
  machine.ahead = 0;
  machine.slept += 2 * day;
  await until('they are removed', async () => !(await isThere().catch(() => false)));
  await store.close();
});

test('loads of a device with a wrong clock appear in the history no later than reported and no earlier than requested', async () => {
  const { host, device } = await start();
  const began = Date.now();
  await requestLoad(device, 600);
  const load = (await orders(host)).find((order) => order.kind === 'load');
  if (load?.kind !== 'load') throw new Error('no load');
  const { order, module, version, image } = load;
  const at = new Date(began + 10 * year).toISOString();
  const current = { version, image, address: '0x1000', pages: 1 };
  const state = { sequence: 2, at, moduleTable: [{ module, version, image, address: '0x1000', referenceCount: 0 }] };
  const memoryMap = { pageBytes: 4096, pages: 64, usedPages: 1, ranges: [] };
  const result = {
    outcome: 'installed',
    reason: null,
    previous: null,
    current,
    interrupted: 0,
    retried: 0,
    failed: 0,
    microseconds: 1,
    steps: [],
  };
  const report = { kind: 'load-completed', order, device, load: load.load, state: { ...state, memoryMap, programs: [] }, result };
  await installation.agents.acceptReports(host, { bootId: 'the-only-boot', reports: [Report.parse(report)] }, requester);
  const seen = await installation.devices.get(device);
  expect(seen.device.stateReportedAt?.getTime()).toBeLessThan(Date.now() + clockSettings.tolerance);
  const { items } = await installation.history.list(
    { deviceId: device, module: 'tcp' },
    { sort: 'time', order: 'desc', limit: 9, after: null },
  );
  for (const residency of items) {
    const installedAt = residency instanceof DamagedItem ? Number.NaN : residency.installedAt.getTime();
    expect(Math.abs(installedAt - began)).toBeLessThan(60_000);
  }
});
