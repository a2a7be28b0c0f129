// `npm run bench:cluster`: measures the throughput and latency of 1, 2 and 3 replicas on PostgreSQL on this machine, and the work of their database.

import console from 'node:console';
import { parseArgs } from 'node:util';
import { startPostgresql } from '../test/postgresql/server.ts';
import { measureReplicas, type Sizes, type Taken, takenOnSqlite } from './cluster/replica-figures.ts';
import { endAll } from './service/processes.ts';
import { type ComparedFigure, compared } from './service/results.ts';
import { Run } from './service/run.ts';

const usage = `Usage: npm run bench:cluster -- [options]

Measures 1, 2 and 3 replicas of the service on a separate PostgreSQL server, against one insert per request there and one service on SQLite.

Options:
  --quick     run for about a minute, with fewer devices and rounds
  --out FILE  write the figures as JSON to FILE (default: bench-cluster-results.json)
  --help      show this help
`;
const full: Sizes = { silent: 5_000, seconds: 4, rounds: 3, single: 60, warmUps: 20, fleet: 2_000, running: 100, rest: 5 };
const quick: Sizes = { silent: 2_000, seconds: 4, rounds: 1, single: 30, warmUps: 10, fleet: 200, running: 20, rest: 2 };

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    out: { type: 'string', default: 'bench-cluster-results.json' },
    help: { type: 'boolean', default: false },
  },
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));
if (values.help) console.log(usage);
else await run();

async function run(): Promise<void> {
  const benchmark = new Run();
  const { progress } = benchmark;
  const sizes = values.quick ? quick : full;
  const figures: ComparedFigure[] = [];
  const others = new Map<string, Taken>();
  const server = await startPostgresql();
  try {
    others.set('one service on SQLite', await takenOnSqlite(sizes));
    progress('one service on SQLite is measured');
    for (const count of [1, 2, 3]) {
      const measured = await measureReplicas(count, { sizes, server: server.url, others, progress });
      figures.push(...measured.figures.map(compared));
      if (count === 1) others.set('one replica', measured.taken);
    }
  } finally {
    await endAll();
    await server.stop();
  }
  benchmark.finish(values.out, figures, { isQuick: values.quick });
}
