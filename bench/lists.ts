// `npm run bench:lists`: compares pages of fleet lists by group, selector and scope, with 100,000 devices and with 1,000. Exits with 1 if a ratio exceeds its goal.

import console from 'node:console';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { readInteger } from '../src/cli/option-values.ts';
import { ListedFleet, selections } from './lists/listed-fleet.ts';
import { median, timeOf } from './service/measuring.ts';
import { compared, type Figure, resultLines } from './service/results.ts';

const usage = `Usage: npm run bench:lists -- [options]

Measures a page of each list of a fleet that accepts a group, a label selector or a key with a scope, on SQLite.

Options:
  --devices N  devices of the large fleet (100000)
  --rounds N   requests per list and fleet, in alternating rounds (101)
  --help
`;
const devicesOfSmallFleet = 1_000;
const warmUps = 5;
const goal = { of: 'ratio', is: 'at most', bound: 1.2 } as const;

type Question = {
  readonly what: string;
  readonly path: string;
  /** Name of the key that asks; the administrator's by default. */
  readonly key?: string;
  /** Whether the items of the page refer to more devices in the larger fleet, so that the ratio has no goal. */
  readonly grows?: boolean;
};

const { values } = parseArgs({
  options: {
    devices: { type: 'string', default: '100000' },
    rounds: { type: 'string', default: '101' },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) console.log(usage);
else
  process.exitCode = await bench(readInteger('devices', values.devices, 1_000, 1_000_000), readInteger('rounds', values.rounds, 1, 10_000));

/** Runs the benchmark; returns the exit code. */
async function bench(devices: number, rounds: number): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'patchbay-bench-lists-'));
  const fleets: ListedFleet[] = [];
  try {
    const few = await ListedFleet.start(join(folder, 'few.db'), devicesOfSmallFleet);
    fleets.push(few);
    const many = await ListedFleet.start(join(folder, 'many.db'), devices);
    fleets.push(many);
    const figures: Figure[] = [];
    for (const question of questionsOf()) figures.push(await compare(few, many, question, rounds));
    const results = figures.map(compared);
    console.log(resultLines(results).join('\n'));
    return results.every(({ holds }) => holds !== false) ? 0 : 1;
  } finally {
    for (const fleet of fleets) await fleet.end();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Sends the request to both fleets alternately. @throws {Error} if one page has fewer items than the other. */
async function compare(few: ListedFleet, many: ListedFleet, { what, path, key, grows = false }: Question, rounds: number): Promise<Figure> {
  const times: { readonly few: number[]; readonly many: number[] } = { few: [], many: [] };
  for (let round = -warmUps; round < rounds; round += 1) {
    const items = { few: 0, many: 0 };
    // Alternately first, so that neither fleet always follows the other.
    for (const size of round % 2 === 0 ? (['few', 'many'] as const) : (['many', 'few'] as const)) {
      const fleet = size === 'few' ? few : many;
      const time = await timeOf(async () => {
        items[size] = await fleet.list(path, key);
      });
      if (round >= 0) times[size].push(time);
    }
    if (items.few !== items.many)
      throw new Error(`${path}: ${items.few} items of ${few.devices} devices, ${items.many} of ${many.devices}`);
  }
  const base = { what: `of ${few.devices} devices`, value: median(times.few) };
  return { part: 'lists', what, value: median(times.many), unit: 'ms', base, goal: grows ? null : goal };
}

function questionsOf(): Question[] {
  const bySelection = ['devices', 'loads'].flatMap((list) => [
    { what: `${list}: all`, path: `/v1/${list}` },
    ...selections.flatMap(({ name, what, selector }) => [
      { what: `${list}: group ${what}`, path: `/v1/${list}?group=${name}` },
      { what: `${list}: selector ${what}`, path: `/v1/${list}?selector=${encodeURIComponent(selector)}` },
    ]),
  ]);
  const byScope = ['devices', 'loads', 'load-batches', 'rollouts?module=tcp', 'modules/tcp/builds/1.1.0/devices?limit=10'].map((list) => ({
    what: `${list.replace(/\?.*/u, '')}: key with the scope zone=1`,
    path: `/v1/${list}`,
    key: 'zone',
  }));
  return [
    ...bySelection,
    { what: 'devices: group of 5 %, by name', path: '/v1/devices?group=zone&sort=name' },
    { what: 'devices: group of 5 %, by version', path: '/v1/devices?group=zone&module=tcp&version=1.1.0&limit=10' },
    { what: 'loads: group of 5 %, that failed', path: '/v1/loads?group=zone&outcome=failed&limit=10' },
    ...byScope,
    { what: 'load-batches: all', path: '/v1/load-batches' },
    { what: 'rollouts: to 50 devices each', path: '/v1/rollouts?module=tcp' },
    { what: 'rollouts: to 5 % of the fleet each', path: '/v1/rollouts?module=udp', grows: true },
    { what: 'rollouts: the same, key with the scope zone=1', path: '/v1/rollouts?module=udp', key: 'zone', grows: true },
    { what: 'groups', path: '/v1/groups' },
    { what: 'programs of a device', path: '/v1/devices/device-1/programs' },
  ];
}
