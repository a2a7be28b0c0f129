// The queue is round-robin between callers, small compilations are not blocked by large ones, and the queue is limited.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CompileQueue, QueueFullError } from '../../src/compiler/compile-queue.ts';
import { Compiler } from '../../src/compiler/compiler.ts';

const limits = { queuedPerCaller: 1_000, queued: 1_000, queuedBytes: 1_000_000, smallBytes: 10 };

/** Creates a queue whose jobs end when the test says so, and records the order in which they start. */
function createRecordedQueue(slots: number, given: Partial<typeof limits> = {}) {
  const queue = new CompileQueue(slots, { ...limits, ...given });
  const started: string[] = [];
  const ends = new Map<string, () => void>();
  const add = (caller: string, name: string, bytes: number) =>
    queue.run(caller, bytes, (slot) => {
      started.push(name);
      const { promise, resolve } = Promise.withResolvers<number>();
      ends.set(name, () => resolve(slot));
      return promise;
    });
  return { queue, started, add, end: (name: string) => ends.get(name)?.() };
}

/** Waits until pending callbacks have run. */
const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

test('alternates between callers', async () => {
  const { started, add, end } = createRecordedQueue(2);
  const jobs = ['a1', 'a2', 'a3', 'b1', 'b2', 'c1'].map((name) => add(name.slice(0, 1), name, 100));
  for (const name of ['a1', 'a2', 'b1', 'c1', 'a3', 'b2']) {
    await settled();
    expect(started.at(-1)).toBe(name);
    end(name);
  }
  await Promise.all(jobs);
});

test('reserves a slot for small compilations', async () => {
  const { started, add, end } = createRecordedQueue(2);
  const large = ['x1', 'x2', 'x3'].map((name) => add('x', name, 100));
  const small = ['x4', 'x5'].map((name) => add('x', name, 10));
  await settled();
  expect(started).toEqual(['x1', 'x4']);
  end('x4');
  await settled();
  expect(started).toEqual(['x1', 'x4', 'x5']);
  for (const name of ['x5', 'x1', 'x2', 'x3']) {
    end(name);
    await settled();
  }
  expect(await Promise.all([...large, ...small])).toEqual([1, 1, 1, 0, 0]);
});

test.each([
  [{ queuedPerCaller: 2 }, 'queued compilations per API key'],
  [{ queued: 2 }, 'limit reached (2 queued compilations)'],
  [{ queuedBytes: 250 }, '250 bytes of queued sources'],
])('rejects a compilation beyond the limit %j, and accepts one again later', async (given, message) => {
  const { queue, add, end } = createRecordedQueue(2, given);
  const jobs = ['a', 'b', 'c'].map((name) => add('x', name, 100));
  await expect(add('x', 'd', 100)).rejects.toThrow(message);
  await expect(add('x', 'd', 100)).rejects.toBeInstanceOf(QueueFullError);
  expect(queue.length).toBe(2);
  end('a');
  await settled();
  jobs.push(add('x', 'e', 100));
  for (const name of ['b', 'c', 'e']) {
    end(name);
    await settled();
  }
  await Promise.all(jobs);
  expect(queue.length).toBe(0);
});

test('applies the limit to each caller separately', async () => {
  const { add, end } = createRecordedQueue(2, { queuedPerCaller: 1 });
  const jobs = ['a', 'b'].map((name) => add('x', name, 100));
  await expect(add('x', 'c', 100)).rejects.toThrow(QueueFullError);
  jobs.push(add('y', 'd', 100));
  for (const name of ['a', 'b', 'd']) {
    end(name);
    await settled();
  }
  await Promise.all(jobs);
});

test('runs every compilation once, and large ones never in all slots', async () => {
  const job = fc.record({ caller: fc.constantFrom('a', 'b', 'c'), bytes: fc.constantFrom(1, 100), ticks: fc.nat(3), fails: fc.boolean() });
  await fc.assert(
    fc.asyncProperty(fc.array(job, { maxLength: 30 }), async (jobs) => {
      const queue = new CompileQueue(2, limits);
      let running = 0;
      let large = 0;
      let ran = 0;
      const results = jobs.map(({ caller, bytes, ticks, fails }) =>
        queue.run(caller, bytes, async () => {
          running += 1;
          ran += 1;
          if (bytes > limits.smallBytes) large += 1;
          expect(running).toBeLessThanOrEqual(2);
          expect(large).toBeLessThanOrEqual(1);
          for (let tick = 0; tick < ticks; tick += 1) await Promise.resolve();
          running -= 1;
          if (bytes > limits.smallBytes) large -= 1;
          if (fails) throw new Error('failed');
        }),
      );
      const settledJobs = await Promise.allSettled(results);
      expect(settledJobs.map(({ status }) => status)).toEqual(jobs.map(({ fails }) => (fails ? 'rejected' : 'fulfilled')));
      expect(ran).toBe(jobs.length);
    }),
  );
});

test('does not delay the small build of another caller behind eight compile bombs', async () => {
  const compiler = new Compiler();
  const bomb = `export function f(p: i32): i32 { let x: i32 = 1;\n${'x = x * 31 + (p ^ x); if (x > p) { x -= p; }\n'.repeat(20_000)} return x; }`;
  const order: string[] = [];
  const done = (name: string) => () => void order.push(name);
  const request = (source: string, patch: number) => ({
    module: 'tcp',
    version: `1.0.${patch}`,
    language: 'assemblyscript' as const,
    source,
  });
  const bombs = Array.from({ length: 8 }, (_, patch) => compiler.compileModule(request(bomb, patch), 'attacker').finally(done('bomb')));
  const small = compiler.compileModule(request('export function one(): i32 { return 1; }', 9), 'victim').finally(done('small'));
  expect(await small).toMatchObject({ ok: true });
  // One bomb runs concurrently; no queued bomb ran first.
  expect(order.length).toBeLessThanOrEqual(2);
  await compiler.close();
  await Promise.allSettled(bombs);
});
