// Sections: what runs between two slices, where every thread is suspended at a safepoint, so that it is one step to all of them.

import type { Frames } from '../threads/frames.ts';

type Waiter = { readonly record: number; readonly bypasses: 'counted' | 'ignored'; readonly then: () => void };

export class SafepointOperations {
  readonly #frames: Frames;
  readonly #sections: (() => void)[] = [];
  #waiters: Waiter[] = [];

  constructor(frames: Frames) {
    this.#frames = frames;
  }

  /** Whether no section waits to be run. */
  get isEmpty(): boolean {
    return this.#sections.length === 0;
  }

  /** Adds a section to run; returns a promise of its result. */
  add<Result>(section: () => Result): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#sections.push(() => {
        try {
          resolve(section());
        } catch (error) {
          reject(error);
        }
      });
    });
  }

  /**
   * Calls back as soon as no access is inside an image; returns how to call that off.
   * @param bypasses Whether accesses by a hard-coded address count; they may never cease where they are not kept from entering.
   */
  onUnreferenced(record: number, bypasses: 'counted' | 'ignored', then: () => void): () => void {
    const waiter: Waiter = { record, bypasses, then };
    this.#waiters.push(waiter);
    return () => {
      this.#waiters = this.#waiters.filter((other) => other !== waiter);
    };
  }

  /** Runs the sections, those that they add included, and then calls back those that waited for images to be left. */
  run(): void {
    for (let section = this.#sections.shift(); section !== undefined; section = this.#sections.shift()) section();
    for (const waiter of this.#waiters) {
      const { counted, bypassing } = this.#frames.referencesOf(waiter.record);
      if (counted > 0 || (bypassing > 0 && waiter.bypasses === 'counted')) continue;
      this.#waiters = this.#waiters.filter((other) => other !== waiter);
      waiter.then();
    }
  }
}
