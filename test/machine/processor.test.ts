// The processor contains an internal error to the thread in which it occurs.

import { afterAll, expect, test } from 'vitest';
import { Processor } from '../../src/machine/index.ts';
import type { Ending, ThreadOwner } from '../../src/machine/threads/thread.ts';
import { compiler, createTestMachine, quickModule, until } from './test-machine.ts';

afterAll(() => compiler.close());

test('ends only the thread in which an internal error occurs', async () => {
  const processor = new Processor();
  const endings: Ending[] = [];
  const faulty: ThreadOwner = {
    id: 'faulty',
    onVersionSwitch: () => {},
    onCallsMeasured: () => {},
    onCommit: () => {},
    exhaustFuel: () => {
      throw new Error('an internal error');
    },
    onEnd: (_thread, ending) => {
      endings.push(ending);
      return 'remove';
    },
  };
  const machine = createTestMachine({ processor });
  await machine.load('tcp', '1.0.0', quickModule(1));
  processor.startThread(faulty, processor.createGroup(), () => async () => {}, null);
  await machine.start('p', { module: 'tcp', calls: 100 });
  await until(() => machine.statistics('p').state === 'finished' && endings.length > 0);
  expect(machine.statistics('p')).toMatchObject({ callsCompleted: 100, callsFailed: 0 });
  expect(endings).toMatchObject([{ kind: 'trapped', error: { message: 'an internal error' } }]);
  expect(processor.runningThreads).toBe(0);
  await machine.close();
});
