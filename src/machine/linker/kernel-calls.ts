// Kernel calls: the functions that a module may import from the kernel (`kernelFunctions` in abi.ts has their types).

import type { Scheduler } from '../scheduler/scheduler.ts';
import type { Effects } from './effects.ts';
import type { StateTransfer } from './state-transfer.ts';

export class KernelCalls {
  /** What images import of the namespace `kernel`. */
  readonly imports: Readonly<Record<string, WebAssembly.ImportValue>>;
  #stateTransfer: StateTransfer | null = null;

  constructor(effects: Effects, scheduler: Scheduler) {
    this.imports = {
      emit: (channel: number, value: bigint) => effects.emit(channel, value),
      sleep: new WebAssembly.Suspending((milliseconds: number) => scheduler.sleep(milliseconds)),
      state_write: (word: bigint) => this.#transfer().write(word),
      state_read: () => this.#transfer().read(),
    };
  }

  /** Runs code whose `state_write` and `state_read` write and read a transfer of state. */
  transferState<Result>(transfer: StateTransfer, run: () => Result): Result {
    this.#stateTransfer = transfer;
    try {
      return run();
    } finally {
      this.#stateTransfer = null;
    }
  }

  #transfer(): StateTransfer {
    if (this.#stateTransfer === null) throw new Error('kernel.state_write and kernel.state_read work in state_save and state_restore only');
    return this.#stateTransfer;
  }
}
