// Rollouts over HTTP, on real hosts with live programs: waves, failures, rollbacks and operators' decisions.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { eventsOf, itemsOf, type TestResponse, TestService, until, workModule } from '../test-service.ts';
import type { RequestBody, RequestSchema } from '../typed-paths.ts';

const service = new TestService();
/** Twelve devices: six in the zone `east`, six in `west`. */
let devices: string[];
let east: string[];
let west: string[];

/** `work(n)` as in `workModule`; after two hundred calls every tenth traps. */
const trappingModule = (plus: number) => `
  (module
    (global $calls (mut i32) (i32.const 0))
    (func (export "work") (param $n i32) (result i32)
      (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
      (if (i32.gt_u (global.get $calls) (i32.const 200))
        (then (if (i32.eqz (i32.rem_u (global.get $calls) (i32.const 10))) (then (unreachable)))))
      (i32.add (local.get $n) (i32.const ${plus}))))`;

/** `work(n)` sleeps. */
const sleepingModule = (milliseconds: number) => `
  (module
    (import "kernel" "sleep" (func $sleep (param i32)))
    (func (export "work") (param $n i32) (result i32)
      (call $sleep (i32.const ${milliseconds}))
      (local.get $n)))`;

/** `work(n)` calls `work` of another module. */
const callingModule = (module: string) => `
  (module
    (import "${module}" "work" (func $work (param i32) (result i32)))
    (func (export "work") (param $n i32) (result i32) (call $work (local.get $n))))`;

/** A module whose self-check fails. */
const brokenModule = (plus: number) => `
  (module
    (func (export "self_check") (result i32) (i32.const 1))
    (func (export "work") (param $n i32) (result i32) (i32.add (local.get $n) (i32.const ${plus}))))`;

const Wave = z.looseObject({
  number: z.number(),
  state: z.string(),
  devices: z.number(),
  deviceCounts: z.record(z.string(), z.number()),
  failure: z.string().nullable(),
  failureIgnored: z.boolean(),
  approvedBy: z.string().nullable(),
  interruptedAccesses: z.number(),
  measured: z.looseObject({ calls: z.number(), failedCalls: z.number(), abiViolations: z.number() }),
});
const Rollout = z.looseObject({
  id: z.string(),
  state: z.string(),
  waitingFor: z.string().nullable(),
  reason: z.string().nullable(),
  wave: z.number().nullable(),
  waves: z.array(Wave),
  deviceCounts: z.record(z.string(), z.number()),
  rolledBackBy: z.string().nullable(),
  endedAt: z.string().nullable(),
});
type Rollout = z.infer<typeof Rollout>;
const CallCounts = z.looseObject({ callsCompleted: z.number(), callsFailed: z.number() }).nullable();

beforeAll(async () => {
  await service.start();
  service.startHost('east', 6, { zone: 'east' });
  await service.connectedDevices(6);
  service.startHost('west', 6, { zone: 'west' });
  devices = await service.connectedDevices(12);
  east = devices.slice(0, 6);
  west = devices.slice(6);
  for (const device of devices) await startProgram(device, 'net');
});
afterAll(() => service.close());

/** Starts a program that calls the module's `work` forever; loads the module first if necessary. */
async function startProgram(device: string, module: string): Promise<void> {
  if (!(await hasBuild(module, '1.0.0'))) {
    await service.push(module, '1.0.0', workModule(1));
    await service.push(module, '1.1.0', workModule(2));
    await service.push(module, '1.2.0', workModule(3));
    await service.load(module, '1.0.0', devices);
  }
  const body = { module, export: 'work', arguments: [5], threads: 2, pauseMilliseconds: 5 };
  expect((await service.post(`/v1/devices/${device}/programs`, body)).status).toBe(202);
}

const hasBuild = async (module: string, version: string) => (await service.get(`/v1/modules/${module}/builds/${version}`)).status === 200;

/** Pushes versions 1.0.0 to 1.2.0 of a new module and loads 1.0.0. */
async function newModule(module: string, on = east): Promise<string> {
  for (const [version, plus] of [
    ['1.0.0', 1],
    ['1.1.0', 2],
    ['1.2.0', 3],
  ] as const)
    await service.push(module, version, workModule(plus));
  await service.load(module, '1.0.0', on);
  return module;
}

/** A request for a rollout, by default of the module `net`. */
type RolloutBody = Omit<RequestSchema<'NewRollout'>, 'module'> & { readonly module?: string };
const request = (body: RolloutBody) => service.post('/v1/rollouts', { module: 'net', soakSeconds: 0, ...body });

async function roll(body: RolloutBody): Promise<Rollout> {
  const response = await request(body);
  if (response.status !== 202) throw new Error(JSON.stringify(response.body));
  const rollout = Rollout.parse(response.body);
  expect(response.headers.get('location')).toBe(`/v1/rollouts/${rollout.id}`);
  return rollout;
}

const read = async (id: string) => Rollout.parse((await service.get(`/v1/rollouts/${id}`)).body);
const decide = <Decision extends string>(id: string, decision: Decision, body: RequestBody<`/v1/rollouts/${string}/${Decision}`, 'post'>) =>
  service.post(`/v1/rollouts/${id}/${decision}`, body);

const when = (id: string, condition: string, holds: (rollout: Rollout) => boolean) =>
  until(`the rollout ${id} ${condition}`, async () => {
    const rollout = await read(id);
    return holds(rollout) && rollout;
  });
const ended = (id: string) => when(id, 'has ended', ({ endedAt }) => endedAt !== null);
const waitsFor = (id: string, reason: string) => when(id, `waits for ${reason}`, ({ waitingFor }) => waitingFor === reason);

