// Configuration of the test runner.

import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { LongestFirst } from './test/longest-first.ts';

// Tests start hundreds of processes and compiler threads, which share the compile cache of the runtime.
process.env['NODE_COMPILE_CACHE'] ??= fileURLToPath(new URL('node_modules/.cache/patchbay', import.meta.url));

// Time limits are for a run that hangs: a machine with other work is slower by a factor.
const defaults = {
  pool: 'forks',
  // Files share imported modules, which speeds up small files.
  isolate: false,
  testTimeout: 180_000,
  hookTimeout: 180_000,
  // A test without an assertion cannot fail.
  expect: { requireAssertions: true },
} as const;

/** Tests that can run with either database. */
const serviceTests = ['test/service/**/*.test.ts'];
/** The tests most likely to fail with another database. The others take three times as long (`npm run test:everything`). */
const databaseTests = [
  'test/service/database/{clocks,copy,durability,migrations,replicas,restart,schema,statements,prepared-statements,transactions,undecodable-rows}.test.ts',
  'test/service/database/postgresql/*.test.ts',
  'test/service/{clock/clocks,hosts/host-access,idempotency/idempotency-store,keys/keys,agents/drift,http/unicode-validation}.test.ts',
  'test/service/{loads/{loads,routes},modules/lifecycle-exports,rollbacks/{rollbacks,routes},rollouts/load-requests}.test.ts',
];

/** A file in which every test fails. Continuous integration uses it to check that a failing test fails the run. */
const deliberateFailure = 'test/deliberate-failure.ts';
const isDeliberateFailure = process.env['TEST_DELIBERATE_FAILURE'] !== undefined;
/** Path of an additional JSON report of the results. */
const resultsFile = process.env['TEST_RESULTS_FILE'];

export default defineConfig({
  test: {
    reporters: resultsFile === undefined ? ['default'] : ['default', ['json', { outputFile: resultsFile }]],
    // One more than the processors of the smallest machine: many tests wait for processes, timers and disks.
    maxWorkers: 3,
    sequence: { sequencer: LongestFirst },
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
          include: isDeliberateFailure ? [deliberateFailure] : process.env['TEST_EVERYTHING'] === undefined ? databaseTests : serviceTests,
          // These use no database, or SQLite only.
          exclude: [
            'test/service/database/sqlite/**',
            'test/service/{clock/{retention-time,service-clock},loads/kept-report,orders/order-offers,rollbacks/version-stack}.test.ts',
            'test/service/groups/{maintenance-windows,schedule-window}.test.ts',
            'test/service/rollouts/{steps,threshold-evaluation,waves}.test.ts',
          ],
          provide: { databases: 'postgresql' },
        },
      },
    ],
  },
});
