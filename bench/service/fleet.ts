// One request to a fleet of devices on two hosts, of which a tenth run programs: how long until every outcome is on disk.

import { answerOf, type Schemas } from '../../src/cli/client/client.ts';
import { inParallel } from '../../test/system/chaos/waiting.ts';
import { FleetFloor } from './fleet-floor.ts';
import { Installation, module, versionOf } from './installation.ts';
import { median, until } from './measuring.ts';
import type { Figure } from './results.ts';
import type { Bench } from './settings.ts';

const sizes = { full: { devices: 10_000, programs: 1_000, rounds: 3 }, quick: { devices: 1_000, programs: 100, rounds: 1 } } as const;
/** What programs do without end: so long inside a call, and so long between two, in milliseconds. Half of them are inside at any time. */
const call = { inside: 1_000, pause: 1_000 } as const;
const labels = { fleet: 'bench' };

export type Round = {
  /** From the request's begin to its answer, and until the last outcome is on disk, in milliseconds. */
  readonly accepted: number;
  readonly durable: number;
  /** What the service's process has computed meanwhile, and the hosts', in milliseconds. */
  readonly serviceTime: number;
  readonly hostsTime: number;
  readonly batches: readonly string[];
};

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

    const measured: (Round & { readonly floor: number })[] = [];
    for (let round = 1; round <= rounds; round += 1) {
      const floor = new FleetFloor(fleet, fleet.file(`before-${round}.db`));
      const figures = await loadEverywhere(fleet, round, [labels]);
      checkOutcomes(fleet, figures, devices, ['replaced', 'replaced-interrupting']);
      measured.push({ ...figures, floor: floor.write(figures.batches) });
      bench.progress(`fleet: round ${round}: ${JSON.stringify(measured.at(-1))}`);
    }
    const interrupted = await interruptions(fleet);
    return figuresOf(measured, devices, `programs on ${programs} of them, ${call.inside} ms inside, ${call.pause} ms out`, interrupted);
  } finally {
    await fleet.end();
  }
}

/** Puts a build on the devices with these labels, one request for each; answers when every outcome is on disk. */
export async function loadEverywhere(fleet: Installation, build: number, selections: readonly Record<string, string>[]): Promise<Round> {
  const { client, view, service, hosts } = fleet;
  const computed = () => ({ service: service.processorTime(), hosts: hosts.reduce((sum, host) => sum + host.processorTime(), 0) });
  const before = computed();
  const began = performance.now();
  const made = await Promise.all(
    selections.map(async (selected) => {
      const body = { module, version: versionOf(build), labels: selected };
      return answerOf(await client.POST('/v1/loads', { body })).batch;
    }),
  );
  const accepted = performance.now() - began;
  await until('every load has ended', 2, () => !view.hasOpenLoads());
  const durable = performance.now() - began;
  const after = computed();
  return { accepted, durable, serviceTime: after.service - before.service, hostsTime: after.hosts - before.hosts, batches: made };
}

/** @throws {Error} when not every device has ended its load in one of these ways. */
export function checkOutcomes({ view }: Installation, { batches }: Round, devices: number, allowed: readonly string[]): void {
  const outcomes = batches.flatMap((batch) => [...view.outcomes(batch)]);
  const well = outcomes.reduce((sum, [outcome, loads]) => sum + (allowed.includes(outcome) ? loads : 0), 0);
  if (well !== devices) throw new Error(`of ${devices} loads came ${JSON.stringify(outcomes)}`);
}

/** On each device of so many, a program that calls the module for as long as the device runs. */
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
    answerOf(await client.POST('/v1/devices/{device}/programs', { params: { path: { device } }, body }));
  });
  await until('every program has been inside', 100, () => calls(view, 'callsCompleted', 'COUNT') >= chosen.length);
}

/** What programs have counted, as their devices last reported. */
function calls(view: Installation['view'], counter: string, aggregate = 'SUM'): number {
  return view.number(
    `SELECT ${aggregate}(program.value ->> ?) FROM "Device", json_each("Device"."state", '$.programs') AS program WHERE program.value ->> ? > 0`,
    counter,
    counter,
  );
}

/** Accesses that were interrupted, all of which have retried. @throws {Error} when there were none, or a call has failed. */
async function interruptions({ view }: Installation): Promise<number> {
  const interrupted = view.number('SELECT SUM("interrupted") FROM "Load"');
  if (interrupted === 0) throw new Error('no program was inside while its module was replaced');
  await until('the devices have reported what they interrupted', 100, () => calls(view, 'accessesRetried') >= interrupted);
  const failed = calls(view, 'callsFailed');
  if (failed > 0) throw new Error(`${failed} calls of programs have failed`);
  return interrupted;
}

function figuresOf(
  rounds: readonly (Round & { readonly floor: number })[],
  devices: number,
  programs: string,
  interrupted: number,
): Figure[] {
  const part = 'fleet' as const;
  const perSecond = (milliseconds: (round: Round & { readonly floor: number }) => number) =>
    (devices * 1_000) / median(rounds.map(milliseconds));
  const base = { what: 'raw transactions of the same rows', value: perSecond(({ floor }) => floor) };
  const each = (of: 'serviceTime' | 'hostsTime') => (median(rounds.map((round) => round[of])) * 1_000) / devices;
  return [
    {
      part,
      what: `accepted → outcomes durable, ${devices} devices, ${programs}`,
      value: perSecond(({ accepted, durable }) => durable - accepted),
      unit: 'devices/s',
      base,
      goal: { of: 'figure', is: 'at least', bound: 5_000 },
    },
    { part, what: 'request → outcomes durable', value: perSecond(({ durable }) => durable), unit: 'devices/s', base, goal: null },
    { part, what: 'request → accepted', value: median(rounds.map(({ accepted }) => accepted)), unit: 'ms', base: null, goal: null },
    { part, what: 'processor time of the service per device', value: each('serviceTime'), unit: 'µs', base: null, goal: null },
    { part, what: 'processor time of the hosts per device', value: each('hostsTime'), unit: 'µs', base: null, goal: null },
    {
      part,
      what: 'accesses interrupted per round, of which none failed',
      value: interrupted / rounds.length,
      unit: '',
      base: null,
      goal: null,
    },
  ];
}
