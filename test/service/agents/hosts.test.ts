// Hosts that restart, report late, or report about devices and programs of another host.

import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { HostRegistration, type Order, type OrderOf, Report } from '../../../src/protocol/agent.ts';
import { DeviceState } from '../../../src/protocol/device-state.ts';
import { ModuleName } from '../../../src/protocol/identifiers.ts';
import { DamagedItem } from '../../../src/service/database/damaged-rows.ts';
import { Installation } from '../../../src/service/installation.ts';
import { kind, newDatabase, runSql } from '../../databases.ts';
import { defaultSettings } from '../../default-settings.ts';
import { defaultTerms } from '../default-terms.ts';

const requester = { actor: 'test', requestId: 'req_test' };
/** The requests have no idempotency key, so that no response is stored. */
const noResponse = () => never();
const programRequest = {
  name: null,
  module: 'tcp',
  export: 'one',
  arguments: [],
  threads: 2,
  calls: null,
  pauseMilliseconds: 0,
  recovery: 'module',
  addressing: 'via-table',
  deadlineMilliseconds: null,
} as const;
const wholeList = { sort: 'time', order: 'desc', limit: 200, after: null } as const;

let folder: string;
let database: string;
let installation: Installation;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'patchbay-control-'));
  database = await newDatabase(folder);
  installation = await Installation.open(database, {
    joinToken: 'not used',
    unreachableAfter: 60_000,
    adminKey: null,
    ...defaultSettings(),
  });
});
afterEach(async () => {
  await installation.close();
  rmSync(folder, { recursive: true, force: true });
});

/** A simulated host without a network; with one device by default. */
class PlayedHost {
  readonly name: string;
  readonly deviceCount: number;
  id = '';
  bootId = randomUUID();
  /** The modules in the memory of its device. */
  modules: { module: string; version: string; image: string }[] = [];

  constructor(name: string, deviceCount = 1) {
    this.name = name;
    this.deviceCount = deviceCount;
  }

  async register(): Promise<void> {
    const devices = Array.from({ length: this.deviceCount }, (_, index) => ({
      name: `${this.name}-${index + 1}`,
      labels: { host: this.name },
      ramPages: 64,
    }));
    const registration = HostRegistration.parse({ name: this.name, bootId: this.bootId, capacity: 20_000, devices });
    this.id = (await installation.agents.register(registration, null, requester)).id;
  }

  async restart(): Promise<void> {
    this.bootId = randomUUID();
    await this.register();
  }

  /** Returns the unsettled orders, of which the test expects this number. */
  async orders(count: number): Promise<Order[]> {
    const orders: Order[] = [];
    for await (const order of await installation.agents.streamOrders(this.id, this.bootId, new AbortController().signal)) {
      orders.push(order);
      if (orders.length === count) break;
    }
    return orders;
  }

  async order<Kind extends Order['kind']>(kind: Kind, among = 1): Promise<OrderOf<Kind>> {
    const found = (await this.orders(among)).find((order): order is OrderOf<Kind> => order.kind === kind);
    if (found === undefined) throw new Error(`no order of the kind ${kind}`);
    return found;
  }

  report(...reports: unknown[]): Promise<void> {
    return installation.agents.acceptReports(
      this.id,
      { bootId: this.bootId, reports: reports.map((report) => Report.parse(report)) },
      requester,
    );
  }

  async device(): Promise<string> {
    const { items } = await installation.devices.list({ host: this.id }, wholeList);
    const [first] = items;
    return first === undefined || first instanceof DamagedItem ? '' : first.device.id;
  }

  /** Attaches its device with the ordered modules and programs. */
  async attach(): Promise<OrderOf<'attach-device'>> {
    const order = await this.order('attach-device');
    this.modules = order.modules;
    await this.report({ ...heading(order), kind: 'device-attached', failure: null, state: stateWith(this.modules) });
    return order;
  }

