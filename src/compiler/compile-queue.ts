// The queue of compilations: round-robin between callers, with a slot that large compilations cannot occupy.

/** A queued compilation. */
type Entry = { readonly caller: string; readonly bytes: number; readonly isSmall: boolean; readonly start: (slot: number) => void };

export type QueueLimits = {
  /** Maximum number of queued compilations of one caller. */
  readonly queuedPerCaller: number;
  /** Maximum number of queued compilations in total. */
  readonly queued: number;
  /** Maximum size of the sources of all queued compilations, in bytes. */
  readonly queuedBytes: number;
  /** Maximum size of a source that counts as small, in bytes. */
  readonly smallBytes: number;
};

/** A limit of the queue is reached. */
export class QueueFullError extends Error {
  override readonly name = 'QueueFullError';
}

/** The slot that is reserved for small compilations. */
export const reservedSlot = 0;

/**
 * Assigns slots to compilations: round-robin between callers, and first in, first out for compilations of one caller and the same size class. Large
 * compilations never run in the reserved slot, so that a small compilation waits for other small ones only.
 */
export class CompileQueue {
  readonly #limits: QueueLimits;
  readonly #freeSlots: Set<number>;
  /** Queued compilations by caller, the next caller first. */
  readonly #queued = new Map<string, Entry[]>();
  #count = 0;
  #bytes = 0;

  /** @param slots Number of concurrent compilations, at least 2. */
  constructor(slots: number, limits: QueueLimits) {
    this.#limits = limits;
    this.#freeSlots = new Set(Array.from({ length: slots }, (_, slot) => slot));
  }

  /** Number of queued compilations. */
  get length(): number {
    return this.#count;
  }

  /**
   * Runs a compilation as soon as a slot is free for it.
   * @param isSmall Whether it may use the reserved slot. Default: whether its size is at most `smallBytes`.
   * @throws {QueueFullError} if a limit of the queue is reached.
   */
  async run<Result>(
    caller: string,
    bytes: number,
    compile: (slot: number) => Promise<Result>,
    isSmall = bytes <= this.#limits.smallBytes,
  ): Promise<Result> {
    const slot = await this.#enter(caller, bytes, isSmall);
    try {
      return await compile(slot);
    } finally {
      this.#freeSlots.add(slot);
      this.#startNext();
    }
  }

  #enter(caller: string, bytes: number, isSmall: boolean): Promise<number> {
    const { promise, resolve } = Promise.withResolvers<number>();
    const entry: Entry = { caller, bytes, isSmall, start: resolve };
    const slot = this.#findSlot(entry);
    // A queued compilation that could use the free slot would be running already.
    if (slot !== undefined) {
      this.#freeSlots.delete(slot);
      return Promise.resolve(slot);
    }
    this.#checkLimits(caller, bytes);
    this.#queued.set(caller, [...(this.#queued.get(caller) ?? []), entry]);
    this.#count += 1;
    this.#bytes += bytes;
    return promise;
  }

  #checkLimits(caller: string, bytes: number): void {
    const { queuedPerCaller, queued, queuedBytes } = this.#limits;
    const own = this.#queued.get(caller)?.length ?? 0;
    if (own >= queuedPerCaller) throw new QueueFullError(`limit reached (${queuedPerCaller} queued compilations per API key)`);
    if (this.#count >= queued) throw new QueueFullError(`limit reached (${queued} queued compilations)`);
    if (this.#bytes + bytes > queuedBytes)
      throw new QueueFullError(
        `limit reached (${queuedBytes} bytes of queued sources; ${this.#bytes} are queued, and this source has ${bytes})`,
      );
  }

  /** Returns a free slot for a compilation. A small compilation prefers the reserved slot, so that the others stay free for large ones. */
  #findSlot({ isSmall }: Entry): number | undefined {
    if (isSmall && this.#freeSlots.has(reservedSlot)) return reservedSlot;
    return [...this.#freeSlots].find((slot) => slot !== reservedSlot);
  }

  #startNext(): void {
    for (const [caller, entries] of this.#queued) {
      const index = entries.findIndex((entry) => this.#findSlot(entry) !== undefined);
      const entry = entries[index];
      const slot = entry === undefined ? undefined : this.#findSlot(entry);
      if (entry === undefined || slot === undefined) continue;
      entries.splice(index, 1);
      // The caller moves to the end of the round.
      this.#queued.delete(caller);
      if (entries.length > 0) this.#queued.set(caller, entries);
      this.#count -= 1;
      this.#bytes -= entry.bytes;
      this.#freeSlots.delete(slot);
      entry.start(slot);
      return;
    }
  }
}
