// Settings of programs, and the ABI test: a program with a stale address faults and is reported, and nothing else is affected.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import type { Schemas } from '../../../src/client/client.ts';
import { bearer, eventsOf, itemsOf, type LoadPolicy, TestService, until, workModule } from '../test-service.ts';

const service = new TestService();
let device: string;
let stopHost: () => Promise<void>;
beforeAll(async () => {
  await service.start();
  stopHost = service.startHost('host', 1);
  [device = ''] = await service.connectedDevices(1);
});
afterAll(() => service.close());

/** `work(n)` sleeps for longer than any test takes. */
const sleepingModule = `
  (module
    (import "kernel" "sleep" (func $sleep (param i32)))
    (func (export "work") (param i32) (result i32) (call $sleep (i32.const 3600000)) (i32.const 1)))`;

async function install(module: string, version: string, source: string, policy: LoadPolicy = {}) {
  const pushed = await service.push(module, version, source);
  if (pushed.status !== 201) throw new Error(JSON.stringify(pushed.body));
  const [load] = await service.load(module, version, [device], policy);
  return (await service.get(`/v1/loads/${load?.id}`)).body;
}

async function start(program: Partial<Schemas['NewProgram']> & { module: string }): Promise<string> {
  const started = await service.post(`/v1/devices/${device}/programs`, { export: 'work', arguments: [1], ...program });
  if (started.status !== 202) throw new Error(JSON.stringify(started.body));
  return String(started.body.id);
}

const Statistics = z.looseObject({
  state: z.string(),
  callsCompleted: z.number(),
  callsFailed: z.number(),
  faults: z.number(),
  lastFailure: z.string().nullable(),
  versions: z.array(
    z.object({
      version: z.string(),
      callsCompleted: z.number(),
      callsFailed: z.number(),
      latency: z
        .object({
          calls: z.number(),
          p50Microseconds: z.number(),
          p90Microseconds: z.number(),
          p99Microseconds: z.number(),
          maximumMicroseconds: z.number(),
        })
        .nullable(),
    }),
  ),
});
type Statistics = z.infer<typeof Statistics>;

const statisticsOf = async (program: string): Promise<Statistics | null> =>
  Statistics.nullable().parse((await service.get(`/v1/devices/${device}/programs/${program}`)).body.statistics);

function statisticsWith(program: string, what: string, condition: (statistics: Statistics) => boolean): Promise<Statistics> {
  return until(`the program has ${what}`, async () => {
    const statistics = await statisticsOf(program);
    return statistics !== null && condition(statistics) && statistics;
  });
}

const violations = async (query: string) => itemsOf(await service.get(`/v1/devices/${device}/abi-violations?${query}`));
const findings = async () => itemsOf(await service.get(`/v1/audit?action=device.abi-violation&object=${device}&limit=200`));
const stepOf = ({ report }: { readonly report?: Schemas['LoadReport'] | null }, name: Schemas['Step']['step']) =>
  report?.steps.find(({ step }) => step === name)?.facts;

/** Starts a program that keeps the address of version 1.0.0, and one that calls through the module table; then loads 1.1.0. */
async function startStale(module: string, invalidation: Schemas['Invalidation']) {
  await install(module, '1.0.0', workModule(1));
  const stale = await start({ module, name: 'stale', addressing: 'hard-coded', pauseMilliseconds: 1 });
  const fine = await start({ module, name: 'fine', pauseMilliseconds: 1 });
  await statisticsWith(stale, 'completed a call', ({ callsCompleted }) => callsCompleted > 0);
  const load = await install(module, '1.1.0', workModule(2), { invalidation });
  const { address } = z.object({ previous: z.object({ address: z.string() }) }).parse(load.report).previous;
  await statisticsWith(fine, 'been served by the new version', ({ versions }) => versions.some(({ version }) => version === '1.1.0'));
  return { load, stale, fine, address };
}

test('a program with the address of the old version continues to call it without invalidation, and the load reports the program', async () => {
  const { load, stale } = await startStale('kept', 'none');
  expect(stepOf(load, 'invalidated')).toMatchObject({ invalidation: 'none', heldBy: [stale] });
  const before = await statisticsOf(stale);
  const after = await statisticsWith(stale, 'more calls', ({ callsCompleted }) => callsCompleted > (before?.callsCompleted ?? 0));
  expect(after).toMatchObject({ callsFailed: 0, faults: 0, versions: [{ version: '1.0.0' }] });
  expect(await violations('module=kept')).toEqual([]);
  await service.post(`/v1/devices/${device}/programs/${stale}/stop`, undefined);
});

