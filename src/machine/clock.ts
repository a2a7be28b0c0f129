// Time as the processor knows it, so that tests can run the machine on a time of their own.

export type Clock = {
  /** Milliseconds since any moment. */
  now(): number;
  /** Calls back after so many milliseconds; answers how to call that off. */
  after(milliseconds: number, then: () => void): () => void;
  /** Calls back when timers and the network have had their turn. */
  later(then: () => void): void;
};

/** The time of the process. */
export const systemClock: Clock = {
  now: () => performance.now(),
  after: (milliseconds, then) => {
    const timer = setTimeout(then, milliseconds);
    return () => clearTimeout(timer);
  },
  later: (then) => {
    setImmediate(then);
  },
};
