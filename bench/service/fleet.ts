// One request for loads on a fleet of two hosts, a tenth of whose devices run programs: measures the time until every outcome is committed.

import { type Schemas, unwrapResponse } from '../../src/client/client.ts';
import { inParallel } from '../../test/system/chaos/async.ts';
import { FleetFloor, type FloorTimes } from './fleet-floor.ts';
import { Installation, module } from './installation.ts';
import { median, until } from './measuring.ts';
import type { Figure } from './results.ts';
import { checkOutcomes, loadEverywhere, type Round, roundText } from './rounds.ts';
import type { Bench } from './settings.ts';

const sizes = { full: { devices: 10_000, programs: 1_000, rounds: 3 }, quick: { devices: 1_000, programs: 100, rounds: 1 } } as const;
/** The loop of the programs: time inside a call and time between calls, in milliseconds. Nearly all programs are inside a call at any time. */
const call = { inside: 1_000, pause: 50 } as const;
const labels = { fleet: 'bench' };

type FloorRound = Round & { readonly floor: FloorTimes };

export async function measureFleet(bench: Bench): Promise<Figure[]> {
  const { devices, programs, rounds } = bench.isQuick ? sizes.quick : sizes.full;
  const fleet = await Installation.start('fleet', bench);
  try {
    await fleet.pushBuilds(rounds + 1);
    const host = { devices: devices / 2, labels: 'fleet=bench' };
    await fleet.addHosts([
      { name: 'host-1', ...host },
      { name: 'host-2', ...host },
    ]);
    bench.progress(`fleet: ${devices} devices are attached`);
    checkOutcomes(fleet, await loadEverywhere(fleet, 0, [labels]), devices, ['installed']);
    await startPrograms(fleet, devices / programs);
    bench.progress(`fleet: ${programs} programs run`);

    const measured: FloorRound[] = [];
    for (let round = 1; round <= rounds; round += 1) {
      const floor = new FleetFloor(fleet, fleet.file(`before-${round}.db`));
      const figures = await loadEverywhere(fleet, round, [labels]);
      checkOutcomes(fleet, figures, devices, ['replaced', 'replaced-interrupting']);
      measured.push({ ...figures, floor: floor.write(figures.batches) });
      bench.progress(`fleet: round ${round}: ${roundText(figures)}`);
    }
    const interrupted = await interruptions(fleet);
    return figuresOf(measured, devices, `programs on ${programs} of them, ${call.inside} ms inside, ${call.pause} ms out`, interrupted);
  } finally {
    await fleet.end();
  }
}

/** Starts a program on each of a number of devices, which calls the module as long as the device runs. */
async function startPrograms({ client, view }: Installation, every: number): Promise<void> {
  const chosen = view.devices().filter((_, index) => index % every === 0);
  const body: Schemas['NewProgram'] = {
    name: 'caller',
    module,
    export: 'work',
    arguments: [1, call.inside],
    threads: 1,
    calls: null,
    pauseMilliseconds: call.pause,
  } as const;
  await inParallel(chosen, 32, async (device) => {
    unwrapResponse(await client.POST('/v1/devices/{device}/programs', { params: { path: { device } }, body }));
  });
  await until('every program has been inside', 100, () => calls(view, 'callsCompleted', 'COUNT') >= chosen.length);
}

/** Returns the counters of the programs, as last reported. */
function calls(view: Installation['view'], counter: string, aggregate = 'SUM'): number {
  return view.number(
    `SELECT ${aggregate}(program.value ->> ?) FROM "Device", json_each("Device"."state", '$.programs') AS program WHERE program.value ->> ? > 0`,
    counter,
    counter,
  );
}

/** Returns the number of interrupted accesses, all of which were retried. @throws {Error} if there were none, or a call failed. */
async function interruptions({ view }: Installation): Promise<number> {
  const interrupted = view.number('SELECT SUM("interrupted") FROM "Load"');
  if (interrupted === 0) throw new Error('no program was inside its module while it was replaced');
  await until('the devices have reported the interrupted accesses', 100, () => calls(view, 'accessesRetried') >= interrupted);
  const failed = calls(view, 'callsFailed');
  if (failed > 0) throw new Error(`${failed} calls of programs have failed`);
  return interrupted;
}

function figuresOf(rounds: readonly FloorRound[], devices: number, programs: string, interrupted: number): Figure[] {
  const part = 'fleet' as const;
  const perSecond = (milliseconds: (round: FloorRound) => number) => (devices * 1_000) / median(rounds.map(milliseconds));
  const base = (time: (floor: FloorTimes) => number) => ({
    what: 'raw transactions of the same rows',
    value: perSecond(({ floor }) => time(floor)),
  });
  const each = (of: 'serviceTime' | 'hostsTime') => (median(rounds.map((round) => round[of])) * 1_000) / devices;
  return [
    {
      part,
      what: `accepted → outcomes durable, ${devices} devices, ${programs}`,
      value: perSecond(({ accepted, durable }) => durable - accepted),
      unit: 'devices/s',
      base: base(({ afterRequest }) => afterRequest),
      goal: { of: 'figure', is: 'at least', bound: 5_000 },
    },
    {
      part,
      what: 'request → outcomes durable',
      value: perSecond(({ durable }) => durable),
      unit: 'devices/s',
      base: base(({ all }) => all),
      goal: null,
    },
    { part, what: 'request → accepted', value: median(rounds.map(({ accepted }) => accepted)), unit: 'ms', base: null, goal: null },
    { part, what: 'CPU time of the service per device', value: each('serviceTime'), unit: 'µs', base: null, goal: null },
    { part, what: 'CPU time of the hosts per device', value: each('hostsTime'), unit: 'µs', base: null, goal: null },
    {
      part,
      what: 'interrupted accesses per round, none failed',
      value: interrupted / rounds.length,
      unit: '',
      base: null,
      goal: null,
    },
  ];
}
