// The test runner: each file of tests in a process of its own, for they hold real databases, processes and WebAssembly.

import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

// Hundreds of processes and compiler threads are started: each finds what the runtime has made of the sources before.
process.env['NODE_COMPILE_CACHE'] ??= fileURLToPath(new URL('node_modules/.cache/patchbay', import.meta.url));

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
