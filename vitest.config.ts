// The test runner: each file of tests in a process of its own, for they hold real databases, processes and WebAssembly.

import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Two at a time: several of them run processes of their own.
    maxWorkers: 2,
  },
});