  /** Requests a load of this version and reports it as installed. */
  async load(version: string): Promise<OrderOf<'load'>> {
    await requestLoad(version, [await this.device()]);
    const order = await this.order('load');
    this.modules = [order];
    await this.report(loaded(order));
    return order;
  }

  /** Requests a program and reports it as started. */
  async startProgram(): Promise<string> {
    const { program } = await installation.programs.start(await this.device(), programRequest, requester, noResponse);
    const order = await this.order('start-program');
    await this.report({
      ...heading(order),
      kind: 'program-started',
      program: order.program,
      failure: null,
      state: stateWith(this.modules),
    });
    return program.id;
  }
}

const heading = ({ order, device }: Order) => ({ order, device });

function statistics(program: string, state: string, callsCompleted = 0) {
  return {
    program,
    state,
    threads: state === 'running' ? 2 : 0,
    callsCompleted,
    callsFailed: 0,
    accessesInterrupted: 0,
    accessesRetried: 0,
    effects: 0,
    lastFailure: null,
    lastResult: null,
    versions: [],
  };
}

const moment = (second: number) => new Date(Date.UTC(2026, 10, 23, 9, 0, second)).toISOString();

/** Returns a violation of a program with a number of faults, the last at the given second. */
function violation(program: string, faults: number, second: number, version = '1.0.0') {
  const place = { module: 'tcp', version, address: '0x1000', page: 1, flag: 'nx' };
  return { program, ...place, at: moment(0), lastAt: moment(second), faults };
}

/** Returns a report of a state with these ABI violations. */
const withViolations = (device: string, ...newest: unknown[]) => ({
  kind: 'device-state',
  device,
  state: { ...stateWith([]), abiViolations: { total: newest.length, newest } },
});

const violationsOf = async (deviceId: string) => (await installation.devices.abiViolations({ deviceId }, wholeList)).items;
const findings = async () => (await installation.auditTrail.list({ action: 'device.abi-violation' }, wholeList)).items;

let lastSequence = 0;

/** Returns a state that is newer than every earlier one. */
function stateWith(modules: readonly { module: string; version: string; image: string }[], programs: unknown[] = []): DeviceState {
  lastSequence += 1;
  return DeviceState.parse({
    sequence: lastSequence,
    at: new Date().toISOString(),
    moduleTable: modules.map(({ module, version, image }) => ({ module, version, image, address: '0x1000', referenceCount: 0 })),
    memoryMap: { pageBytes: 4096, pages: 64, usedPages: modules.length, ranges: [] },
    programs,
  });
}

function loaded(order: OrderOf<'load'>) {
  const { module, version, image, load } = order;
  const current = { version, image, address: '0x1000', pages: 1 };
  const facts = { reason: null, previous: null, current, interrupted: 0, retried: 0, failed: 0, microseconds: 1, steps: [] };
  return {
    ...heading(order),
    kind: 'load-completed',
    load,
    state: stateWith([{ module, version, image }]),
    result: { outcome: 'installed', ...facts },
  };
}

/** Receives and settles this number of orders: the number in flight is limited. */
async function settleAll(host: PlayedHost, count: number, report: (order: Order) => unknown): Promise<Order[]> {
  const settled: Order[] = [];
  while (settled.length < count) {
    const orders = await host.orders(Math.min(count - settled.length, 500));
    await host.report(...orders.map(report));
    settled.push(...orders);
  }
  return settled;
}

function never(): never {
  throw new Error('no order');
}

/** Requests loads. Returns the first. */
async function requestLoad(version: string, devices: readonly string[]): Promise<string> {
  const source = `(module (func (export "one") (result i32) (i32.const 1)) (func (export "${version}")))`;
  await installation.builds.push({ module: ModuleName.parse('tcp'), version, language: 'wat', source }, requester, noResponse);
  const request = {
    module: 'tcp',
    version,
    selector: { devices },
    ...defaultTerms,
  };
  const { loads } = await installation.loads.request(request, requester, noResponse);
  return loads[0]?.id ?? '';
}

