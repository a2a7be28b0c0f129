// A drain: the wait of a load, after the swap, for the accesses inside the old version to exit by themselves. It ends in exactly one way.

import type { Processor } from '../processor.ts';
import type { Thread } from '../threads/thread.ts';
import type { LoadedImage } from './loaded-image.ts';

/** The parts of a device that a drain observes. */
type DrainTarget = {
  readonly processor: Processor;
  /** Returns every thread of the device, with its program. */
  threads(): Iterable<{ readonly thread: Thread; readonly program: string }>;
};

/** How a drain ends. `unreferenced`: no access is inside any more. `interrupted`: the accesses inside are interrupted now, on request. */
export type DrainEnding =
  | { readonly kind: 'unreferenced' }
  | { readonly kind: 'timed-out' }
  | { readonly kind: 'interrupted' }
  | { readonly kind: 'cancelled'; readonly reason: string };

/** A drain in progress. */
export type DrainState = {
  /** The operation of patent FIG. 2 at which the load waits. */
  operation: 250;
  module: string;
  /** The version that the accesses are still inside. Of a patch set: the one with the most accesses inside. */
  previousVersion: string;
  /** Accesses still inside that entered through the module table, of all members of a patch set. */
  accesses: number;
  /** Programs of these accesses, with the number of their threads inside; the first 1,000 of them. */
  programs: { program: string; threads: number }[];
  /** How long the load has waited, in milliseconds of the processor's clock. */
  waitedMilliseconds: number;
};

/** Maximum programs listed in one drain. */
const maxListedPrograms = 1_000;

export class Drain {
  readonly #target: DrainTarget;
  readonly #previous: readonly LoadedImage[];
  readonly #records: ReadonlySet<number>;
  readonly #onEnd: (ending: DrainEnding) => void;
  readonly #startedAt: number;
  readonly #cancelDeadline: () => void;
  readonly #cancelWait: () => void;
  #hasEnded = false;

  /**
   * Starts a drain of some images together.
   * @param previous At least one image.
   * @param milliseconds How long it waits at most.
   * @param onEnd Called once, at a safepoint.
   */
  constructor(target: DrainTarget, previous: readonly LoadedImage[], milliseconds: number, onEnd: (ending: DrainEnding) => void) {
    const { processor } = target;
    this.#target = target;
    this.#previous = previous;
    this.#records = new Set(previous.map(({ record }) => record));
    this.#onEnd = onEnd;
    this.#startedAt = processor.clock.now();
    this.#cancelDeadline = processor.clock.after(milliseconds, () => void this.#end(() => ({ kind: 'timed-out' })));
    this.#cancelWait = processor.onUnreferenced([...this.#records], 'ignored', () => this.#endNow({ kind: 'unreferenced' }));
  }

  /** Interrupts the accesses inside at the next safepoint. Returns false if the drain ends in another way before. */
  interrupt(): Promise<boolean> {
    return this.#end(() => ({ kind: 'interrupted' }));
  }

  /** Cancels the load at the next safepoint: the swap is reverted. Returns false if the drain ends in another way before. */
  cancel(reason: string): Promise<boolean> {
    return this.#end(() => ({ kind: 'cancelled', reason: `${reason}: ${this.#describe()}` }));
  }

  /** Returns the progress. */
  state(): DrainState {
    const [most] = this.#previous.toSorted((left, right) => right.referenceCount - left.referenceCount);
    return {
      operation: 250,
      module: most?.image.stamp.module ?? '',
      previousVersion: most?.image.stamp.version ?? '',
      accesses: this.#referenceCount,
      programs: this.#programsInside(),
      waitedMilliseconds: this.#waitedMilliseconds,
    };
  }

  get #referenceCount(): number {
    return this.#previous.reduce((sum, { referenceCount }) => sum + referenceCount, 0);
  }

  get #waitedMilliseconds(): number {
    return Math.max(0, Math.round(this.#target.processor.clock.now() - this.#startedAt));
  }

  /** Returns what the drain still waits for, as part of a reason. */
  #describe(): string {
    const referenceCount = this.#referenceCount;
    const accesses = referenceCount === 1 ? '1 access was' : `${referenceCount} accesses were`;
    const [only] = this.#previous;
    const versions =
      this.#previous.length === 1
        ? only?.image.stamp.version
        : this.#previous.map(({ image: { stamp } }) => `${stamp.module}@${stamp.version}`).join(', ');
    return `${accesses} still inside ${versions} after ${this.#waitedMilliseconds} ms`;
  }

  #programsInside(): DrainState['programs'] {
    const threadsOf = new Map<string, number>();
    for (const { thread, program } of this.#target.threads()) {
      if (!this.#target.processor.isReferencing(thread, this.#records)) continue;
      threadsOf.set(program, (threadsOf.get(program) ?? 0) + 1);
    }
    return [...threadsOf].slice(0, maxListedPrograms).map(([program, threads]) => ({ program, threads }));
  }

  #end(endingOf: () => DrainEnding): Promise<boolean> {
    return this.#target.processor.atSafepoint(() => {
      if (this.#hasEnded) return false;
      // The last access has just exited: a load that is complete is neither interrupted nor reverted.
      const isUnreferenced = this.#referenceCount === 0;
      this.#endNow(isUnreferenced ? { kind: 'unreferenced' } : endingOf());
      return !isUnreferenced;
    });
  }

  #endNow(ending: DrainEnding): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#cancelDeadline();
    this.#cancelWait();
    this.#onEnd(ending);
  }
}
