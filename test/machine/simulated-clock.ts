// A simulated clock: time passes only when it is read or a timer runs, and work runs one step at a time.

import type { Clock } from '../../src/machine/clock.ts';

/** Longer than the processor's yield interval, so that each action of the processor is a step. */
const millisecondsPerRead = 5;

export class SimulatedClock implements Clock {
  #now = 0;
  #perRead: number;
  readonly #later: (() => void)[] = [];
  readonly #timers = new Set<{ readonly at: number; readonly callback: () => void }>();
  #choices: () => boolean = () => true;

  /** @param perRead Milliseconds that pass at each read; 0: only timers make time pass. */
  constructor(perRead = millisecondsPerRead) {
    this.#perRead = perRead;
  }

  /** Starts a run. `choices` decides whether a due timer runs before ready work; `perRead` is as for the constructor. */
  begin(choices: () => boolean, perRead = millisecondsPerRead): void {
    this.#choices = choices;
    this.#perRead = perRead;
  }

  now(): number {
    this.#now += this.#perRead;
    return this.#now;
  }

  after(milliseconds: number, callback: () => void): () => void {
    const timer = { at: this.#now + milliseconds, callback };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  later(callback: () => void): void {
    this.#later.push(callback);
  }

  /** Runs one timer or one callback, and everything that follows immediately. Returns false if there is none. */
  async step(): Promise<boolean> {
    const [timer] = [...this.#timers].toSorted((left, right) => left.at - right.at);
    const isDue = timer !== undefined && (this.#later.length === 0 || (timer.at <= this.#now && this.#choices()));
    if (isDue) {
      this.#timers.delete(timer);
      this.#now = Math.max(this.#now, timer.at);
      timer.callback();
    } else {
      const callback = this.#later.shift();
      if (callback === undefined) return false;
      callback();
    }
    await settle();
    return true;
  }
}

/** Waits until all promises have settled, that is, until the next turn of the event loop. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
