// Three replicas on a PostgreSQL server of their own, which is killed too: no load is lost or done twice, and no call fails.

import { expect, test } from 'vitest';
import { startPostgresql } from '../postgresql/server.ts';
import { runChaos } from './chaos/chaos.ts';

const kills = 8;
const devices = 60;
const hosts = 3;

test(`nothing is lost or doubled when replicas, hosts and their database are killed ${kills} times`, { timeout: 600_000 }, async () => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  const lines: string[] = [];
  // Not that of the other tests: what is acknowledged is on its disk, and it is started anew.
  const server = await startPostgresql();
  try {
    const { counts, violations } = await runChaos({
      cluster: { replicas: 3, server },
      kills,
      seed,
      hosts,
      devicesPerHost: devices / hosts,
      log: (line) => lines.push(line),
    });
    const again = `npm run chaos -- --replicas 3 --kills ${kills} --hosts ${hosts} --devices ${devices} --seed ${seed}`;
    expect(violations, `${again}\n${lines.join('\n')}\n${JSON.stringify(counts)}`).toEqual([]);
    expect(counts, again).toMatchObject({ devices, kills, lost: 0, doubled: 0, requestsDoubled: 0 });
    expect(counts.databaseKills, again).toBeGreaterThan(0);
    expect(counts.databaseFaults, again).toBeGreaterThan(0);
  } finally {
    await server.stop();
  }
});
