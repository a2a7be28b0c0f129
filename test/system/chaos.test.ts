// Two hundred devices under fifty kills on a bad network: no load is lost or done twice, and no call fails.

import { expect, test } from 'vitest';
import { runChaos } from './chaos/chaos.ts';

const kills = 50;
const lines: string[] = [];

test(`nothing is lost or doubled when processes are killed ${kills} times and their network is bad`, { timeout: 600_000 }, async () => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  const { counts, violations } = await runChaos({
    cluster: null,
    kills,
    seed,
    hosts: 4,
    devicesPerHost: 50,
    log: (line) => lines.push(line),
  });
  const again = `npm run chaos -- --kills ${kills} --seed ${seed}`;
  expect(violations, `${again}\n${lines.join('\n')}\n${JSON.stringify(counts)}`).toEqual([]);
  expect(counts, again).toMatchObject({ devices: 200, kills, lost: 0, doubled: 0, requestsDoubled: 0 });
});
