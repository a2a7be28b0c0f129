// Abnormal exits: accesses that end without reaching their image's exit, by a trap, a deadline, a stop or an injected error.

import type { ImagesByRecord } from '../accesses/accessible-image.ts';
import { DeadlockError, type Ownership } from '../accesses/ownership.ts';
import type { TaintReason } from '../accesses/taint.ts';
import { isFetchFault } from '../accesses/trap.ts';
import { type Frames, firstFrameOf } from '../threads/frames.ts';
import { type Thread, wholeThread } from '../threads/thread.ts';

export class AbnormalExits {
  readonly #frames: Frames;
  readonly #ownership: Ownership;
  readonly #images: ImagesByRecord;

  constructor(frames: Frames, ownership: Ownership, images: ImagesByRecord) {
    this.#frames = frames;
    this.#ownership = ownership;
    this.#images = images;
  }

  /**
   * Ends a thread's accesses between two frames: releases the images that they own, and taints images with state.
   * @param range The first frame, and the end of the last one; by default all frames of the thread. `error`: what ended the accesses.
   */
  end(
    thread: Thread,
    reason: TaintReason,
    { from = wholeThread, to = this.#frames.endOf(thread), error = null }: { from?: number; to?: number; error?: unknown },
  ): void {
    const first = firstFrameOf(thread);
    const start = Math.max(from, first);
    const innermost = this.#frames.endOf(thread) - 4;
    for (let place = start; place < to; place += 4) {
      const frame = this.#frames.at(place);
      const { record } = frame;
      if (this.#ownership.has(record)) this.#ownership.endAccesses(thread, record, this.#frames.countBetween(first, start, record));
      const hasEntered =
        place < innermost || !(thread.entryWait !== null || error instanceof DeadlockError || isFetchFault(error, frame, this.#images));
      if (hasEntered) this.#images.get(record)?.recordTaint(reason);
    }
  }
}