async function attachedHost(name = 'host'): Promise<PlayedHost> {
  const host = new PlayedHost(name);
  await host.register();
  await host.attach();
  return host;
}

test('a report of a different kind than its order does not settle the order, and the load reaches its outcome later', async () => {
  const host = await attachedHost();
  const load = await requestLoad('1.0.0', [await host.device()]);
  const order = await host.order('load');
  const state = stateWith([]);
  await host.report(
    { ...heading(order), kind: 'device-attached', failure: null, state },
    { ...heading(order), kind: 'program-started', program: `prg_${'0'.repeat(32)}`, failure: null, state },
    { ...heading(order), kind: 'program-stopped', program: `prg_${'0'.repeat(32)}`, failure: null, state },
  );
  expect(await installation.loads.get(load)).toMatchObject({ state: 'dispatched' });
  expect(await host.order('load')).toMatchObject({ order: order.order, sequence: order.sequence });
  await host.report({ ...heading(order), kind: 'device-attached', failure: null, state }, loaded(order));
  expect(await installation.loads.get(load)).toMatchObject({ state: 'completed', outcome: 'installed' });
});

test('a report of an earlier boot that arrives during a registration changes nothing', async () => {
  const host = await attachedHost();
  const load = await requestLoad('1.0.0', [await host.device()]);
  const order = await host.order('load');
  const late = host.report(loaded(order));
  const restarted = host.restart();
  const [reported] = await Promise.allSettled([late, restarted]);
  const { state } = await installation.loads.get(load);
  const [attach] = await host.orders(1);
  // Either the complete batch was applied before the new boot, or nothing of it.
  if (reported.status === 'fulfilled') {
    expect(state).toBe('completed');
    expect(attach).toMatchObject({ kind: 'attach-device', modules: [{ module: 'tcp', version: '1.0.0' }] });
  } else {
    expect(reported.reason).toMatchObject({ kind: 'stale-boot' });
    expect(state).toBe('dispatched');
    expect(attach).toMatchObject({ kind: 'attach-device', modules: [] });
  }
});

test('a report of an order from before a new registration does not settle the reissued order', async () => {
  const host = await attachedHost();
  const load = await requestLoad('1.0.0', [await host.device()]);
  const before = await host.order('load');
  // The host restarts, and restarts again before its devices attach.
  await host.restart();
  await host.restart();
  await host.report(loaded(before));
  expect(await installation.loads.get(load)).toMatchObject({ state: 'queued' });
  await host.attach();
  await host.report(loaded(await host.order('load')));
  expect(await installation.loads.get(load)).toMatchObject({ state: 'completed' });
});

test('the order stream of a host ends when the host registers with a new boot id', async () => {
  const host = await attachedHost();
  const orders = await installation.agents.streamOrders(host.id, host.bootId, new AbortController().signal);
  const ended = (async () => {
    for await (const _ of orders) throw new Error('there is no order for the old life');
  })();
  await host.restart();
  await expect(ended).resolves.toBeUndefined();
});

test('a stopping program is stopped by a restart of its host, with its last reported statistics', async () => {
  const host = await attachedHost();
  await host.load('1.0.0');
  const program = await host.startProgram();
  const device = await host.device();
  await host.report({ kind: 'device-state', device, state: stateWith([], [statistics(program, 'running', 41)]) });
  await installation.programs.stop(device, program, requester);
  expect(await installation.programs.get(device, program)).toMatchObject({ state: 'stopping' });
  await host.restart();
  expect(await installation.programs.get(device, program)).toMatchObject({
    state: 'stopped',
    statistics: { state: 'stopped', threads: 0, callsCompleted: 41 },
  });
  expect(await host.attach()).toMatchObject({ programs: [] });
  const next = await requestLoad('1.1.0', [device]);
  expect(await host.orders(1)).toMatchObject([{ kind: 'load', load: next }]);
});

