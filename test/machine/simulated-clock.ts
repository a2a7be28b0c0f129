// A time of the test's own: it stands still unless it is looked at, and what is to happen happens one step after another.

import type { Clock } from '../../src/machine/clock.ts';

/** Longer than threads run without a step between them, so that whatever the processor does next is a step. */
const millisecondsPerLook = 5;

export class SimulatedClock implements Clock {
  #now = 0;
  #perLook: number;
  readonly #later: (() => void)[] = [];
  readonly #timers = new Set<{ readonly at: number; readonly then: () => void }>();
  #choices: () => boolean = () => true;

  /** @param perLook How long each look at the clock takes, in milliseconds; 0: only timers make time pass. */
  constructor(perLook = millisecondsPerLook) {
    this.#perLook = perLook;
  }

  /** Starts a run: `choices` says, of a timer that is due and work that is ready, which comes first; `perLook` is as for the constructor. */
  begin(choices: () => boolean, perLook = millisecondsPerLook): void {
    this.#choices = choices;
    this.#perLook = perLook;
  }

  now(): number {
    this.#now += this.#perLook;
    return this.#now;
  }

  after(milliseconds: number, then: () => void): () => void {
    const timer = { at: this.#now + milliseconds, then };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  later(then: () => void): void {
    this.#later.push(then);
  }

  /** Does one thing that is to happen, and all that follows from it at once; false: there is nothing. */
  async step(): Promise<boolean> {
    const [timer] = [...this.#timers].toSorted((left, right) => left.at - right.at);
    const isDue = timer !== undefined && (this.#later.length === 0 || (timer.at <= this.#now && this.#choices()));
    if (isDue) {
      this.#timers.delete(timer);
      this.#now = Math.max(this.#now, timer.at);
      timer.then();
    } else {
      const then = this.#later.shift();
      if (then === undefined) return false;
      then();
    }
    await settle();
    return true;
  }
}

/** All promises settle before the next turn of the event loop. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
