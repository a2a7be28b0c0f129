// System calls: what the compiler's own code in an image imports for safepoints, entries and drivers. Modules cannot import them.

import { entryControlImports } from '../abi.ts';
import type { KernelMemory } from '../memory/kernel-memory.ts';
import type { Execution } from '../scheduler/execution.ts';
import type { Scheduler } from '../scheduler/scheduler.ts';
import type { ThreadTable } from '../scheduler/thread-table.ts';
import type { Effects } from './effects.ts';
import type { EntryControl } from './entry-control.ts';

type Dependencies = {
  readonly kernelMemory: KernelMemory;
  readonly threads: ThreadTable;
  readonly execution: Execution;
  readonly scheduler: Scheduler;
  readonly entryControl: EntryControl;
  readonly effects: Effects;
};

/** Returns the imports of the system namespace that are the same for all images. */
export function systemCalls({
  kernelMemory,
  threads,
  execution,
  scheduler,
  entryControl,
  effects,
}: Dependencies): Readonly<Record<string, WebAssembly.ImportValue>> {
  return {
    memory: kernelMemory.memory,
    injected: execution.injected,
    tick: () => scheduler.refillFuel(),
    suspend: new WebAssembly.Suspending(() => scheduler.suspend()),
    pause: new WebAssembly.Suspending((milliseconds: number) => scheduler.pause(milliseconds)),
    switched: (block: number, record: number) => scheduler.onVersionSwitch(threads.threadOf(block), record),
    commit: () => effects.commit(),
    [entryControlImports.acquire]: new WebAssembly.Suspending((record: number) => entryControl.acquire(record)),
    [entryControlImports.release]: (record: number) => entryControl.release(record),
    [entryControlImports.held]: (record: number) => entryControl.isHeld(record),
    [entryControlImports.hold]: new WebAssembly.Suspending((record: number) => entryControl.waitForCollection(record)),
    [entryControlImports.collect]: (record: number) => entryControl.requestCollection(record),
  };
}