test('a program whose stop succeeded is stopped, regardless of the states before, in and after the report', async () => {
  const host = await attachedHost();
  await host.load('1.0.0');
  const device = await host.device();
  const at = moment(1);
  const stateOf = (program: string, state: string, calls: number) => ({
    ...stateWith(host.modules, [statistics(program, state, calls)]),
    at,
  });
  const stop = async (report: (order: Order, older: unknown, newer: unknown) => Promise<void>) => {
    const program = await host.startProgram();
    await installation.programs.stop(device, program, requester);
    const order = await host.order('stop-program');
    const older = { kind: 'device-state', device, state: stateOf(program, 'running', 40) };
    const newer = { ...heading(order), kind: 'program-stopped', program, failure: null, state: stateOf(program, 'stopped', 41) };
    await report(order, older, newer);
    expect(await installation.programs.get(device, program)).toMatchObject({
      state: 'stopped',
      statistics: { threads: 0, callsCompleted: 41 },
    });
  };
  await stop((_, older, newer) => host.report(older, newer));
  await stop((_, older, newer) => host.report(newer, older));
  await stop(async (_, older, newer) => {
    await host.report(newer);
    await host.report(older);
  });
  // A newer state, which does not list the program, has arrived already.
  await stop(async (_, older, newer) => {
    await host.report(older, { kind: 'device-state', device, state: { ...stateWith(host.modules), at } });
    await host.report(newer);
  });
});

test('a program that its device does not have is stopped', async () => {
  const host = await attachedHost();
  await host.load('1.0.0');
  const device = await host.device();
  const program = await host.startProgram();
  await installation.programs.stop(device, program, requester);
  const order = await host.order('stop-program');
  const report = { ...heading(order), kind: 'program-stopped', program };
  await host.report({ ...report, failure: `the device has no program ${program}`, state: stateWith(host.modules) });
  expect(await installation.programs.get(device, program)).toMatchObject({ state: 'stopped', statistics: { threads: 0 } });
});

test('a program whose stop failed remains stopping and ends when its device reports the end', async () => {
  const host = await attachedHost();
  await host.load('1.0.0');
  const device = await host.device();
  const program = await host.startProgram();
  await installation.programs.stop(device, program, requester);
  const order = await host.order('stop-program');
  const running = stateWith(host.modules, [statistics(program, 'running')]);
  await host.report({ ...heading(order), kind: 'program-stopped', program, failure: 'the processor is busy', state: running });
  expect(await installation.programs.get(device, program)).toMatchObject({ state: 'stopping' });
  await host.report({ kind: 'device-state', device, state: stateWith(host.modules, [statistics(program, 'finished', 7)]) });
  expect(await installation.programs.get(device, program)).toMatchObject({ state: 'finished', statistics: { callsCompleted: 7 } });
});

test('a program with a stop request before its start is started and stopped after the restart', async () => {
  const host = await attachedHost();
  await host.load('1.0.0');
  const device = await host.device();
  const { program } = await installation.programs.start(device, programRequest, requester, noResponse);
  await installation.programs.stop(device, program.id, requester);
  await host.restart();
  expect(await host.orders(3)).toMatchObject([
    { kind: 'attach-device', programs: [] },
    { kind: 'start-program', program: program.id },
    { kind: 'stop-program', program: program.id },
  ]);
});

test('a program that cannot be started again after a restart fails with the reason', async () => {
  const host = await attachedHost();
  await host.load('1.0.0');
  const program = await host.startProgram();
  await host.restart();
  const order = await host.order('attach-device');
  expect(order).toMatchObject({ programs: [{ program }] });
  const failure = 'program tcp.one: this host runs as many threads as it can';
  await host.report({ ...heading(order), kind: 'device-attached', failure, state: stateWith(order.modules) });
  const { state, program: record } = await installation.programs.get(await host.device(), program);
  expect({ state, failure: record.failure }).toEqual({ state: 'failed', failure });
});