test.each<[Schemas['Invalidation'], string, string]>([
  ['mark-invalid', 'invalid', 'marked invalid'],
  ['nx', 'nx', 'marked NX'],
  ['delete', 'not-present', 'not present'],
])('with the invalidation %s, the program faults, and is reported with address, version and flag', async (invalidation, flag, words) => {
  const { load, stale, fine, address } = await startStale(invalidation, invalidation);
  expect(stepOf(load, 'invalidated')).toMatchObject({ invalidation, address, heldBy: [stale] });
  const [violation] = await until('the fault is reported', async () => {
    const found = await violations(`program=${stale}`);
    return Number(found[0]?.faults) > 1 && found;
  });
  const facts = {
    program: stale,
    programName: 'stale',
    module: invalidation,
    version: '1.0.0',
    address,
    page: Number(address) / 4096,
    flag,
  };
  expect(violation).toMatchObject(facts);
  expect(await violations(`module=${invalidation}`)).toHaveLength(1);
  expect(await violations(`program=${fine}`)).toEqual([]);
  const statistics = await statisticsOf(stale);
  expect(statistics?.faults).toBeGreaterThan(0);
  expect(statistics).toMatchObject({ state: 'running', callsFailed: statistics?.faults });
  expect(statistics?.lastFailure).toBe(
    `segmentation fault: fetch from ${invalidation}@1.0.0 at ${address} (page ${facts.page}), which is ${words}`,
  );
  expect(await statisticsOf(fine)).toMatchObject({ callsFailed: 0, faults: 0 });
  await service.post(`/v1/devices/${device}/programs/${stale}/stop`, undefined);
});

test('a violation is reported once, and remains listed after the service and the host restart', async () => {
  const known = (await findings()).length;
  const { stale } = await startStale('lasting', 'nx');
  const faults = async () => Number((await violations(`program=${stale}`))[0]?.faults ?? 0);
  const first = await until('it has faulted', faults);
  const follow = new AbortController();
  const stream = await fetch(`${service.url}/v1/events?types=device&after=0`, { headers: bearer(service.key), signal: follow.signal });
  for await (const { data } of eventsOf(stream)) if (data.includes('device.abi-violation') && data.includes(stale)) break;
  follow.abort();
  await service.stop();
  await service.start();
  await until('it has faulted again', async () => (await faults()) > first);
  const audited = await findings();
  expect(audited).toHaveLength(known + 1);
  expect(audited[0]).toMatchObject({
    object: device,
    detail: { device, program: stale, programName: 'stale', module: 'lasting', version: '1.0.0', flag: 'nx' },
  });

  await stopHost();
  const before = await violations('limit=200');
  stopHost = service.startHost('host', 1);
  await until('the device is connected again', async () => (await service.get(`/v1/devices/${device}`)).body.status === 'connected');
  expect(await violations('limit=200')).toEqual(before);
  // After the restart, the program keeps the address of 1.1.0, and is reported again when 1.1.0 is replaced.
  await statisticsWith(stale, 'calls of 1.1.0', ({ versions }) => versions.some(({ version }) => version === '1.1.0'));
  await install('lasting', '1.2.0', workModule(3));
  await until('it has faulted after the restart', async () => (await violations(`program=${stale}`)).length === 2);
  expect(await violations(`program=${stale}`)).toMatchObject([{ version: '1.1.0' }, { version: '1.0.0' }]);
  expect(await findings()).toHaveLength(known + 2);
  expect((await service.get(`/v1/devices/${device}`)).body).toMatchObject({ abiViolations: 1 });
});

/** Returns the result of the inner module, plus 1,000 for each entry. */
const countingModule = `
  (module
    (import "inner" "work" (func $inner (param i32) (result i32)))
    (global $entered (mut i32) (i32.const 0))
    (func (export "work") (param $n i32) (result i32)
      (global.set $entered (i32.add (global.get $entered) (i32.const 1)))
      (i32.add (call $inner (local.get $n)) (i32.mul (global.get $entered) (i32.const 1000)))))`;

