// Compiler threads that are ended while they start: V8 would end the whole process.

import type { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { Compiler } from '../../src/compiler/compiler.ts';

test('a compiler that is closed while its first thread starts ends the thread once it has started', async () => {
  const messages: unknown[] = [];
  process.once('worker', (worker: Worker) => worker.on('message', (message) => messages.push(message)));
  const compiler = new Compiler();
  await compiler.close();
  expect(messages).toEqual(['ready']);
});