test('a program that was started again after a restart is running', async () => {
  const host = await attachedHost();
  await host.load('1.0.0');
  const program = await host.startProgram();
  await host.restart();
  const order = await host.order('attach-device');
  const state = stateWith(order.modules, [statistics(program, 'running')]);
  await host.report({ ...heading(order), kind: 'device-attached', failure: null, state });
  expect(await installation.programs.get(await host.device(), program)).toMatchObject({ state: 'running' });
});

test('a host cannot change devices and programs of another host', async () => {
  const host = await attachedHost();
  await host.load('1.0.0');
  const program = await host.startProgram();
  const device = await host.device();
  const thief = await attachedHost('thief');
  const ended = stateWith([], [statistics(program, 'failed', 7)]);
  await thief.report({ kind: 'device-state', device, state: ended });
  await thief.report({ kind: 'device-state', device: await thief.device(), state: ended });
  const before = await installation.programs.get(device, program);
  expect(before).toMatchObject({ state: 'running', statistics: null });

  await thief.load('1.1.0');
  await installation.programs.start(await thief.device(), programRequest, requester, noResponse);
  const start = await thief.order('start-program');
  await thief.report({ ...heading(start), kind: 'program-started', program, failure: 'no', state: stateWith([]) });
  expect(await installation.programs.get(device, program)).toMatchObject({ state: 'running' });
});

test('a violation is stored and audited once in each boot of the host, although every state reports it', async () => {
  const host = await attachedHost();
  await host.load('1.0.0');
  const program = await host.startProgram();
  const device = await host.device();
  // Twice in one state, then in another, then in an older state.
  await host.report(withViolations(device, violation(program, 3, 3), violation(program, 4, 4)));
  await host.report(withViolations(device, violation(program, 9, 9)), withViolations(device, violation(program, 9, 9)));
  await host.report(withViolations(device, violation(program, 9, 9), violation(program, 1, 10, '1.1.0')));
  await host.report(withViolations(device, violation(program, 5, 5)));
  const kept = { programId: program, programName: 'tcp.one', firstFaultAt: new Date(moment(0)) };
  const inFirstLife = [
    { ...kept, version: '1.1.0', faults: 1n, lastFaultAt: new Date(moment(10)) },
    { ...kept, version: '1.0.0', faults: 9n, lastFaultAt: new Date(moment(9)) },
  ];
  expect(await violationsOf(device)).toMatchObject(inFirstLife);
  expect(await findings()).toMatchObject([
    { object: device, detail: { program, version: '1.1.0', address: '0x1000', page: 1, flag: 'nx' } },
    { object: device, detail: { program, version: '1.0.0' } },
  ]);
  await host.restart();
  await host.attach();
  await host.report(withViolations(device, violation(program, 2, 2)));
  expect(await violationsOf(device)).toMatchObject([{ ...kept, version: '1.0.0', faults: 2n }, ...inFirstLife]);
  expect(await findings()).toHaveLength(3);
});

test('violations of programs that are not on the device are ignored', async () => {
  const host = await attachedHost();
  await host.load('1.0.0');
  const program = await host.startProgram();
  const thief = await attachedHost('thief');
  const device = await thief.device();
  await thief.report(withViolations(device, violation(program, 1, 1)), withViolations(await host.device(), violation(program, 1, 1)));
  expect([await violationsOf(device), await violationsOf(await host.device()), await findings()]).toEqual([[], [], []]);
});

test('above the limit per device, the violations with the latest faults are kept', async () => {
  const host = await attachedHost();
  await host.load('1.0.0');
  const program = await host.startProgram();
  const device = await host.device();
  const many = (from: number) => Array.from({ length: 1_000 }, (_, index) => violation(program, 1, from + index, `1.0.${from + index}`));
  await host.report(withViolations(device, ...many(0)));
  await host.report(withViolations(device, ...many(1_000)));
  // One of the oldest faults again, and is not deleted when another is added.
  await host.report(withViolations(device, violation(program, 2, 5_000, '1.0.0'), violation(program, 1, 5_000, '2.0.0')));
  const { items } = await installation.devices.abiViolations({ deviceId: device }, { ...wholeList, order: 'asc', limit: 3_000 });
  const versions = items.map((item) => (item instanceof DamagedItem ? item.fault : item.version));
  expect(versions).toHaveLength(2_000);
  expect(versions.slice(0, 2)).toEqual(['1.0.0', '1.0.2']);
  expect(versions.slice(-2)).toEqual(['1.0.1999', '2.0.0']);
});

