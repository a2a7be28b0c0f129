// Safepoint operations run while every thread is suspended at a safepoint, so that threads observe them as atomic.

import type { Frames } from '../threads/frames.ts';

type Waiter = { readonly records: readonly number[]; readonly bypasses: 'counted' | 'ignored'; readonly callback: () => void };

export class SafepointOperations {
  readonly #frames: Frames;
  readonly #operations: (() => void)[] = [];
  #waiters: Waiter[] = [];

  constructor(frames: Frames) {
    this.#frames = frames;
  }

  /** Whether no operation is pending. */
  get isEmpty(): boolean {
    return this.#operations.length === 0;
  }

  /** Adds an operation; returns a promise of its result. */
  add<Result>(operation: () => Result): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#operations.push(() => {
        try {
          resolve(operation());
        } catch (error) {
          reject(error);
        }
      });
    });
  }

  /**
   * Calls back as soon as no access is inside any of the images. Returns a function that cancels the wait.
   * @param bypasses Whether accesses by a hard-coded address count. Unless new ones are prevented from entering, they may never cease.
   */
  onUnreferenced(records: readonly number[], bypasses: 'counted' | 'ignored', callback: () => void): () => void {
    const waiter: Waiter = { records, bypasses, callback };
    this.#waiters.push(waiter);
    return () => {
      this.#waiters = this.#waiters.filter((other) => other !== waiter);
    };
  }

  /** Runs the operations, including those that they add; then calls back the waiters of images that have no access inside. */
  run(): void {
    for (let operation = this.#operations.shift(); operation !== undefined; operation = this.#operations.shift()) operation();
    for (const waiter of this.#waiters) {
      if (waiter.records.some((record) => this.#isReferenced(record, waiter.bypasses))) continue;
      this.#waiters = this.#waiters.filter((other) => other !== waiter);
      waiter.callback();
    }
  }

  #isReferenced(record: number, bypasses: Waiter['bypasses']): boolean {
    const { counted, bypassing } = this.#frames.referencesOf(record);
    return counted > 0 || (bypassing > 0 && bypasses === 'counted');
  }
}
