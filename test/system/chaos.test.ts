// Two hundred devices, kills and network faults: no load is lost or performed twice, and no call fails.

import { expect, test } from 'vitest';
import { randomCases } from '../random-cases.ts';
import { runChaos } from './chaos/chaos.ts';

const kills = randomCases(100);
const lines: string[] = [];

test(`no load is lost or performed twice under ${kills} kills and network faults`, { timeout: 600_000 }, async () => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  const { counts, violations } = await runChaos({
    cluster: null,
    kills,
    seed,
    hosts: 4,
    devicesPerHost: 50,
    log: (line) => lines.push(line),
  });
  const command = `npm run chaos -- --kills ${kills} --seed ${seed}`;
  expect(violations, `${command}\n${lines.join('\n')}\n${JSON.stringify(counts)}`).toEqual([]);
  expect(counts, command).toMatchObject({ devices: 200, kills, lost: 0, doubled: 0, requestsDoubled: 0 });
});
