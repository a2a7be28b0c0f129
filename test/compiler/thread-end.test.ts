// Closing a compiler while its thread starts: terminating the thread then would make V8 abort the process.

import type { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { Compiler } from '../../src/compiler/compiler.ts';

test('terminates a thread that is starting only after it has started', async () => {
  const messages: unknown[] = [];
  process.once('worker', (worker: Worker) => worker.on('message', (message) => messages.push(message)));
  const compiler = new Compiler();
  await compiler.close();
  expect(messages).toEqual(['ready']);
});
