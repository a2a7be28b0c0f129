// Rollouts over HTTP, on real hosts with live programs: waves, brakes, the way back, and what operators decide.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { type Answer, eventsOf, itemsOf, TestService, until, workModule } from '../test-service.ts';
import type { RequestBody, Sent } from '../typed-paths.ts';

const service = new TestService();
/** Six in the east and six in the west. */
let devices: string[];
let east: string[];
let west: string[];

/** `work(n)` as `workModule` has it, but that after two hundred calls every tenth traps. */
const trappingModule = (plus: number) => `
  (module
    (global $calls (mut i32) (i32.const 0))
    (func (export "work") (param $n i32) (result i32)
      (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
      (if (i32.gt_u (global.get $calls) (i32.const 200))
        (then (if (i32.eqz (i32.rem_u (global.get $calls) (i32.const 10))) (then (unreachable)))))
      (i32.add (local.get $n) (i32.const ${plus}))))`;

/** `work(n)` sleeps so many milliseconds. */
const sleepingModule = (milliseconds: number) => `
  (module
    (import "kernel" "sleep" (func $sleep (param i32)))
    (func (export "work") (param $n i32) (result i32)
      (call $sleep (i32.const ${milliseconds}))
      (local.get $n)))`;

/** `work(n)` is that of another module. */
const callingModule = (module: string) => `
  (module
    (import "${module}" "work" (func $work (param i32) (result i32)))
    (func (export "work") (param $n i32) (result i32) (call $work (local.get $n))))`;

