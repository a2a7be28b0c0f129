// The test runner: two processes that take files of tests in turn, for they hold real databases, processes and WebAssembly.

import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

// Hundreds of processes and compiler threads are started: each finds what the runtime has made of the sources before.
process.env['NODE_COMPILE_CACHE'] ??= fileURLToPath(new URL('node_modules/.cache/patchbay', import.meta.url));

// Time limits are for a run that hangs: a machine with other work is slower by a factor.
const defaults = {
  pool: 'forks',
  // What a file imports is there for the next one: a third of the time of the small ones.
  isolate: false,
  testTimeout: 180_000,
  hookTimeout: 180_000,
  // A test without an assertion cannot fail.
  expect: { requireAssertions: true },
} as const;

/** What the tests of the service say of both databases. */
const everything = ['test/service/**/*.test.ts'];
/** Of these, those that a database is most likely to make fail; the others take three times as long (`npm run test:everything`). */
const ofDatabases = [
  'test/service/database/{clocks,copy,durability,migrations,replicas,restart,schema,statements,prepared-statements,transactions,undecodable-rows}.test.ts',
  'test/service/database/postgresql/*.test.ts',
  'test/service/{clock/clocks,hosts/host-access,idempotency/idempotency-store,keys/keys,agents/drift,http/unicode-validation}.test.ts',
  'test/service/{loads/{loads,routes},rollbacks/{rollbacks,routes},rollouts/load-requests}.test.ts',
];

/** A file in which every test fails: with it, the continuous integration shows that a failing test fails the run. */
const deliberateFailure = 'test/deliberate-failure.ts';
const isDeliberateFailure = process.env['TEST_DELIBERATE_FAILURE'] !== undefined;
/** Where the results of each test go as JSON, beside what is printed. */
const resultsFile = process.env['TEST_RESULTS_FILE'];

export default defineConfig({
  test: {
    reporters: resultsFile === undefined ? ['default'] : ['default', ['json', { outputFile: resultsFile }]],
    // Two at a time: several of them run processes of their own.
    maxWorkers: 2,
    globalSetup: ['test/temporary-folder.ts', 'test/postgresql/server.ts'],
    projects: [
      {
        test: {
          ...defaults,
          name: 'sqlite',
          include: isDeliberateFailure ? [deliberateFailure] : ['test/**/*.test.ts'],
          exclude: ['test/service/database/postgresql/**'],
          provide: { databases: 'sqlite' },
        },
      },
      {
        test: {
          ...defaults,
          name: 'postgresql',
          include: isDeliberateFailure ? [deliberateFailure] : process.env['TEST_EVERYTHING'] === undefined ? ofDatabases : everything,
          // These have no database, or the other.
          exclude: [
            'test/service/database/sqlite/**',
            'test/service/{clock/{retention-time,service-clock},loads/kept-report,orders/order-offers,rollbacks/version-stack}.test.ts',
            'test/service/rollouts/{schedule-window,steps,threshold-evaluation,waves}.test.ts',
          ],
          provide: { databases: 'postgresql' },
        },
      },
    ],
  },
});
