// Kernel calls: the kernel functions that modules may import (types: `kernelFunctions` in abi.ts).

import type { Scheduler } from '../scheduler/scheduler.ts';
import type { Effects } from './effects.ts';
import type { StateTransfer } from './state-transfer.ts';

export class KernelCalls {
  /** Imports of the namespace `kernel`. */
  readonly imports: Readonly<Record<string, WebAssembly.ImportValue>>;
  #stateTransfer: StateTransfer | null = null;

  constructor(effects: Effects, scheduler: Scheduler) {
    this.imports = {
      emit: (channel: number, value: bigint) => effects.emit(channel, value),
      sleep: new WebAssembly.Suspending((milliseconds: number) => scheduler.sleep(milliseconds)),
      state_write: (word: bigint) => this.#currentTransfer().write(word),
      state_read: () => this.#currentTransfer().read(),
    };
  }

  /** Runs code whose `state_write` and `state_read` use a state transfer. */
  transferState<Result>(transfer: StateTransfer, run: () => Result): Result {
    this.#stateTransfer = transfer;
    try {
      return run();
    } finally {
      this.#stateTransfer = null;
    }
  }

  #currentTransfer(): StateTransfer {
    if (this.#stateTransfer === null)
      throw new Error('kernel.state_write and kernel.state_read are available only in state_save and state_restore');
    return this.#stateTransfer;
  }
}
