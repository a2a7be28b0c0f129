// `npm run chaos -- --kills N --seed S`: runs a number of kills with network faults, and prints the results.

import console from 'node:console';
import { parseArgs } from 'node:util';
import { readInteger } from '../../../src/cli/option-values.ts';
import { formatTable } from '../../../src/cli/terminal/table.ts';
import { startPostgresql } from '../../postgresql/server.ts';
import { runChaos } from './chaos.ts';

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '50' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
    hosts: { type: 'string', default: '4' },
    devices: { type: 'string', default: '200' },
    replicas: { type: 'string', default: '0' },
  },
});
const kills = readInteger('kills', values.kills, 0, 100_000);
const seed = readInteger('seed', values.seed, 0, 2 ** 32 - 1);
const hosts = readInteger('hosts', values.hosts, 1, 100);
const devices = readInteger('devices', values.devices, hosts, 10_000);
/** Replicas on PostgreSQL; 0: one service on SQLite. */
const replicas = readInteger('replicas', values.replicas, 0, 10);

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));

console.log(`Chaos of ${kills} kills, seed ${seed}`);
const server = replicas === 0 ? null : await startPostgresql();
const { counts, violations } = await runChaos({
  cluster: server && { replicas, server },
  kills,
  seed,
  hosts,
  devicesPerHost: Math.floor(devices / hosts),
  log: (line) => console.log(line),
});
await server?.stop();
console.log(`\n${formatTable(['count of', 'number'], Object.entries(counts)).join('\n')}\n`);
for (const violation of violations) console.log(violation);
const result = violations.length === 0 ? 'no violations' : `${violations.length} violations`;
console.log(`${result}: npm run chaos -- --kills ${kills} --seed ${seed} --hosts ${hosts} --devices ${devices} --replicas ${replicas}`);
process.exitCode = violations.length === 0 ? 0 : 1;
