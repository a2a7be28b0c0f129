// Three replicas on their own PostgreSQL server, which is killed as well: no load is lost or performed twice, and no call fails.

import { expect, test } from 'vitest';
import { startPostgresql } from '../postgresql/server.ts';
import { runChaos } from './chaos/chaos.ts';

const kills = 8;
const devices = 60;
const hosts = 3;

test(`no load is lost or performed twice under ${kills} kills of replicas, hosts and the database`, { timeout: 600_000 }, async () => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  const lines: string[] = [];
  // Not the server of the other tests: this server flushes commits to disk, and is restarted.
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
    const command = `npm run chaos -- --replicas 3 --kills ${kills} --hosts ${hosts} --devices ${devices} --seed ${seed}`;
    expect(violations, `${command}\n${lines.join('\n')}\n${JSON.stringify(counts)}`).toEqual([]);
    expect(counts, command).toMatchObject({ devices, kills, lost: 0, doubled: 0, requestsDoubled: 0 });
    expect(counts.databaseKills, command).toBeGreaterThan(0);
    expect(counts.databaseFaults, command).toBeGreaterThan(0);
  } finally {
    await server.stop();
  }
});
