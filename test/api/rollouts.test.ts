// Rollouts over HTTP, on real hosts with live programs: waves, brakes, the way back, and what operators decide.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { Bench, eventsOf, itemsOf, until, workModule } from './fixture.ts';

const bench = new Bench();
let devices: string[];

/** `work(n)` as `workModule` has it, but that it traps for one of ten arguments. */
const trappingModule = (plus: number) => `
  (module
    (global $calls (mut i32) (i32.const 0))
    (func (export "work") (param $n i32) (result i32)
      (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
      (if (i32.eqz (i32.rem_u (global.get $calls) (i32.const 10))) (then (unreachable)))
      (i32.add (local.get $n) (i32.const ${plus}))))`;

const Wave = z.looseObject({
  number: z.number(),
  state: z.string(),
  devices: z.number(),
  tally: z.record(z.string(), z.number()),
  failure: z.string().nullable(),
  goesOnDespiteFailure: z.boolean(),
  approvedBy: z.string().nullable(),
  measured: z.looseObject({ calls: z.number(), failedCalls: z.number(), abiViolations: z.number() }),
});
const Rollout = z.looseObject({
  id: z.string(),
  state: z.string(),
  waitingFor: z.string().nullable(),
  reason: z.string().nullable(),
  wave: z.number().nullable(),
  waves: z.array(Wave),
  tally: z.record(z.string(), z.number()),
  rolledBackBy: z.string().nullable(),
  endedAt: z.string().nullable(),
});
type Rollout = z.infer<typeof Rollout>;

beforeAll(async () => {
  await bench.start();
  bench.startHost('east', 6, { zone: 'east' });
  await bench.connectedDevices(6);
  bench.startHost('west', 6, { zone: 'west' });
  devices = await bench.connectedDevices(12);
  await bench.push('net', '1.0.0', workModule(1));
  await bench.push('net', '1.1.0', workModule(2));
  await bench.load('net', '1.0.0', devices);
  for (const device of devices)
    await bench.post(`/v1/devices/${device}/programs`, { module: 'net', export: 'work', arguments: [5], threads: 2, pauseMilliseconds: 1 });
});
afterAll(() => bench.close());

async function roll(body: object): Promise<Rollout> {
  const answer = await bench.post('/v1/rollouts', { module: 'net', soakSeconds: 0, ...body });
  if (answer.status !== 202) throw new Error(JSON.stringify(answer.body));
  const rollout = Rollout.parse(answer.body);
  expect(answer.headers.get('location')).toBe(`/v1/rollouts/${rollout.id}`);
  return rollout;
}

const read = async (id: string) => Rollout.parse((await bench.get(`/v1/rollouts/${id}`)).body);

const ended = (id: string) =>
  until(`the rollout ${id} has ended`, async () => {
    const rollout = await read(id);
    return rollout.endedAt !== null && rollout;
  });

/** Of every device, the version of the module in its table. */
async function versionsOf(module: string): Promise<string[]> {
  return Promise.all(
    devices.map(async (device) => {
      const { body } = await bench.get(`/v1/devices/${device}`);
      const table = z.array(z.looseObject({ module: z.string(), version: z.string() })).parse(body['moduleTable']);
      return table.find((entry) => entry.module === module)?.version ?? '';
    }),
  );
}

test('a build goes to a fleet wave by wave', async () => {
  const made = await roll({
    version: '1.1.0',
    labels: { zone: 'east' },
    waves: [{ devices: 1 }, { upToPercent: 50 }, { upToPercent: 100 }],
  });
  const rollout = await ended(made.id);
  expect(rollout.state).toBe('completed');
  expect(rollout.waves.map(({ state, devices: count, tally }) => [state, count, tally['loaded']])).toEqual([
    ['passed', 1, 1],
    ['passed', 2, 2],
    ['passed', 3, 3],
  ]);
  expect((await versionsOf('net')).filter((version) => version === '1.1.0')).toHaveLength(6);
});

test('a build that traps is stopped in the canary and rolled back', async () => {
  await bench.push('net', '1.2.0', trappingModule(3));
  const made = await roll({
    version: '1.2.0',
    labels: { zone: 'east' },
    waves: [{ devices: 2, soakSeconds: 20 }, { upToPercent: 100 }],
    onFailure: 'rollback',
  });
  const rollout = await ended(made.id);
  expect(rollout.state).toBe('rolled-back');
  expect(rollout.waves[0]?.failure).toMatch(/calls have failed since/);
  expect(rollout.tally).toEqual({ waiting: 0, loading: 0, loaded: 2, failed: 0, skipped: 4 });
  const back = await ended(rollout.rolledBackBy ?? '');
  expect(back.tally).toEqual({ waiting: 0, loading: 0, loaded: 2, failed: 0, skipped: 0 });
  expect(await versionsOf('net')).not.toContain('1.2.0');
});
void eventsOf;
void itemsOf;