/** Returns the version of the module in the module table of each device. */
async function versionsOf(module: string, on = devices): Promise<string[]> {
  return Promise.all(
    on.map(async (device) => {
      const { body } = await service.get(`/v1/devices/${device}`);
      const table = z.array(z.looseObject({ module: z.string(), version: z.string() })).parse(body.moduleTable);
      return table.find((entry) => entry.module === module)?.version ?? '';
    }),
  );
}

const pointersOf = ({ body }: TestResponse) =>
  z
    .array(z.looseObject({ pointer: z.string() }))
    .parse(body['errors'])
    .map(({ pointer }) => pointer);

describe('waves', () => {
  test('loads a build on a fleet wave by wave', async () => {
    const module = await newModule('waves', devices);
    const waves = [{ devices: 1 }, { upToPercent: 50 }, { upToPercent: 100 }];
    const { id } = await roll({ module, version: '1.1.0', runningVersion: '<1.1.0', waves });
    const rollout = await ended(id);
    expect(rollout.state).toBe('completed');
    expect(rollout.waves.map(({ state, devices: count, deviceCounts }) => [state, count, deviceCounts['loaded']])).toEqual([
      ['passed', 1, 1],
      ['passed', 5, 5],
      ['passed', 6, 6],
    ]);
    expect(new Set(await versionsOf(module))).toEqual(new Set(['1.1.0']));
    const items = itemsOf(await service.get(`/v1/rollouts/${id}/devices`));
    expect(items.map(({ position }) => position)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    // A wave begins when the wave before it has passed.
    const times = items.map(({ loadedAt }) => String(loadedAt));
    expect(times.slice(0, 1).every((time) => times.slice(1).every((later) => time < later))).toBe(true);
    // The order mixes the hosts.
    expect(items.map(({ device }) => device)).not.toEqual(devices);
    const load = await service.get(`/v1/loads/${items[0]?.load}`);
    expect(load.body).toMatchObject({ rollout: id, outcome: 'replaced' });
  });

  test('keeps the order of named devices', async () => {
    const module = await newModule('named', devices);
    const order = [west[2], east[1], west[0], east[5], west[4], east[0]].map(String);
    const { id } = await roll({ module, version: '1.1.0', devices: order });
    await ended(id);
    expect(itemsOf(await service.get(`/v1/rollouts/${id}/devices`)).map(({ device }) => device)).toEqual(order);
  });

  test('loads devices one after another with one device in flight', async () => {
    const module = await newModule('narrow');
    const { id } = await roll({ module, version: '1.1.0', devices: east, waves: [{ upToPercent: 100 }], devicesInFlight: 1 });
    await ended(id);
    const loads = itemsOf(await service.get(`/v1/loads?module=${module}&version=1.1.0&order=asc`));
    expect(loads).toHaveLength(6);
    for (const [index, load] of loads.entries())
      if (index > 0) expect(String(load.requestedAt) >= String(loads[index - 1]?.completedAt)).toBe(true);
  });

  test('spaces loads evenly with a rate', async () => {
    const module = await newModule('slow');
    const { id } = await roll({ module, version: '1.1.0', devices: east, waves: [{ upToPercent: 100 }], loadsPerMinute: 240 });
    await waitsFor(id, 'rate');
    await ended(id);
    const times = itemsOf(await service.get(`/v1/loads?module=${module}&version=1.1.0&order=asc`)).map(({ requestedAt }) =>
      Date.parse(String(requestedAt)),
    );
    expect((times.at(-1) ?? 0) - (times[0] ?? 0)).toBeGreaterThanOrEqual(1_240);
  });

  test('a wave waits for its own approval', async () => {
    const module = await newModule('approved');
    const { id } = await roll({
      module,
      version: '1.1.0',
      devices: east,
      waves: [{ devices: 1 }, { devices: 1, approval: true }, { upToPercent: 100, approval: true }],
    });
    const waiting = await when(id, 'waits for approval', ({ state }) => state === 'awaiting-approval');
    expect(waiting).toMatchObject({ wave: 2, waitingFor: 'approval', deviceCounts: { loaded: 1, waiting: 5 } });
    expect((await decide(id, 'approve', { wave: 3 })).body).toMatchObject({ type: 'urn:patchbay:problem:rollout-state', status: 409 });
    expect((await decide(id, 'approve', { wave: 2 })).status).toBe(200);
    expect((await decide(id, 'approve', { wave: 2 })).status).toBe(200);
    const next = await when(id, 'waits for the next approval', ({ wave, state }) => wave === 3 && state === 'awaiting-approval');
    expect(next.waves.map(({ approvedBy }) => approvedBy !== null)).toEqual([false, true, false]);
    expect(next.deviceCounts['loaded']).toBe(2);
    await decide(id, 'approve', { wave: 3 });
    expect((await ended(id)).state).toBe('completed');
  });

  test('a paused rollout requests no loads until it is resumed', async () => {
    const module = await newModule('paused');
    const { id } = await roll({
      module,
      version: '1.1.0',
      devices: east,
      waves: [{ devices: 1, soakSeconds: 3_600 }, { upToPercent: 100 }],
    });
    await waitsFor(id, 'soak');
    const paused = await decide(id, 'pause', { reason: 'lunch' });
    expect(paused.body).toMatchObject({ state: 'paused', reason: 'lunch', waitingFor: 'operator' });
    expect((await decide(id, 'pause', {})).body).toMatchObject({ state: 'paused', reason: 'lunch' });
    expect((await decide(id, 'approve', { wave: 1 })).status).toBe(409);
    expect((await decide(id, 'resume', undefined)).body).toMatchObject({ state: 'running', reason: null });
    await waitsFor(id, 'soak');
    expect((await decide(id, 'abort', { reason: 'enough' })).body).toMatchObject({ state: 'aborted', reason: 'enough' });
    const rollout = await ended(id);
    expect(rollout.deviceCounts).toEqual({ waiting: 0, loading: 0, loaded: 1, failed: 0, skipped: 5 });
    expect((await versionsOf(module, east)).filter((version) => version === '1.1.0')).toHaveLength(1);
    expect((await decide(id, 'resume', undefined)).body).toMatchObject({ type: 'urn:patchbay:problem:rollout-state' });
  });

  test('a rollout that starts later, or in a closed window, waits', async () => {
    const module = await newModule('later');
    const { id } = await roll({ module, version: '1.1.0', devices: east, startAt: new Date(Date.now() + 3_600_000).toISOString() });
    await waitsFor(id, 'start-time');
    await decide(id, 'abort', {});
    await ended(id);
    const names = ['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday'] as const;
    const inThreeDays = names[(new Date().getUTCDay() + 3) % 7] ?? 'sunday';
    const window = { days: [inThreeDays], from: '10:00', until: '11:00', timeZone: 'UTC' };
    const other = await roll({ module, version: '1.1.0', devices: east, window });
    const waiting = await waitsFor(other.id, 'window');
    expect(waiting).toMatchObject({ state: 'running', deviceCounts: { waiting: 6 } });
    expect(String(waiting['windowOpensAt'])).toMatch(/T10:00:00/);
    await decide(other.id, 'abort', {});
    await ended(other.id);
    const open = { days: names, from: '00:00', until: '00:00', timeZone: 'Pacific/Kiritimati' };
    expect((await ended((await roll({ module, version: '1.1.0', devices: east, window: open })).id)).state).toBe('completed');
  });
});

describe('failures', () => {
  test('a build that traps is stopped in the canary and rolled back; then no call fails', async () => {
    await service.push('net', '1.3.0', trappingModule(4));
    const { id } = await roll({
      version: '1.3.0',
      labels: { zone: 'east' },
      waves: [{ devices: 2, soakSeconds: 600 }, { upToPercent: 100 }],
      onFailure: 'rollback',
    });
    const rollout = await ended(id);
    expect(rollout.state).toBe('rolled-back');
    expect(rollout.reason).toMatch(/^wave 1 failed: \d+ of \d+ calls failed \(before: /);
    expect(rollout.deviceCounts).toEqual({ waiting: 0, loading: 0, loaded: 2, failed: 0, skipped: 4 });
    const rollback = await ended(rollout.rolledBackBy ?? '');
    expect(rollback).toMatchObject({ state: 'completed', rollbackOf: id, version: null, deviceCounts: { loaded: 2, failed: 0 } });
    expect(new Set(await versionsOf('net', east))).toEqual(new Set(['1.0.0']));
    const failures = async () => {
      const programs = await Promise.all(east.map(async (device) => itemsOf(await service.get(`/v1/devices/${device}/programs`))));
      return programs
        .flat()
        .map(({ statistics }) => z.looseObject({ callsFailed: z.number(), callsCompleted: z.number() }).parse(statistics));
    };
    const measuredOf = async () => itemsOf(await service.get(`/v1/rollouts/${id}/devices?wave=1`)).map(({ measured }) => measured);
    const evaluated = await measuredOf();
    const settled = await failures();
    expect(settled.reduce((sum, { callsFailed }) => sum + callsFailed, 0)).toBeGreaterThan(0);
    const later = await until('every program has made a hundred more calls', async () => {
      const now = await failures();
      return now.every(({ callsCompleted }, index) => callsCompleted > (settled[index]?.callsCompleted ?? 0) + 100) && now;
    });
    expect(later.map(({ callsFailed }) => callsFailed)).toEqual(settled.map(({ callsFailed }) => callsFailed));
    // The measurement of each device stays as it was when the wave was evaluated.
    expect(await measuredOf()).toEqual(evaluated);
    for (const measured of evaluated) expect(z.looseObject({ calls: z.number() }).parse(measured).calls).toBeGreaterThan(0);
  });

  test('a failed wave pauses the rollout by default; retrying its failed loads resumes the rollout', async () => {
    const module = await newModule('paused-by-failure', devices);
    const blocked = west[0] ?? '';
    // A device with a newer version refuses the older one.
    await service.load(module, '1.2.0', [blocked]);
    const { id } = await roll({ module, version: '1.1.0', devices: [blocked, ...east], waves: [{ devices: 2 }, { upToPercent: 100 }] });
    const paused = await when(id, 'is paused', ({ state }) => state === 'paused');
    expect(paused.reason).toBe('wave 1 failed: 1 of 2 loads failed; limit: 0%');
    expect(paused.waves[0]).toMatchObject({ state: 'failed', deviceCounts: { loaded: 1, failed: 1 } });
    expect((await service.get('/v1/health')).body.reasons).toContainEqual(expect.stringContaining(id));
    expect(itemsOf(await service.get(`/v1/rollouts/${id}/devices?state=failed`))).toMatchObject([
      { device: blocked, outcome: 'refused-not-newer', attempts: 1 },
    ]);
    expect((await decide(id, 'retry-failed', undefined)).body).toMatchObject({ state: 'running' });
    await when(id, 'is paused again', ({ state }) => state === 'paused');
    expect(itemsOf(await service.get(`/v1/rollouts/${id}/devices?state=failed`))).toMatchObject([{ device: blocked, attempts: 2 }]);
    await service.load(module, '1.0.0', [blocked], { versionPolicy: 'downgrade', downgradeReason: 'for the test' });
    await decide(id, 'retry-failed', undefined);
    const rollout = await ended(id);
    expect(rollout).toMatchObject({ state: 'completed', deviceCounts: { loaded: 7, failed: 0 } });
    expect((await decide(id, 'retry-failed', undefined)).body).toMatchObject({ type: 'urn:patchbay:problem:rollout-state' });
  });

  test('resuming ignores the failure of the wave', async () => {
    const module = await newModule('resumed');
    await service.load(module, '1.2.0', [east[0] ?? '']);
    const { id } = await roll({ module, version: '1.1.0', devices: east, waves: [{ devices: 2 }, { upToPercent: 100 }] });
    await when(id, 'is paused', ({ state }) => state === 'paused');
    await decide(id, 'resume', undefined);
    const rollout = await ended(id);
    expect(rollout).toMatchObject({ state: 'completed', deviceCounts: { loaded: 5, failed: 1 } });
    expect(rollout.waves[0]).toMatchObject({ state: 'passed', failureIgnored: true, failure: expect.stringContaining('1 of 2') });
    // A completed rollout can be retried too, and is evaluated again.
    await decide(id, 'retry-failed', undefined);
    const again = await when(id, 'is paused again', ({ state }) => state === 'paused');
    expect(again.waves[0]).toMatchObject({ state: 'failed', failureIgnored: false });
    await service.load(module, '1.0.0', [east[0] ?? ''], { versionPolicy: 'downgrade', downgradeReason: 'for the test' });
    expect((await decide(id, 'retry-failed', undefined)).body).toMatchObject({ state: 'running', endedAt: null });
    expect(await ended(id)).toMatchObject({ state: 'completed', deviceCounts: { loaded: 6, failed: 0 } });
  });

  test('a rollout that continues on failure reports the failure', async () => {
    const module = await newModule('continued');
    await service.load(module, '1.2.0', [east[0] ?? '']);
    const { id } = await roll({
      module,
      version: '1.1.0',
      devices: east,
      waves: [{ devices: 1 }, { upToPercent: 100 }],
      onFailure: 'continue',
    });
    const rollout = await ended(id);
    expect(rollout).toMatchObject({ state: 'completed', deviceCounts: { loaded: 5, failed: 1 } });
    expect(rollout.waves[0]).toMatchObject({ state: 'passed', failureIgnored: true, failure: expect.stringContaining('1 of 1') });
    expect(rollout.waves[1]).toMatchObject({ failure: null, failureIgnored: false });
  });

  test('a build that fails its self-check is loaded nowhere, and there is nothing to roll back', async () => {
    const module = await newModule('broken');
    await service.push(module, '1.3.0', brokenModule(4));
    const { id } = await roll({ module, version: '1.3.0', devices: east, similarityPolicy: 'off', onFailure: 'rollback' });
    const rollout = await ended(id);
    expect(rollout).toMatchObject({ state: 'rolled-back', deviceCounts: { loaded: 0, failed: 1, skipped: 5 } });
    expect(new Set(await versionsOf(module, east))).toEqual(new Set(['1.0.0']));
    expect((await decide(id, 'rollback', { reason: 'again' })).status).toBe(409);
  });

  test('a build is measured by the programs that call it, directly or through other modules', async () => {
    const module = await newModule('inner');
    await service.push(module, '1.3.0', trappingModule(4));
    await service.push('outer', '1.0.0', callingModule(module));
    const [canary = '', ...others] = east;
    await service.load('outer', '1.0.0', [canary]);
    const { id } = await roll({ module, version: '1.1.0', devices: east, soakSeconds: 0.3, thresholds: { requireCalls: true } });
    // Calls of other modules do not count.
    expect((await when(id, 'is paused', ({ state }) => state === 'paused')).reason).toMatch(/0 calls since the load; required: 20/);
    await decide(id, 'abort', {});
    await service.post(`/v1/devices/${canary}/programs`, { module: 'outer', export: 'work', arguments: [5], pauseMilliseconds: 1 });
    const through = await roll({ module, version: '1.3.0', devices: [canary, ...others], soakSeconds: 600 });
    const paused = await when(through.id, 'is paused', ({ state }) => state === 'paused');
    expect(paused.reason).toMatch(/^wave 1 failed: \d+ of \d+ calls failed/);
    await decide(through.id, 'abort', {});
  });

  test('a build with a higher latency is stopped', async () => {
    const module = await newModule('slower');
    await service.push(module, '1.3.0', sleepingModule(30));
    const body = { module, export: 'work', arguments: [5], threads: 4, pauseMilliseconds: 1 };
    for (const device of east) await service.post(`/v1/devices/${device}/programs`, body);
    await until('the calls of the old version are measured', async () => {
      const programs = await Promise.all(
        east.map(async (device) => itemsOf(await service.get(`/v1/devices/${device}/programs?module=${module}`))),
      );
      return programs.flat().every(({ statistics }) => (CallCounts.parse(statistics)?.callsCompleted ?? 0) > 50);
    });
    const thresholds = { latencyIncreasePercent: 100 };
    const { id } = await roll({ module, version: '1.3.0', devices: east, soakSeconds: 600, thresholds });
    const paused = await when(id, 'is paused', ({ state }) => state === 'paused');
    expect(paused.reason).toMatch(/^wave 1 failed: p99 latency is \d+ µs, [\d.]+% above \d+ µs before; limit: \+100%$/);
    await decide(id, 'abort', {});
  });

  test('a load that interrupts too many accesses stops the wave', async () => {
    const module = await newModule('interrupting');
    await service.push(module, '1.3.0', sleepingModule(3_600_000));
    await service.push(module, '1.4.0', workModule(5));
    await service.load(module, '1.3.0', east);
    await service.post(`/v1/devices/${east[0]}/programs`, { module, export: 'work', arguments: [5], threads: 3 });
    await until('three threads are inside', async () =>
      JSON.stringify((await service.get(`/v1/devices/${east[0]}`)).body).includes('"referenceCount":3'),
    );
    const { id } = await roll({ module, version: '1.4.0', devices: east, thresholds: { interruptedAccesses: 2 } });
    const paused = await when(id, 'is paused', ({ state }) => state === 'paused');
    expect(paused.reason).toBe('wave 1 failed: 3 accesses interrupted per device; limit: 2');
    expect(paused.waves[0]?.interruptedAccesses).toBe(3);
    await decide(id, 'abort', {});
  });

  test('a program with a stale address stops a wave', async () => {
    const module = await newModule('held');
    const body = { module, export: 'work', arguments: [5], pauseMilliseconds: 20, addressing: 'hard-coded' } as const;
    const program = await service.post(`/v1/devices/${east[0]}/programs`, body);
    const path = `/v1/devices/${east[0]}/programs/${program.body.id}`;
    await until('the program has called the old version', async () => {
      const statistics = z
        .looseObject({ callsCompleted: z.number() })
        .nullable()
        .parse((await service.get(path)).body['statistics']);
      return (statistics?.callsCompleted ?? 0) > 0;
    });
    const { id } = await roll({ module, version: '1.1.0', devices: east, soakSeconds: 600, thresholds: { failedCallsPercent: null } });
    expect((await when(id, 'is paused', ({ state }) => state === 'paused')).reason).toMatch(/1 program with a stale address; limit: 0/);
    expect((await decide(id, 'rollback', { reason: 'stale address' })).status).toBe(202);
    await ended(id);
    expect(new Set(await versionsOf(module, east))).toEqual(new Set(['1.0.0']));
  });
});

describe('rollback', () => {
  test('returns each device of a completed rollout to its previous version, and reports devices without one', async () => {
    const module = await newModule('undone', devices);
    await service.load(module, '1.1.0', [east[0] ?? '']);
    await service.push('fresh', '1.0.0', workModule(9));
    const { id } = await roll({ module, version: '1.2.0', devices: east });
    await ended(id);
    const response = await decide(id, 'rollback', { reason: 'it is slow' });
    expect(response.status).toBe(202);
    const rollback = Rollout.parse(response.body);
    expect(response.headers.get('location')).toBe(`/v1/rollouts/${rollback.id}`);
    expect(await ended(rollback.id)).toMatchObject({ state: 'completed', deviceCounts: { loaded: 6 } });
    expect(await ended(id)).toMatchObject({ state: 'rolled-back', reason: 'it is slow', rolledBackBy: rollback.id });
    expect(await versionsOf(module, east)).toEqual(['1.1.0', '1.0.0', '1.0.0', '1.0.0', '1.0.0', '1.0.0']);
    expect(itemsOf(await service.get(`/v1/loads?module=${module}&device=${east[0]}&limit=1`))).toMatchObject([
      { rollback: true, downgradeReason: 'it is slow', rollout: rollback.id },
    ]);
    // A second rollback is rejected, and so is the rollback of a rollback.
    expect((await decide(id, 'rollback', { reason: 'again' })).body).toMatchObject({ type: 'urn:patchbay:problem:rollout-state' });
    expect((await decide(rollback.id, 'rollback', { reason: 'again' })).body).toMatchObject({ type: 'urn:patchbay:problem:rollout-state' });
    const first = await roll({ module: 'fresh', version: '1.0.0', devices: [east[0] ?? ''] });
    await ended(first.id);
    const none = Rollout.parse((await decide(first.id, 'rollback', { reason: 'it is slow' })).body);
    expect(await ended(none.id)).toMatchObject({ deviceCounts: { loaded: 0, failed: 1 } });
    expect(itemsOf(await service.get(`/v1/rollouts/${none.id}/devices`))).toMatchObject([
      { reason: expect.stringContaining('no previous version') },
    ]);
  });

  test('skips a device that has another version by now', async () => {
    const module = await newModule('moved');
    const { id } = await roll({ module, version: '1.1.0', devices: east });
    await ended(id);
    await service.load(module, '1.2.0', [east[3] ?? '']);
    const rollback = Rollout.parse((await decide(id, 'rollback', { reason: 'it is slow' })).body);
    expect(await ended(rollback.id)).toMatchObject({ deviceCounts: { loaded: 5, skipped: 1 } });
    expect((await versionsOf(module, east))[3]).toBe('1.2.0');
  });
});

describe('conflicts', () => {
  test('rejects or queues a rollout that shares a device with an open rollout of the module', async () => {
    const module = await newModule('busy', devices);
    const first = await roll({
      module,
      version: '1.1.0',
      devices: east,
      waves: [{ devices: 1, soakSeconds: 3_600 }, { upToPercent: 100 }],
    });
    const rejected = await request({ module, version: '1.2.0', devices: [east[5] ?? '', west[0] ?? ''] });
    expect(rejected.body).toMatchObject({
      type: 'urn:patchbay:problem:rollout-conflict',
      detail: expect.stringContaining(`${first.id} (1 device)`),
    });
    expect(itemsOf(await service.get(`/v1/rollouts?module=${module}`))).toHaveLength(1);
    // Other devices are not affected.
    await ended((await roll({ module, version: '1.1.0', devices: west })).id);
    const second = await roll({ module, version: '1.2.0', devices: [east[5] ?? '', west[0] ?? ''], onConflict: 'queue' });
    await waitsFor(second.id, 'earlier-rollouts');
    const third = await roll({ module, version: '1.2.0', devices: [west[0] ?? ''], onConflict: 'queue', versionPolicy: 'different' });
    await waitsFor(third.id, 'earlier-rollouts');
    await decide(first.id, 'abort', {});
    expect(await ended(second.id)).toMatchObject({ state: 'completed', deviceCounts: { loaded: 2 } });
    // The third rollout finds the version that the second one loaded; the device counts as loaded.
    expect(await ended(third.id)).toMatchObject({ state: 'completed', deviceCounts: { loaded: 1 } });
    expect(itemsOf(await service.get(`/v1/rollouts/${third.id}/devices`))).toMatchObject([
      { state: 'loaded', outcome: 'refused-not-newer' },
    ]);
    // The third rollout did not load the version and does not roll it back.
    const rollback = Rollout.parse((await decide(third.id, 'rollback', { reason: 'none' })).body);
    expect(await ended(rollback.id)).toMatchObject({ deviceCounts: { loaded: 0, skipped: 1 } });
    expect((await versionsOf(module, west))[0]).toBe('1.2.0');
    // An ended rollout cannot be rolled back on devices of an open rollout.
    const open = await roll({
      module,
      version: '1.2.0',
      devices: [west[1] ?? '', west[2] ?? ''],
      startAt: new Date(Date.now() + 3_600_000).toISOString(),
    });
    const completed = itemsOf(await service.get(`/v1/rollouts?module=${module}&state=completed&order=asc`))[0]?.id;
    const conflict = { type: 'urn:patchbay:problem:rollout-conflict', detail: expect.stringContaining(open.id) };
    expect((await decide(String(completed), 'rollback', { reason: 'none' })).body).toMatchObject(conflict);
    await decide(open.id, 'abort', {});
  });
});

describe('preview and progress', () => {
  test('a dry run shows the effect of a rollout and changes nothing', async () => {
    const module = await newModule('dry', devices);
    await service.push(module, '1.3.0', '(module (func (export "other")))');
    await service.load(module, '1.1.0', [east[0] ?? '']);
    await service.load(module, '1.2.0', [east[1] ?? '']);
    const waves = [{ devices: 2 }, { upToPercent: 100 }];
    const { status, body } = await request({ module, version: '1.1.0', devices: east, waves, dryRun: true });
    expect(status).toBe(200);
    expect(body).toMatchObject({ devices: 6, alreadyInstalled: 1, refused: 1, unreachable: 0, conflicts: [] });
    expect(body.waves).toEqual([
      { number: 1, devices: 2 },
      { number: 2, devices: 3 },
    ]);
    expect(itemsOf({ status, headers: new Headers(), body })).toMatchObject([
      { device: east[0], wave: null, currentVersion: '1.1.0', forecast: 'already-installed' },
      {
        device: east[1],
        wave: 1,
        currentVersion: '1.2.0',
        forecast: 'refused-not-newer',
        reason: expect.stringContaining('older than 1.2.0'),
      },
      { device: east[2], deviceName: 'east-3', wave: 1, currentVersion: '1.0.0', forecast: 'would-replace', reachable: true },
      { wave: 2 },
      { wave: 2 },
      { wave: 2 },
    ]);
    const dissimilar = await request({ module, version: '1.3.0', devices: east, dryRun: true });
    expect(dissimilar.body).toMatchObject({ refused: 6 });
    expect(itemsOf(await service.get(`/v1/rollouts?module=${module}`))).toEqual([]);
    // The rollout assigns devices to waves as the preview did, in the same order.
    const selected = { module, version: '1.2.0', labels: { zone: 'west' } };
    const preview = itemsOf(await request({ ...selected, dryRun: true })).map(({ device, wave }) => [device, wave]);
    const { id } = await roll(selected);
    await ended(id);
    expect(itemsOf(await service.get(`/v1/rollouts/${id}/devices`)).map(({ device, wave }) => [device, wave])).toEqual(preview);
    const busy = await roll({
      module,
      version: '1.2.0',
      devices: [east[3] ?? ''],
      startAt: new Date(Date.now() + 3_600_000).toISOString(),
    });
    expect((await request({ module, version: '1.2.0', devices: east, dryRun: true })).body.conflicts).toEqual([
      { rollout: busy.id, devices: 1 },
    ]);
    await decide(busy.id, 'abort', {});
  });

  test('devices that match later join a dynamic rollout until it is closed', async () => {
    const module = await newModule('dynamic', devices);
    const { id } = await roll({
      module,
      version: '1.1.0',
      selector: 'ring in (inner,core),!retired',
      dynamic: true,
      waves: [{ upToPercent: 100 }],
    });
    await waitsFor(id, 'devices');
    // A device of another open rollout joins only after that rollout ends.
    const startAt = new Date(Date.now() + 3_600_000).toISOString();
    const other = await roll({ module, version: '1.1.0', devices: [west[0] ?? ''], startAt });
    for (const [device, zone] of [
      [east[0], 'east'],
      [west[0], 'west'],
    ])
      expect((await service.request('PUT', `/v1/devices/${device}/labels`, { labels: { zone, ring: 'inner' } })).status).toBe(200);
    await when(id, 'has one device', ({ deviceCounts, waitingFor }) => waitingFor === 'devices' && deviceCounts['loaded'] === 1);
    expect((await versionsOf(module, west))[0]).toBe('1.0.0');
    await decide(other.id, 'abort', {});
    await when(id, 'has both devices', ({ deviceCounts, waitingFor }) => waitingFor === 'devices' && deviceCounts['loaded'] === 2);
    expect((await read(id))['acceptsDevices']).toBe(true);
    await decide(id, 'close', undefined);
    expect(await ended(id)).toMatchObject({ state: 'completed', deviceCounts: { loaded: 2 }, acceptsDevices: false });
    expect((await decide((await roll({ module, version: '1.2.0', devices: east })).id, 'close', undefined)).status).toBe(409);
    for (const [device, zone] of [
      [east[0], 'east'],
      [west[0], 'west'],
    ])
      await service.request('PUT', `/v1/devices/${device}/labels`, { labels: { zone } });
  });

  test('a report lists every device, as JSON and as CSV', async () => {
    const module = await newModule('reported', devices);
    const { id } = await roll({ module, version: '1.1.0', devices });
    await ended(id);
    const json = await service.get(`/v1/rollouts/${id}/report`);
    expect(json.body.rollout).toMatchObject({ id, state: 'completed' });
    const rows = z.array(z.looseObject({ device: z.string(), deviceName: z.string(), outcome: z.string() })).parse(json.body.devices);
    expect(rows.map(({ device }) => device)).toEqual(devices);
    const csv = await service.get(`/v1/rollouts/${id}/report?format=csv`);
    expect(csv.headers.get('content-type')).toBe('text/csv; charset=utf-8');
    const lines = String(csv.body.text).split('\r\n');
    expect(lines[0]).toMatch(/^device,deviceName,wave,state,/);
    expect(lines.slice(1, -1).map((line) => line.split(',').slice(0, 4))).toEqual(
      rows.map(({ device, deviceName, wave, state }) => [device, deviceName, String(wave), state]),
    );
    expect(lines.at(-1)).toBe('');
  });

  test('a follower of a rollout receives every state until its end', async () => {
    const module = await newModule('followed');
    const { id } = await roll({ module, version: '1.1.0', devices: east, waves: [{ devices: 1, approval: true }, { upToPercent: 100 }] });
    await waitsFor(id, 'approval');
    const response = await fetch(`${service.url}/v1/rollouts/${id}/progress`, { headers: { authorization: `Bearer ${service.key}` } });
    expect(response.headers.get('content-type')).toBe('text/event-stream');
    const states: string[] = [];
    let last: Rollout | null = null;
    for await (const { event, data } of eventsOf(response)) {
      expect(event).toBe('rollout');
      last = Rollout.parse(JSON.parse(data));
      if (states.length === 0) await decide(id, 'approve', { wave: 1 });
      states.push(last.state);
    }
    expect(states[0]).toBe('awaiting-approval');
    expect(last).toEqual(await read(id));
    expect(last?.endedAt).not.toBeNull();
    expect((await service.get('/v1/rollouts/rol_none/progress')).status).toBe(404);
  });

  test('lists rollouts by module and state, and records them in the audit trail', async () => {
    const module = await newModule('listed');
    const first = await roll({ name: 'listed-1.1', module, version: '1.1.0', devices: east });
    await ended(first.id);
    const second = await roll({ module, version: '1.2.0', devices: east, startAt: new Date(Date.now() + 3_600_000).toISOString() });
    expect(itemsOf(await service.get(`/v1/rollouts?module=${module}`)).map(({ id }) => id)).toEqual([second.id, first.id]);
    expect(itemsOf(await service.get(`/v1/rollouts?module=${module}&state=completed`))).toMatchObject([
      { id: first.id, name: 'listed-1.1' },
    ]);
    const page = await service.get(`/v1/rollouts?module=${module}&limit=1`);
    expect(itemsOf(await service.get(`/v1/rollouts?module=${module}&limit=1&cursor=${page.body.next}`))).toMatchObject([{ id: first.id }]);
    await decide(second.id, 'abort', { reason: 'not today' });
    const actions = itemsOf(await service.get(`/v1/audit?object=${first.id}&order=asc`)).map(({ action }) => action);
    expect(actions[0]).toBe('rollout.requested');
    expect(actions.slice(1, 5)).toEqual(['rollout.started', 'rollout.wave-began', 'rollout.wave-loaded', 'rollout.wave-passed']);
    expect(actions.at(-1)).toBe('rollout.completed');
    const aborted = itemsOf(await service.get(`/v1/audit?object=${second.id}&action=rollout.aborted`));
    expect(aborted).toMatchObject([{ detail: { reason: 'not today' }, actor: expect.stringMatching(/^key_/) }]);
    const devicesPage = await service.get(`/v1/rollouts/${first.id}/devices?limit=4&order=desc`);
    const rest = itemsOf(await service.get(`/v1/rollouts/${first.id}/devices?limit=4&order=desc&cursor=${devicesPage.body.next}`));
    expect([...itemsOf(devicesPage), ...rest].map(({ position }) => position)).toEqual([6, 5, 4, 3, 2, 1]);
  });
});

describe('rejects', () => {
  test.each<[string, object, string]>([
    ['an unknown module', { module: 'nothing', version: '1.0.0', labels: { zone: 'east' } }, '/module'],
    ['an unknown version', { module: 'net', version: '9.0.0', labels: { zone: 'east' } }, '/version'],
    ['labels without a matching device', { version: '1.1.0', labels: { zone: 'nowhere' } }, '/labels'],
    ['a version range without a matching device', { version: '1.1.0', runningVersion: '>9' }, '/runningVersion'],
    ['an invalid version range', { version: '1.1.0', runningVersion: 'the newest' }, '/runningVersion'],
    ['a request without a selector', { version: '1.1.0' }, ''],
    ['empty labels', { version: '1.1.0', labels: {} }, '/labels'],
    ['two selectors', { version: '1.1.0', labels: { zone: 'east' }, devices: ['dev_01a207bda9c07b1e9d2f4c6a8b0d1e2f'] }, '/devices'],
    ['an unknown device', { version: '1.1.0', devices: ['dev_01a207bda9c07b1e9d2f4c6a8b0d1e2f'] }, '/devices/0'],
    ['waves that do not end at 100 percent', { version: '1.1.0', labels: { zone: 'east' }, waves: [{ devices: 1 }] }, '/waves'],
    [
      'decreasing percentages',
      { version: '1.1.0', labels: { zone: 'east' }, waves: [{ upToPercent: 50 }, { upToPercent: 20 }, { upToPercent: 100 }] },
      '/waves',
    ],
    ['a wave with two sizes', { version: '1.1.0', labels: { zone: 'east' }, waves: [{ devices: 1, upToPercent: 100 }] }, '/waves/0'],
    ['too many waves', { version: '1.1.0', labels: { zone: 'east' }, waves: Array.from({ length: 51 }, () => ({ devices: 1 })) }, '/waves'],
    [
      'an unknown time zone',
      { version: '1.1.0', labels: { zone: 'east' }, window: { days: ['monday'], from: '10:00', until: '11:00', timeZone: 'Mars/Base' } },
      '/window/timeZone',
    ],
    [
      'an invalid time of day',
      { version: '1.1.0', labels: { zone: 'east' }, window: { days: ['monday'], from: '24:00', until: '11:00', timeZone: 'UTC' } },
      '/window/from',
    ],
    [
      'a dynamic rollout with named devices',
      { version: '1.1.0', devices: ['dev_01a207bda9c07b1e9d2f4c6a8b0d1e2f'], dynamic: true },
      '/dynamic',
    ],
    ['dynamicUntil without dynamic', { version: '1.1.0', labels: { zone: 'east' }, dynamicUntil: '2030-01-01T00:00:00Z' }, '/dynamicUntil'],
    ['a downgrade without a reason', { version: '1.1.0', labels: { zone: 'east' }, versionPolicy: 'downgrade' }, '/downgradeReason'],
    ['an unknown threshold', { version: '1.1.0', labels: { zone: 'east' }, thresholds: { failedLoads: 1 } }, '/thresholds/failedLoads'],
  ])('%s', async (_, body, pointer) => {
    const response = await service.postRaw('/v1/rollouts', { module: 'net', soakSeconds: 0, ...body });
    expect(response.body).toMatchObject({ status: 422, type: 'urn:patchbay:problem:invalid-value' });
    expect(pointersOf(response)).toContain(pointer);
  });

  test('a rollout to devices that all have the version', async () => {
    const module = await newModule('installed');
    expect((await request({ module, version: '1.0.0', devices: east })).body).toMatchObject({
      type: 'urn:patchbay:problem:already-installed',
    });
  });

  test('a request repeated with its idempotency key is executed once', async () => {
    const module = await newModule('repeated');
    const headers = { 'idempotency-key': 'the-same' };
    const body = {
      module,
      version: '1.1.0',
      devices: east,
      soakSeconds: 0,
      waves: [
        { devices: 1, approval: true },
        { upToPercent: 100, approval: true },
      ],
    };
    const [first, second] = await Promise.all([1, 2].map(() => service.post('/v1/rollouts', body, headers)));
    expect(second?.body).toEqual(first?.body);
    expect(itemsOf(await service.get(`/v1/rollouts?module=${module}`))).toHaveLength(1);
    const id = String(first?.body.id);
    await waitsFor(id, 'approval');
    const approve = () => service.post(`/v1/rollouts/${id}/approve`, { wave: 1 }, { 'idempotency-key': 'once' });
    const approved = await approve();
    await when(id, 'waits for the next approval', ({ wave }) => wave === 2);
    expect((await approve()).body).toEqual(approved.body);
    await decide(id, 'abort', {});
  });

  test('decisions about an unknown rollout', async () => {
    for (const [decision, body] of [
      ['pause', {}],
      ['resume', undefined],
      ['approve', { wave: 1 }],
      ['abort', {}],
      ['retry-failed', undefined],
      ['rollback', { reason: 'x' }],
      ['close', undefined],
    ] as const)
      expect((await service.postRaw(`/v1/rollouts/rol_01a207bda9c07b1e9d2f4c6a8b0d1e2f/${decision}`, body)).status).toBe(404);
  });

  test('followers above the limit', async () => {
    const module = await newModule('watched');
    const { id } = await roll({ module, version: '1.1.0', devices: east, startAt: new Date(Date.now() + 3_600_000).toISOString() });
    const follow = () => fetch(`${service.url}/v1/rollouts/${id}/progress`, { headers: { authorization: `Bearer ${service.key}` } });
    const streams = await Promise.all(Array.from({ length: 100 }, follow));
    expect(streams.every(({ status }) => status === 200)).toBe(true);
    const rejected = await follow();
    expect([rejected.status, rejected.headers.get('retry-after')]).toEqual([429, '1']);
    expect(await rejected.json()).toMatchObject({ type: 'urn:patchbay:problem:busy' });
    // Closing a stream makes room for another.
    await streams[0]?.body?.cancel();
    const again = await until('another follower is accepted', async () => {
      const response = await follow();
      return response.status === 200 && response;
    });
    for (const { body } of [...streams.slice(1), again]) await body?.cancel();
    await decide(id, 'abort', {});
  });

  test('open rollouts above the limit', async () => {
    const module = await newModule('many');
    const startAt = new Date(Date.now() + 3_600_000).toISOString();
    const created: string[] = [];
    for (;;) {
      const response = await request({ module, version: '1.1.0', devices: [east[0] ?? ''], startAt, onConflict: 'queue' });
      if (response.status !== 202) {
        expect(response.body).toMatchObject({ status: 409, type: 'urn:patchbay:problem:too-many-rollouts' });
        break;
      }
      created.push(String(response.body.id));
    }
    expect(created.length).toBeGreaterThan(50);
    expect(created.length).toBeLessThanOrEqual(100);
    for (const id of created) await decide(id, 'abort', {});
  });
});
