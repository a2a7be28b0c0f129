// The error thrown when a limit of the machine is reached.

/** A limit of the machine is reached. The message names the limit and says what to do. */
export class LimitError extends Error {
  override readonly name = 'LimitError';
}
