// Seeded random choices: the same seed makes the same choices, except for the timing of processes and networks.

/** The generator mulberry32, with the choices of the chaos test. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** Returns a number from 0 to below 1. */
  fraction(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** Returns a whole number from min to max, inclusive. */
  integer(min: number, max: number): number {
    return min + Math.floor(this.fraction() * (max - min + 1));
  }

  /** Returns a whole number from min to max with a log-uniform distribution. */
  logUniform(min: number, max: number): number {
    return Math.round(min * (max / min) ** this.fraction());
  }

  /** Returns true with this probability. */
  happens(probability: number): boolean {
    return this.fraction() < probability;
  }

  /** Returns an item. @throws {Error} if there are no items. */
  pick<Item>(items: readonly Item[]): Item {
    const item = items[this.integer(0, items.length - 1)];
    if (item === undefined) throw new Error('no items to pick from');
    return item;
  }

  /** Returns several different items in random order. */
  sample<Item>(items: readonly Item[], count: number): Item[] {
    const remaining = [...items];
    return Array.from({ length: Math.min(count, remaining.length) }, () =>
      remaining.splice(this.integer(0, remaining.length - 1), 1),
    ).flat();
  }

  /** Returns an independent generator, so that the choices of one part do not shift those of another. */
  fork(): Random {
    return new Random(this.integer(0, 2 ** 32 - 1));
  }
}
