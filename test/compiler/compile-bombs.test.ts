// Expensive compilations: their memory is limited, and they do not block other callers.

import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { Compiler } from '../../src/compiler/compiler.ts';
import { compilerLimits, maxCompilerMebibytes } from '../../src/compiler/limits.ts';
import { exponentialInlining, longFunction, manyInstructions, wideCalls } from './compile-bombs.ts';

const request = { module: 'tcp', version: '1.0.0' };
const small = { ...request, language: 'wat', source: '(module (func (export "one") (result i32) (i32.const 1)))' } as const;
const mebibytes = () => process.memoryUsage.rss() / 2 ** 20;

test('rejects a compilation that exceeds the memory limit of binaryen, and continues others', async () => {
  const compiler = new Compiler({ binaryenMebibytes: 32 });
  const bomb = compiler.compileModule({ ...request, ...wideCalls() }, 'attacker');
  expect(await compiler.compileModule(small, 'victim')).toMatchObject({ ok: true });
  expect(await bomb).toMatchObject({
    ok: false,
    problem: 'too-costly',
    diagnostics: [{ message: expect.stringContaining('more than 32 MiB in binaryen') }],
  });
  // In the thread that has replaced the terminated one.
  expect(await compiler.compileModule(small, 'attacker')).toMatchObject({ ok: true });
  await compiler.close();
});

test('keeps eight compile bombs of eight callers within the memory limits, without delaying a small build', async () => {
  // Long enough that no compilation times out on a busy machine.
  const compiler = new Compiler({ milliseconds: 120_000 });
  await compiler.compileModule(small);
  const before = mebibytes();
  let peak = before;
  const sampling = setInterval(() => {
    peak = Math.max(peak, mebibytes());
  }, 10);
  const order: string[] = [];
  const sources = [longFunction(), wideCalls(), manyInstructions(), wideCalls(), longFunction(), wideCalls(), longFunction(), wideCalls()];
  const bombs = sources.map(async (source, index) => {
    const result = await compiler.compileModule({ ...request, ...source }, `attacker-${index}`);
    order.push('bomb');
    return result.ok ? 'compiled' : result.diagnostics[0]?.message;
  });
  expect(await compiler.compileModule(small, 'victim')).toMatchObject({ ok: true });
  order.push('small');
  const results = await Promise.all(bombs);
  clearInterval(sampling);
  const refused = expect.stringContaining(`more than ${compilerLimits.binaryenMebibytes.value} MiB in binaryen`);
  expect(results).toEqual(['compiled', refused, 'compiled', refused, 'compiled', refused, 'compiled', refused]);
  expect(order.at(-1)).toBe('bomb');
  expect(peak - before).toBeLessThan(maxCompilerMebibytes());
  await compiler.close();
  expect(mebibytes() - before).toBeLessThan(compilerLimits.retainedMebibytes.value);
});

test.each([
  [1, true],
  [100_000, false],
])('a thread that retains more than %i MiB after a compilation is replaced: %s', async (retainedMebibytes, breaksThread) => {
  const worker = new Worker(new URL('../../src/compiler/compile-worker.ts', import.meta.url), {
    workerData: { faultAt: null, binaryenMebibytes: 256, retainedMebibytes },
  });
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  worker
    .on('error', reject)
    .on('message', (message) => (message === 'ready' ? worker.postMessage({ kind: 'module', ...small }) : resolve(message)));
  expect(await promise).toMatchObject({ result: { ok: true }, breaksThread });
  await worker.terminate();
});

test('moves small but expensive sources out of the reserved thread', async () => {
  const compiler = new Compiler();
  const order: string[] = [];
  const bombs = Array.from({ length: 3 }, (_, index) =>
    compiler.compileModule({ ...request, ...exponentialInlining() }, `attacker-${index}`).finally(() => order.push('bomb')),
  );
  expect(await compiler.compileModule(small, 'victim')).toMatchObject({ ok: true });
  // Without the limit, the first two would complete before it starts.
  expect(order.length).toBeLessThanOrEqual(1);
  await compiler.close();
  await Promise.allSettled(bombs);
});

test('completes a compilation that was stopped in the reserved thread', async () => {
  const compiler = new Compiler({ reservedMilliseconds: 0 });
  expect(await compiler.compileModule({ ...request, ...longFunction(1_000) })).toMatchObject({ ok: true });
  await compiler.close();
});
