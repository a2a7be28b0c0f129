// The processor's clock and timers, injectable so that tests can run the machine in simulated time.

export type Clock = {
  /** Returns the time in milliseconds since an arbitrary moment. */
  now(): number;
  /** Calls back after a delay in milliseconds. Returns a function that cancels the timer. */
  after(milliseconds: number, callback: () => void): () => void;
  /** Calls back after pending timers and I/O have been handled. */
  later(callback: () => void): void;
};

/** The clock of the process. */
export const systemClock: Clock = {
  now: () => performance.now(),
  after: (milliseconds, callback) => {
    const timer = setTimeout(callback, milliseconds);
    return () => clearTimeout(timer);
  },
  later: (callback) => {
    setImmediate(callback);
  },
};