test('a program with either recovery completes its calls: it repeats the access, or the whole call', async () => {
  await install('inner', '1.0.0', sleepingModule);
  const programs: string[] = [];
  for (const recovery of ['module', 'percolate'] as const) {
    await install(`outer-${recovery}`, '1.0.0', countingModule);
    programs.push(await start({ module: `outer-${recovery}`, recovery, calls: 1 }));
  }
  await until('both are inside', async () =>
    JSON.stringify((await service.get(`/v1/devices/${device}`)).body).includes('"referenceCount":2'),
  );
  expect(await install('inner', '1.1.0', workModule(1))).toMatchObject({ interrupted: 2, retried: 2, failed: 0 });
  const ended = { state: 'finished', callsCompleted: 1, callsFailed: 0, accessesInterrupted: 1, accessesRetried: 1 };
  for (const [index, lastResult] of ['1002', '2002'].entries()) {
    const program = programs[index] ?? '';
    expect(await statisticsWith(program, 'finished', ({ state }) => state === 'finished')).toMatchObject({ ...ended, lastResult });
    expect((await service.get(`/v1/devices/${device}/programs/${program}`)).body).toMatchObject({
      recovery: index === 0 ? 'module' : 'percolate',
      addressing: 'via-table',
      deadlineMilliseconds: null,
    });
  }
});

/** `work(n)` sleeps for n milliseconds, and every third call traps. */
const thirdTraps = `
  (module
    (import "kernel" "sleep" (func $sleep (param i32)))
    (global $calls (mut i32) (i32.const 0))
    (func (export "work") (param $n i32) (result i32)
      (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
      (call $sleep (local.get $n))
      (if (i32.eqz (i32.rem_u (global.get $calls) (i32.const 3))) (then (unreachable)))
      (global.get $calls)))`;

test('the statistics of each version count its failed calls and have the latency of the others', async () => {
  await install('third', '1.0.0', thirdTraps);
  const program = await start({ module: 'third', arguments: [2] });
  await statisticsWith(program, 'failed in the old version', ({ callsFailed }) => callsFailed > 2);
  await install('third', '1.1.0', workModule(1));
  await statisticsWith(program, 'been served by the new version', ({ versions }) => versions.some(({ version }) => version === '1.1.0'));
  await service.post(`/v1/devices/${device}/programs/${program}/stop`, undefined);
  const { versions, callsFailed } = await statisticsWith(program, 'stopped', ({ state }) => state === 'stopped');
  const [old, current] = versions;
  expect(current).toMatchObject({ version: '1.1.0', callsFailed: 0, latency: { calls: expect.any(Number) } });
  expect(old).toMatchObject({ version: '1.0.0', callsFailed, latency: { calls: expect.any(Number) } });
  const { p50Microseconds = 0, p90Microseconds = 0, p99Microseconds = 0, maximumMicroseconds = 0 } = old?.latency ?? {};
  // A timer can fire up to one millisecond early.
  expect(p50Microseconds).toBeGreaterThan(1_000);
  const ascending = [p50Microseconds, p90Microseconds, p99Microseconds, maximumMicroseconds];
  expect(ascending.toSorted((left, right) => left - right)).toEqual(ascending);
});

test('a program that has completed no call has no latency', async () => {
  await install('never', '1.0.0', '(module (func (export "work") (param i32) (result i32) (unreachable)))');
  const program = await start({ module: 'never', calls: 2 });
  const { versions } = await statisticsWith(program, 'finished', ({ state }) => state === 'finished');
  expect(versions).toEqual([{ version: '1.0.0', callsCompleted: 0, callsFailed: 2, latency: null }]);
});

test('a call that exceeds its deadline fails with the reason', async () => {
  await install('slow', '1.0.0', sleepingModule);
  const program = await start({ module: 'slow', calls: 2, deadlineMilliseconds: 10 });
  expect(await statisticsWith(program, 'finished', ({ state }) => state === 'finished')).toMatchObject({
    callsCompleted: 0,
    callsFailed: 2,
    faults: 0,
    lastFailure: expect.stringContaining('the call exceeded its deadline of 10 ms'),
  });
});

test.each([
  ['recovery', 'retry'],
  ['addressing', 'table'],
  ['deadlineMilliseconds', 0],
  ['deadlineMilliseconds', 1.5],
  ['deadlineMilliseconds', 3_600_001],
  ['deadlineMilliseconds', '10'],
])('rejects a program whose %s is %j', async (name, value) => {
  const response = await service.post(`/v1/devices/${device}/programs`, { module: 'slow', export: 'work', arguments: [1], [name]: value });
  expect(response).toMatchObject({ status: 422, body: { errors: [{ in: 'body', pointer: `/${name}` }] } });
});

test('a list of violations of an unknown device is not found', async () => {
  expect((await service.get(`/v1/devices/dev_${'0'.repeat(32)}/abi-violations`)).status).toBe(404);
});
