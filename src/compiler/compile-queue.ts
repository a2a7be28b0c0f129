// Which compilation runs next: callers take turns, and small compilations are not blocked by large ones.

/** A compilation that waits. */
type Entry = { readonly caller: string; readonly bytes: number; readonly isSmall: boolean; readonly start: (slot: number) => void };

export type QueueLimits = {
  /** Compilations that wait, of one caller and in total. */
  readonly queuedPerCaller: number;
  readonly queued: number;
  /** Bytes of the sources of all compilations that wait. */
  readonly queuedBytes: number;
  /** A source of at most so many bytes is small. */
  readonly smallBytes: number;
};

/** Too many compilations wait. */
export class QueueFullError extends Error {
  override readonly name = 'QueueFullError';
}

/** The slot that is reserved for small compilations. */
export const reservedSlot = 0;

/**
 * Gives slots to compilations. Callers take turns; of one caller, and of the same size, the first to wait is the first to run. Large compilations
 * never run in the reserved slot, so that a small one waits for other small ones only.
 */
export class CompileQueue {
  readonly #limits: QueueLimits;
  readonly #free: Set<number>;
  /** By caller; the caller whose turn it is comes first. */
  readonly #waiting = new Map<string, Entry[]>();
  #count = 0;
  #bytes = 0;

  /** @param slots Compilations at once, at least 2. */
  constructor(slots: number, limits: QueueLimits) {
    this.#limits = limits;
    this.#free = new Set(Array.from({ length: slots }, (_, slot) => slot));
  }

  /** Compilations that wait. */
  get length(): number {
    return this.#count;
  }

  /**
   * Runs a compilation when it is its turn.
   * @param isSmall Whether it may use the reserved slot; by default by its bytes.
   * @throws {QueueFullError} when too many wait.
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
      this.#free.add(slot);
      this.#startNext();
    }
  }

  #enter(caller: string, bytes: number, isSmall: boolean): Promise<number> {
    const { promise, resolve } = Promise.withResolvers<number>();
    const entry: Entry = { caller, bytes, isSmall, start: resolve };
    const slot = this.#slotFor(entry);
    // Nothing that waits could run in a free slot: it would be running.
    if (slot !== undefined) {
      this.#free.delete(slot);
      return Promise.resolve(slot);
    }
    this.#requireRoom(caller, bytes);
    this.#waiting.set(caller, [...(this.#waiting.get(caller) ?? []), entry]);
    this.#count += 1;
    this.#bytes += bytes;
    return promise;
  }

  #requireRoom(caller: string, bytes: number): void {
    const { queuedPerCaller: waitingPerCaller, queued: waiting, queuedBytes: waitingBytes } = this.#limits;
    const own = this.#waiting.get(caller)?.length ?? 0;
    if (own >= waitingPerCaller) throw new QueueFullError(`${own} compilations of this API key are waiting (limit: ${waitingPerCaller})`);
    if (this.#count >= waiting) throw new QueueFullError(`${this.#count} compilations are waiting (limit: ${waiting})`);
    if (this.#bytes + bytes > waitingBytes)
      throw new QueueFullError(
        `the sources of waiting compilations have ${this.#bytes} bytes, and this one has ${bytes} (limit: ${waitingBytes})`,
      );
  }

  /** The free slot that a compilation may use: a small one prefers the reserved slot, so that the others stay free for large ones. */
  #slotFor({ isSmall }: Entry): number | undefined {
    if (isSmall && this.#free.has(reservedSlot)) return reservedSlot;
    return [...this.#free].find((slot) => slot !== reservedSlot);
  }

  #startNext(): void {
    for (const [caller, entries] of this.#waiting) {
      const index = entries.findIndex((entry) => this.#slotFor(entry) !== undefined);
      const entry = entries[index];
      const slot = entry === undefined ? undefined : this.#slotFor(entry);
      if (entry === undefined || slot === undefined) continue;
      entries.splice(index, 1);
      // The caller goes to the end of the turns.
      this.#waiting.delete(caller);
      if (entries.length > 0) this.#waiting.set(caller, entries);
      this.#count -= 1;
      this.#bytes -= entry.bytes;
      this.#free.delete(slot);
      entry.start(slot);
      return;
    }
  }
}
