// Measures the cost per device as their number grows, and of lists and loads as their history grows.

import { splitIntoChunks } from '../../src/service/database/chunks.ts';
import { measureHistory } from './history.ts';
import { type HostSize, Installation } from './installation.ts';
import { median } from './measuring.ts';
import type { Figure } from './results.ts';
import { checkOutcomes, loadEverywhere, type Round, roundText } from './rounds.ts';
import type { Bench } from './settings.ts';

/** The baseline size, and how often each size is measured. */
const sizes = {
  full: {
    base: 1_000,
    others: [
      { devices: 100, rounds: 5 },
      { devices: 10_000, rounds: 2 },
      { devices: 50_000, rounds: 1 },
    ],
  },
  quick: {
    base: 500,
    others: [
      { devices: 100, rounds: 2 },
      { devices: 2_000, rounds: 1 },
    ],
  },
} as const;
/** Devices per process. */
const devicesPerHost = 10_000;
const builds = 20;
const goal = { of: 'ratio', is: 'at most', bound: 1.3 } as const;

export async function measureGrowth(bench: Bench): Promise<Figure[]> {
  const { base, others } = bench.isQuick ? sizes.quick : sizes.full;
  const figures: Figure[] = [];
  const few = await Fleet.start(bench, base);
  try {
    for (const { devices, rounds } of others) {
      const many = await Fleet.start(bench, devices);
      try {
        const measured: { few: Round; many: Round }[] = [];
        for (let round = 0; round < rounds; round += 1) measured.push({ few: await few.load(), many: await many.load() });
        const cost = (size: 'few' | 'many', count: number, of: (round: Round) => number) =>
          (median(measured.map((both) => of(both[size]))) * 1_000) / count;
        const compare = (what: string, of: (round: Round) => number, hasGoal: boolean): Figure => ({
          part: 'growth',
          what: `${what}, ${devices} devices on ${Math.ceil(devices / devicesPerHost)} hosts`,
          value: cost('many', devices, of),
          unit: 'µs/device',
          base: { what: `of ${base}`, value: cost('few', base, of) },
          goal: hasGoal && devices > base ? goal : null,
        });
        figures.push(
          compare('CPU time of the service', ({ serviceTime }) => serviceTime, true),
          compare('request → outcomes durable, limited by the hosts', ({ durable }) => durable, true),
          compare('CPU time of the hosts, including idle devices', ({ hostsTime }) => hostsTime, false),
        );
      } finally {
        await many.end();
      }
    }
  } finally {
    await few.end();
  }
  return [...figures, ...(await measureHistory(bench))];
}

/** Devices without programs that get one build after another. */
class Fleet {
  readonly #installation: Installation;
  readonly #devices: number;
  readonly #hosts: readonly HostSize[];
  readonly #progress: Bench['progress'];
  #build = 0;

  static async start(bench: Bench, devices: number): Promise<Fleet> {
    const fleet = new Fleet(await Installation.start(`growth-${devices}`, bench), devices, bench.progress);
    await fleet.#installation.pushBuilds(builds);
    await fleet.#installation.addHosts(fleet.#hosts);
    bench.progress(`growth: ${devices} devices are attached`);
    await fleet.load();
    return fleet;
  }

  private constructor(installation: Installation, devices: number, progress: Bench['progress']) {
    this.#installation = installation;
    this.#devices = devices;
    this.#progress = progress;
    this.#hosts = splitIntoChunks([...Array(devices).keys()], devicesPerHost).map((some, index) => {
      return { name: `host-${index + 1}`, devices: some.length, labels: `fleet=host-${index + 1}` };
    });
  }

  /** Loads the next build on all devices, with one request per host. */
  async load(): Promise<Round> {
    const selections = this.#hosts.map(({ name }) => ({ fleet: name }));
    const round = await loadEverywhere(this.#installation, this.#build, selections);
    checkOutcomes(this.#installation, round, this.#devices, [this.#build === 0 ? 'installed' : 'replaced']);
    this.#progress(`growth: ${this.#devices} devices: ${roundText(round)}`);
    this.#build += 1;
    return round;
  }

  end(): Promise<void> {
    return this.#installation.end();
  }
}
