// The processor: what goes wrong in one thread's turn is that thread's own.

import { afterAll, expect, test } from 'vitest';
import { Processor } from '../../src/machine/index.ts';
import type { Ending, ThreadOwner } from '../../src/machine/threads/thread.ts';
import { compiler, createTestMachine, quickModule, until } from './test-machine.ts';

afterAll(() => compiler.close());

test('a fault of the machine in one thread ends that thread, and the others run on', async () => {
  const processor = new Processor();
  const endings: Ending[] = [];
  const faulty: ThreadOwner = {
    id: 'faulty',
    onVersionSwitch: () => {},
    onCallsMeasured: () => {},
    onCommit: () => {},
    exhaustFuel: () => {
      throw new Error('a fault of the machine');
    },
    onEnd: (_thread, ending) => {
      endings.push(ending);
      return 'gone';
    },
  };
  const machine = createTestMachine({ processor });
  await machine.load('tcp', '1.0.0', quickModule(1));
  processor.startThread(faulty, processor.createGroup(), () => async () => {}, null);
  await machine.start('p', { module: 'tcp', calls: 100 });
  await until(() => machine.statistics('p').state === 'finished' && endings.length > 0);
  expect(machine.statistics('p')).toMatchObject({ callsCompleted: 100, callsFailed: 0 });
  expect(endings).toMatchObject([{ kind: 'trapped', error: { message: 'a fault of the machine' } }]);
  expect(processor.runningThreads).toBe(0);
  await machine.close();
});