test('an order without recovery, addressing and deadline gets the default values', async () => {
  const host = await attachedHost();
  await host.load('1.0.0');
  await installation.programs.start(
    await host.device(),
    { ...programRequest, recovery: 'percolate', deadlineMilliseconds: 5 },
    requester,
    noResponse,
  );
  const asked = ({ recovery, addressing, deadlineMilliseconds }: OrderOf<'start-program'>) => [recovery, addressing, deadlineMilliseconds];
  expect(asked(await host.order('start-program'))).toEqual(['percolate', 'via-table', 5]);
  const before = ['recovery', 'addressing', 'deadlineMilliseconds'];
  const withoutThem = {
    sqlite: `json_remove("body", ${before.map((name) => `'$.${name}'`).join(', ')})`,
    postgresql: `"body" - ARRAY[${before.map((name) => `'${name}'`).join(', ')}]`,
  };
  await runSql(database, `UPDATE "AgentOrder" SET "body" = ${withoutThem[kind]}`);
  expect(asked(await host.order('start-program'))).toEqual(['module', 'via-table', null]);
});

test('a host with thousands of devices registers, gets loads for all of them, and restarts', async () => {
  const host = new PlayedHost('large', 1_100);
  await host.register();
  const up = (order: Order) => ({ ...heading(order), kind: 'device-attached', failure: null, state: stateWith([]) });
  const attachments = await settleAll(host, 1_100, up);
  const devices = attachments.map(({ device }) => device);
  await requestLoad('1.0.0', devices);
  const loads = await settleAll(host, 600, (order) => (order.kind === 'load' ? loaded(order) : never()));
  expect(new Set(loads.map(({ device }) => device)).size).toBe(600);
  await host.restart();
  const after = [...(await settleAll(host, 1_100, up)), ...(await host.orders(500))];
  const restored = after.filter((order) => order.kind === 'attach-device');
  expect(restored).toHaveLength(1_100);
  expect(restored.filter(({ modules }) => modules.length === 1)).toHaveLength(600);
  expect(after.slice(1_100).every(({ kind }) => kind === 'load')).toBe(true);
});

test('a host has up to 1,000 orders in flight and gets more as it reports', async () => {
  const host = new PlayedHost('large', 1_100);
  await host.register();
  const first = await host.orders(1_000);
  const patience = new AbortController();
  const more = installation.agents.pollOrders(host.id, host.bootId, first.at(-1)?.sequence ?? 0, patience.signal);
  const second = installation.agents.pollOrders(host.id, host.bootId, 0, patience.signal);
  expect(await second).toHaveLength(500);
  await host.report({ ...heading(first[0] ?? never()), kind: 'device-attached', failure: null, state: stateWith([]) });
  expect(await more).toHaveLength(1);
});

test('rejects a request that selects more devices than the limit, and creates no load', async () => {
  const host = new PlayedHost('huge', 10_001);
  await host.register();
  const device = await host.device();
  await requestLoad('1.0.0', [device]);
  const request = {
    module: 'tcp',
    version: '1.0.0',
    ...defaultTerms,
  };
  const refused = installation.loads.request({ ...request, selector: { labels: { host: 'huge' } } }, requester, noResponse);
  await expect(refused).rejects.toMatchObject({ kind: 'invalid-value', invalidValues: [{ pointer: '/labels' }] });
  expect((await installation.loads.list({}, wholeList)).items).toHaveLength(1);
});
