// The error of everything in the machine that has a limit.

/** A limit of the machine is reached; the message names it and says what to do. */
export class LimitError extends Error {
  override readonly name = 'LimitError';
}