/** A module that says of itself that it does not work. */
const sickModule = (plus: number) => `
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
const Counted = z.looseObject({ callsCompleted: z.number(), callsFailed: z.number() }).nullable();

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

/** Calls the module's `work` for ever, of which the device may not have a version yet. */
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

/** A module of a test's own, in version 1.0.0 on some devices; 1.1.0 and 1.2.0 may be loaded. */
async function newModule(module: string, some = east): Promise<string> {
  for (const [version, plus] of [
    ['1.0.0', 1],
    ['1.1.0', 2],
    ['1.2.0', 3],
  ] as const)
    await service.push(module, version, workModule(plus));
  await service.load(module, '1.0.0', some);
  return module;
}

/** A request for a rollout, by default of the module `net`. */
type Asked = Omit<Sent<'NewRollout'>, 'module'> & { readonly module?: string };
const ask = (body: Asked) => service.post('/v1/rollouts', { module: 'net', soakSeconds: 0, ...body });

async function roll(body: Asked): Promise<Rollout> {
  const answer = await ask(body);
  if (answer.status !== 202) throw new Error(JSON.stringify(answer.body));
  const rollout = Rollout.parse(answer.body);
  expect(answer.headers.get('location')).toBe(`/v1/rollouts/${rollout.id}`);
  return rollout;
}

const read = async (id: string) => Rollout.parse((await service.get(`/v1/rollouts/${id}`)).body);
const decide = <Decision extends string>(id: string, decision: Decision, body: RequestBody<`/v1/rollouts/${string}/${Decision}`, 'post'>) =>
  service.post(`/v1/rollouts/${id}/${decision}`, body);

const when = (id: string, what: string, holds: (rollout: Rollout) => boolean) =>
  until(`the rollout ${id} ${what}`, async () => {
    const rollout = await read(id);
    return holds(rollout) && rollout;
  });
const ended = (id: string) => when(id, 'has ended', ({ endedAt }) => endedAt !== null);
const waitsFor = (id: string, what: string) => when(id, `waits for ${what}`, ({ waitingFor }) => waitingFor === what);

/** Of each of these devices, the version of the module in its table. */
async function versionsOf(module: string, some = devices): Promise<string[]> {
  return Promise.all(
    some.map(async (device) => {
      const { body } = await service.get(`/v1/devices/${device}`);
      const table = z.array(z.looseObject({ module: z.string(), version: z.string() })).parse(body.moduleTable);
      return table.find((entry) => entry.module === module)?.version ?? '';
    }),
  );
}

const pointersOf = ({ body }: Answer) =>
  z
    .array(z.looseObject({ pointer: z.string() }))
    .parse(body['errors'])
    .map(({ pointer }) => pointer);

describe('waves', () => {
  test('a build goes to a fleet wave by wave', async () => {
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
    // A wave begins when the one before it has passed.
    const times = items.map(({ loadedAt }) => String(loadedAt));
    expect(times.slice(0, 1).every((time) => times.slice(1).every((later) => time < later))).toBe(true);
    // Their order mixes the hosts.
    expect(items.map(({ device }) => device)).not.toEqual(devices);
    const load = await service.get(`/v1/loads/${items[0]?.load}`);
    expect(load.body).toMatchObject({ rollout: id, outcome: 'replaced' });
  });

  test('devices that are named get it in the order of their naming', async () => {
    const module = await newModule('named', devices);
    const order = [west[2], east[1], west[0], east[5], west[4], east[0]].map(String);
    const { id } = await roll({ module, version: '1.1.0', devices: order });
    await ended(id);
    expect(itemsOf(await service.get(`/v1/rollouts/${id}/devices`)).map(({ device }) => device)).toEqual(order);
  });

  test('loads are requested one after another where no more may be under way', async () => {
    const module = await newModule('narrow');
    const { id } = await roll({ module, version: '1.1.0', devices: east, waves: [{ upToPercent: 100 }], devicesInFlight: 1 });
    await ended(id);
    const loads = itemsOf(await service.get(`/v1/loads?module=${module}&version=1.1.0&order=asc`));
    expect(loads).toHaveLength(6);
    for (const [index, load] of loads.entries())
      if (index > 0) expect(String(load.requestedAt) >= String(loads[index - 1]?.completedAt)).toBe(true);
  });

  test('and at even distances where there is a rate', async () => {
    const module = await newModule('slow');
    const { id } = await roll({ module, version: '1.1.0', devices: east, waves: [{ upToPercent: 100 }], loadsPerMinute: 240 });
    await waitsFor(id, 'rate');
    await ended(id);
    const times = itemsOf(await service.get(`/v1/loads?module=${module}&version=1.1.0&order=asc`)).map(({ requestedAt }) =>
      Date.parse(String(requestedAt)),
    );
    expect((times.at(-1) ?? 0) - (times[0] ?? 0)).toBeGreaterThanOrEqual(1_240);
  });

  test('a wave that needs approval waits for it, and each approval is of one wave', async () => {
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

describe('brakes', () => {
  test('a build that traps is stopped in the canary and rolled back, and no call fails any more', async () => {
    await service.push('net', '1.3.0', trappingModule(4));
    const { id } = await roll({
      version: '1.3.0',
      labels: { zone: 'east' },
      waves: [{ devices: 2, soakSeconds: 600 }, { upToPercent: 100 }],
      onFailure: 'rollback',
    });
    const rollout = await ended(id);
    expect(rollout.state).toBe('rolled-back');
    expect(rollout.reason).toMatch(/^wave 1 has failed: \d+ of \d+ calls have failed since/);
    expect(rollout.deviceCounts).toEqual({ waiting: 0, loading: 0, loaded: 2, failed: 0, skipped: 4 });
    const back = await ended(rollout.rolledBackBy ?? '');
    expect(back).toMatchObject({ state: 'completed', rollbackOf: id, version: null, deviceCounts: { loaded: 2, failed: 0 } });
    expect(new Set(await versionsOf('net', east))).toEqual(new Set(['1.0.0']));
    const failures = async () => {
      const programs = await Promise.all(east.map(async (device) => itemsOf(await service.get(`/v1/devices/${device}/programs`))));
      return programs
        .flat()
        .map(({ statistics }) => z.looseObject({ callsFailed: z.number(), callsCompleted: z.number() }).parse(statistics));
    };
    const measuredOf = async () => itemsOf(await service.get(`/v1/rollouts/${id}/devices?wave=1`)).map(({ measured }) => measured);
    const judged = await measuredOf();
    const settled = await failures();
    expect(settled.reduce((sum, { callsFailed }) => sum + callsFailed, 0)).toBeGreaterThan(0);
    const later = await until('every program has made a hundred more calls', async () => {
      const now = await failures();
      return now.every(({ callsCompleted }, index) => callsCompleted > (settled[index]?.callsCompleted ?? 0) + 100) && now;
    });
    expect(later.map(({ callsFailed }) => callsFailed)).toEqual(settled.map(({ callsFailed }) => callsFailed));
    // What each device measured is kept as it was when the wave was judged.
    expect(await measuredOf()).toEqual(judged);
    for (const measured of judged) expect(z.looseObject({ calls: z.number() }).parse(measured).calls).toBeGreaterThan(0);
  });

  test('by default a wave that fails pauses the rollout; its failed loads can be tried again, and it goes on', async () => {
    const module = await newModule('paused-by-failure', devices);
    const blocked = west[0] ?? '';
    // Who has a newer version refuses the older.
    await service.load(module, '1.2.0', [blocked]);
    const { id } = await roll({ module, version: '1.1.0', devices: [blocked, ...east], waves: [{ devices: 2 }, { upToPercent: 100 }] });
    const paused = await when(id, 'is paused', ({ state }) => state === 'paused');
    expect(paused.reason).toBe('wave 1 has failed: 1 of 2 loads have not succeeded, and 0 % may');
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

  test('a failed wave that is resumed is judged no more', async () => {
    const module = await newModule('resumed');
    await service.load(module, '1.2.0', [east[0] ?? '']);
    const { id } = await roll({ module, version: '1.1.0', devices: east, waves: [{ devices: 2 }, { upToPercent: 100 }] });
    await when(id, 'is paused', ({ state }) => state === 'paused');
    await decide(id, 'resume', undefined);
    const rollout = await ended(id);
    expect(rollout).toMatchObject({ state: 'completed', deviceCounts: { loaded: 5, failed: 1 } });
    expect(rollout.waves[0]).toMatchObject({ state: 'passed', failureIgnored: true, failure: expect.stringContaining('1 of 2') });
    // What has completed can be tried again too, and is judged anew.
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

  test('a build that finds itself sick gets nowhere, and there is nothing to roll back', async () => {
    const module = await newModule('sick');
    await service.push(module, '1.3.0', sickModule(4));
    const { id } = await roll({ module, version: '1.3.0', devices: east, similarityPolicy: 'off', onFailure: 'rollback' });
    const rollout = await ended(id);
    expect(rollout).toMatchObject({ state: 'rolled-back', deviceCounts: { loaded: 0, failed: 1, skipped: 5 } });
    expect(new Set(await versionsOf(module, east))).toEqual(new Set(['1.0.0']));
    expect((await decide(id, 'rollback', { reason: 'once more' })).status).toBe(409);
  });

  test('a build is judged by the programs that call it, also through other modules, and by no others', async () => {
    const module = await newModule('inner');
    await service.push(module, '1.3.0', trappingModule(4));
    await service.push('outer', '1.0.0', callingModule(module));
    const [canary = '', ...others] = east;
    await service.load('outer', '1.0.0', [canary]);
    const { id } = await roll({ module, version: '1.1.0', devices: east, soakSeconds: 0.3, thresholds: { requireCalls: true } });
    // Programs that call something else are no evidence.
    expect((await when(id, 'is paused', ({ state }) => state === 'paused')).reason).toMatch(/made 0 calls .* 20 are required/);
    await decide(id, 'abort', {});
    await service.post(`/v1/devices/${canary}/programs`, { module: 'outer', export: 'work', arguments: [5], pauseMilliseconds: 1 });
    const through = await roll({ module, version: '1.3.0', devices: [canary, ...others], soakSeconds: 600 });
    const paused = await when(through.id, 'is paused', ({ state }) => state === 'paused');
    expect(paused.reason).toMatch(/^wave 1 has failed: \d+ of \d+ calls have failed/);
    await decide(through.id, 'abort', {});
  });

  test('a build whose calls take much longer is stopped', async () => {
    const module = await newModule('slower');
    await service.push(module, '1.3.0', sleepingModule(30));
    const body = { module, export: 'work', arguments: [5], threads: 4, pauseMilliseconds: 1 };
    for (const device of east) await service.post(`/v1/devices/${device}/programs`, body);
    await until('the calls of the old version were measured', async () => {
      const programs = await Promise.all(
        east.map(async (device) => itemsOf(await service.get(`/v1/devices/${device}/programs?module=${module}`))),
      );
      return programs.flat().every(({ statistics }) => (Counted.parse(statistics)?.callsCompleted ?? 0) > 50);
    });
    const thresholds = { latencyIncreasePercent: 100 };
    const { id } = await roll({ module, version: '1.3.0', devices: east, soakSeconds: 600, thresholds });
    const paused = await when(id, 'is paused', ({ state }) => state === 'paused');
    expect(paused.reason).toMatch(
      /^wave 1 has failed: 99 % of the calls take up to \d+ µs, [\d.]+ % more than the \d+ µs of the version before/,
    );
    await decide(id, 'abort', {});
  });

  test('a load that interrupts more accesses than it may stops the wave', async () => {
    const module = await newModule('interrupting');
    await service.push(module, '1.3.0', sleepingModule(3_600_000));
    await service.push(module, '1.4.0', workModule(5));
    await service.load(module, '1.3.0', east);
    await service.post(`/v1/devices/${east[0]}/programs`, { module, export: 'work', arguments: [5], threads: 3 });
    await until('three are inside', async () =>
      JSON.stringify((await service.get(`/v1/devices/${east[0]}`)).body).includes('"referenceCount":3'),
    );
    const { id } = await roll({ module, version: '1.4.0', devices: east, thresholds: { interruptedAccesses: 2 } });
    const paused = await when(id, 'is paused', ({ state }) => state === 'paused');
    expect(paused.reason).toBe('wave 1 has failed: 3 accesses were interrupted on each device, and 2 may be');
    expect(paused.waves[0]?.interruptedAccesses).toBe(3);
    await decide(id, 'abort', {});
  });

  test('a program with a stale address stops a wave', async () => {
    const module = await newModule('held');
    const body = { module, export: 'work', arguments: [5], pauseMilliseconds: 20, addressing: 'hard-coded' } as const;
    const program = await service.post(`/v1/devices/${east[0]}/programs`, body);
    const path = `/v1/devices/${east[0]}/programs/${program.body.id}`;
    await until('it has called the old version', async () => {
      const statistics = z
        .looseObject({ callsCompleted: z.number() })
        .nullable()
        .parse((await service.get(path)).body['statistics']);
      return (statistics?.callsCompleted ?? 0) > 0;
    });
    const { id } = await roll({ module, version: '1.1.0', devices: east, soakSeconds: 600, thresholds: { failedCallsPercent: null } });
    expect((await when(id, 'is paused', ({ state }) => state === 'paused')).reason).toMatch(
      /1 program holds on to code that has gone, and 0 may/,
    );
    expect((await decide(id, 'rollback', { reason: 'it is held' })).status).toBe(202);
    await ended(id);
    expect(new Set(await versionsOf(module, east))).toEqual(new Set(['1.0.0']));
  });
});

describe('the way back', () => {
  test('a completed rollout can be rolled back: each device to what it had, and those that had none are told', async () => {
    const module = await newModule('undone', devices);
    await service.load(module, '1.1.0', [east[0] ?? '']);
    await service.push('fresh', '1.0.0', workModule(9));
    const { id } = await roll({ module, version: '1.2.0', devices: east });
    await ended(id);
    const answer = await decide(id, 'rollback', { reason: 'it is slow' });
    expect(answer.status).toBe(202);
    const back = Rollout.parse(answer.body);
    expect(answer.headers.get('location')).toBe(`/v1/rollouts/${back.id}`);
    expect(await ended(back.id)).toMatchObject({ state: 'completed', deviceCounts: { loaded: 6 } });
    expect(await ended(id)).toMatchObject({ state: 'rolled-back', reason: 'it is slow', rolledBackBy: back.id });
    expect(await versionsOf(module, east)).toEqual(['1.1.0', '1.0.0', '1.0.0', '1.0.0', '1.0.0', '1.0.0']);
    expect(itemsOf(await service.get(`/v1/loads?module=${module}&device=${east[0]}&limit=1`))).toMatchObject([
      { rollback: true, downgradeReason: 'it is slow', rollout: back.id },
    ]);
    // The same once more changes nothing, and a rollback is not rolled back.
    expect((await decide(id, 'rollback', { reason: 'again' })).body).toMatchObject({ type: 'urn:patchbay:problem:rollout-state' });
    expect((await decide(back.id, 'rollback', { reason: 'again' })).body).toMatchObject({ type: 'urn:patchbay:problem:rollout-state' });
    const first = await roll({ module: 'fresh', version: '1.0.0', devices: [east[0] ?? ''] });
    await ended(first.id);
    const none = Rollout.parse((await decide(first.id, 'rollback', { reason: 'it is slow' })).body);
    expect(await ended(none.id)).toMatchObject({ deviceCounts: { loaded: 0, failed: 1 } });
    expect(itemsOf(await service.get(`/v1/rollouts/${none.id}/devices`))).toMatchObject([
      { reason: expect.stringContaining('nothing to go back to') },
    ]);
  });

  test('a device that an operator has given another version is left alone', async () => {
    const module = await newModule('moved');
    const { id } = await roll({ module, version: '1.1.0', devices: east });
    await ended(id);
    await service.load(module, '1.2.0', [east[3] ?? '']);
    const back = Rollout.parse((await decide(id, 'rollback', { reason: 'it is slow' })).body);
    expect(await ended(back.id)).toMatchObject({ deviceCounts: { loaded: 5, skipped: 1 } });
    expect((await versionsOf(module, east))[3]).toBe('1.2.0');
  });
});

describe('two at once', () => {
  test('a rollout of the same module on a device of another is refused or waits, as asked', async () => {
    const module = await newModule('busy', devices);
    const first = await roll({
      module,
      version: '1.1.0',
      devices: east,
      waves: [{ devices: 1, soakSeconds: 3_600 }, { upToPercent: 100 }],
    });
    const refused = await ask({ module, version: '1.2.0', devices: [east[5] ?? '', west[0] ?? ''] });
    expect(refused.body).toMatchObject({
      type: 'urn:patchbay:problem:rollout-conflict',
      detail: expect.stringContaining(`${first.id} has 1 of the devices`),
    });
    expect(itemsOf(await service.get(`/v1/rollouts?module=${module}`))).toHaveLength(1);
    // Others are not in its way.
    await ended((await roll({ module, version: '1.1.0', devices: west })).id);
    const second = await roll({ module, version: '1.2.0', devices: [east[5] ?? '', west[0] ?? ''], onConflict: 'queue' });
    await waitsFor(second.id, 'earlier-rollouts');
    const third = await roll({ module, version: '1.2.0', devices: [west[0] ?? ''], onConflict: 'queue', versionPolicy: 'different' });
    await waitsFor(third.id, 'earlier-rollouts');
    await decide(first.id, 'abort', {});
    expect(await ended(second.id)).toMatchObject({ state: 'completed', deviceCounts: { loaded: 2 } });
    // The third finds the version of the second, and that is as well.
    expect(await ended(third.id)).toMatchObject({ state: 'completed', deviceCounts: { loaded: 1 } });
    expect(itemsOf(await service.get(`/v1/rollouts/${third.id}/devices`))).toMatchObject([
      { state: 'loaded', outcome: 'refused-not-newer' },
    ]);
    // It has not brought it, and does not take it away.
    const back = Rollout.parse((await decide(third.id, 'rollback', { reason: 'none' })).body);
    expect(await ended(back.id)).toMatchObject({ deviceCounts: { loaded: 0, skipped: 1 } });
    expect((await versionsOf(module, west))[0]).toBe('1.2.0');
    // What has ended does not begin anew on devices that another has.
    const open = await roll({
      module,
      version: '1.2.0',
      devices: [west[1] ?? '', west[2] ?? ''],
      startAt: new Date(Date.now() + 3_600_000).toISOString(),
    });
    const whole = itemsOf(await service.get(`/v1/rollouts?module=${module}&state=completed&order=asc`))[0]?.id;
    const conflict = { type: 'urn:patchbay:problem:rollout-conflict', detail: expect.stringContaining(open.id) };
    expect((await decide(String(whole), 'rollback', { reason: 'none' })).body).toMatchObject(conflict);
    await decide(open.id, 'abort', {});
  });
});

describe('before and after', () => {
  test('a dry run tells what it would come to, and does nothing', async () => {
    const module = await newModule('dry', devices);
    await service.push(module, '1.3.0', '(module (func (export "other")))');
    await service.load(module, '1.1.0', [east[0] ?? '']);
    await service.load(module, '1.2.0', [east[1] ?? '']);
    const waves = [{ devices: 2 }, { upToPercent: 100 }];
    const { status, body } = await ask({ module, version: '1.1.0', devices: east, waves, dryRun: true });
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
    const dissimilar = await ask({ module, version: '1.3.0', devices: east, dryRun: true });
    expect(dissimilar.body).toMatchObject({ refused: 6 });
    expect(itemsOf(await service.get(`/v1/rollouts?module=${module}`))).toEqual([]);
    // What it would come to is what it comes to, in the same order.
    const selected = { module, version: '1.2.0', labels: { zone: 'west' } };
    const foreseen = itemsOf(await ask({ ...selected, dryRun: true })).map(({ device, wave }) => [device, wave]);
    const { id } = await roll(selected);
    await ended(id);
    expect(itemsOf(await service.get(`/v1/rollouts/${id}/devices`)).map(({ device, wave }) => [device, wave])).toEqual(foreseen);
    const busy = await roll({
      module,
      version: '1.2.0',
      devices: [east[3] ?? ''],
      startAt: new Date(Date.now() + 3_600_000).toISOString(),
    });
    expect((await ask({ module, version: '1.2.0', devices: east, dryRun: true })).body.conflicts).toEqual([
      { rollout: busy.id, devices: 1 },
    ]);
    await decide(busy.id, 'abort', {});
  });

  test('devices that come to match join a dynamic rollout, until it is closed', async () => {
    const module = await newModule('dynamic', devices);
    const { id } = await roll({ module, version: '1.1.0', labels: { ring: 'inner' }, dynamic: true, waves: [{ upToPercent: 100 }] });
    await waitsFor(id, 'devices');
    // What another rollout has does not join before that has ended.
    const startAt = new Date(Date.now() + 3_600_000).toISOString();
    const other = await roll({ module, version: '1.1.0', devices: [west[0] ?? ''], startAt });
    for (const [device, zone] of [
      [east[0], 'east'],
      [west[0], 'west'],
    ])
      expect((await service.request('PUT', `/v1/devices/${device}/labels`, { labels: { zone, ring: 'inner' } })).status).toBe(200);
    await when(id, 'has the one device', ({ deviceCounts, waitingFor }) => waitingFor === 'devices' && deviceCounts['loaded'] === 1);
    expect((await versionsOf(module, west))[0]).toBe('1.0.0');
    await decide(other.id, 'abort', {});
    await when(id, 'has the other', ({ deviceCounts, waitingFor }) => waitingFor === 'devices' && deviceCounts['loaded'] === 2);
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

  test('a report has every device, as JSON and as CSV', async () => {
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

  test('rollouts are listed by module and state, and are in the audit trail', async () => {
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
    const abortion = itemsOf(await service.get(`/v1/audit?object=${second.id}&action=rollout.aborted`));
    expect(abortion).toMatchObject([{ detail: { reason: 'not today' }, actor: expect.stringMatching(/^key_/) }]);
    const devicesPage = await service.get(`/v1/rollouts/${first.id}/devices?limit=4&order=desc`);
    const rest = itemsOf(await service.get(`/v1/rollouts/${first.id}/devices?limit=4&order=desc&cursor=${devicesPage.body.next}`));
    expect([...itemsOf(devicesPage), ...rest].map(({ position }) => position)).toEqual([6, 5, 4, 3, 2, 1]);
  });
});

describe('what is refused', () => {
  test.each<[string, object, string]>([
    ['an unknown module', { module: 'nothing', version: '1.0.0', labels: { zone: 'east' } }, '/module'],
    ['an unknown version', { module: 'net', version: '9.0.0', labels: { zone: 'east' } }, '/version'],
    ['labels that no device has', { version: '1.1.0', labels: { zone: 'nowhere' } }, '/labels'],
    ['a range that no device is in', { version: '1.1.0', runningVersion: '>9' }, '/runningVersion'],
    ['no range', { version: '1.1.0', runningVersion: 'the newest' }, '/runningVersion'],
    ['no selection', { version: '1.1.0' }, ''],
    ['no labels', { version: '1.1.0', labels: {} }, '/labels'],
    ['two selections', { version: '1.1.0', labels: { zone: 'east' }, devices: ['dev_01a207bda9c07b1e9d2f4c6a8b0d1e2f'] }, '/labels'],
    ['a device that there is not', { version: '1.1.0', devices: ['dev_01a207bda9c07b1e9d2f4c6a8b0d1e2f'] }, '/devices/0'],
    ['waves that leave devices out', { version: '1.1.0', labels: { zone: 'east' }, waves: [{ devices: 1 }] }, '/waves'],
    [
      'waves that go back',
      { version: '1.1.0', labels: { zone: 'east' }, waves: [{ upToPercent: 50 }, { upToPercent: 20 }, { upToPercent: 100 }] },
      '/waves',
    ],
    ['a wave of two sizes', { version: '1.1.0', labels: { zone: 'east' }, waves: [{ devices: 1, upToPercent: 100 }] }, '/waves/0'],
    ['too many waves', { version: '1.1.0', labels: { zone: 'east' }, waves: Array.from({ length: 51 }, () => ({ devices: 1 })) }, '/waves'],
    [
      'no such zone',
      { version: '1.1.0', labels: { zone: 'east' }, window: { days: ['monday'], from: '10:00', until: '11:00', timeZone: 'Mars/Base' } },
      '/window/timeZone',
    ],
    [
      'no time of day',
      { version: '1.1.0', labels: { zone: 'east' }, window: { days: ['monday'], from: '24:00', until: '11:00', timeZone: 'UTC' } },
      '/window/from',
    ],
    ['named devices that others join', { version: '1.1.0', devices: ['dev_01a207bda9c07b1e9d2f4c6a8b0d1e2f'], dynamic: true }, '/dynamic'],
    [
      'an end of joining where none joins',
      { version: '1.1.0', labels: { zone: 'east' }, dynamicUntil: '2030-01-01T00:00:00Z' },
      '/dynamicUntil',
    ],
    ['a downgrade without a reason', { version: '1.1.0', labels: { zone: 'east' }, versionPolicy: 'downgrade' }, '/downgradeReason'],
    ['an unknown threshold', { version: '1.1.0', labels: { zone: 'east' }, thresholds: { failedLoads: 1 } }, '/thresholds/failedLoads'],
  ])('%s', async (_, body, pointer) => {
    const answer = await service.postRaw('/v1/rollouts', { module: 'net', soakSeconds: 0, ...body });
    expect(answer.body).toMatchObject({ status: 422, type: 'urn:patchbay:problem:invalid-value' });
    expect(pointersOf(answer)).toContain(pointer);
  });

  test('a rollout to devices that all have the version', async () => {
    const module = await newModule('there');
    expect((await ask({ module, version: '1.0.0', devices: east })).body).toMatchObject({ type: 'urn:patchbay:problem:already-installed' });
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

  test('decisions about a rollout that there is not', async () => {
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

  test('more followers than there may be', async () => {
    const module = await newModule('watched');
    const { id } = await roll({ module, version: '1.1.0', devices: east, startAt: new Date(Date.now() + 3_600_000).toISOString() });
    const follow = () => fetch(`${service.url}/v1/rollouts/${id}/progress`, { headers: { authorization: `Bearer ${service.key}` } });
    const streams = await Promise.all(Array.from({ length: 100 }, follow));
    expect(streams.every(({ status }) => status === 200)).toBe(true);
    const refused = await follow();
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '1']);
    expect(await refused.json()).toMatchObject({ type: 'urn:patchbay:problem:busy' });
    // Who leaves makes room.
    await streams[0]?.body?.cancel();
    const again = await until('there is room again', async () => {
      const response = await follow();
      return response.status === 200 && response;
    });
    for (const { body } of [...streams.slice(1), again]) await body?.cancel();
    await decide(id, 'abort', {});
  });

  test('more open rollouts than there may be', async () => {
    const module = await newModule('many');
    const startAt = new Date(Date.now() + 3_600_000).toISOString();
    const made: string[] = [];
    for (;;) {
      const answer = await ask({ module, version: '1.1.0', devices: [east[0] ?? ''], startAt, onConflict: 'queue' });
      if (answer.status !== 202) {
        expect(answer.body).toMatchObject({ status: 409, type: 'urn:patchbay:problem:too-many-rollouts' });
        break;
      }
      made.push(String(answer.body.id));
    }
    expect(made.length).toBeGreaterThan(50);
    expect(made.length).toBeLessThanOrEqual(100);
    for (const id of made) await decide(id, 'abort', {});
  });
});
