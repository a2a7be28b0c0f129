// How long a transaction may last.

import { DatabaseUnavailable } from './unavailable.ts';

/** Code has sent a statement after its transaction, or its part of one, was over: nothing of it is executed. */
export class TransactionClosed extends Error {
  override readonly name = 'TransactionClosed';

  constructor() {
    super('the transaction is already closed');
  }
}

/** Waits for the work of a transaction for so many milliseconds. @throws {DatabaseUnavailable} when they are over. */
export async function withinTime<Result>(work: Promise<Result>, milliseconds: number): Promise<Result> {
  const { promise: over, reject } = Promise.withResolvers<never>();
  const detail = `a transaction took longer than ${milliseconds / 1_000} s: the database is too slow`;
  const timer = setTimeout(
    () => reject(new DatabaseUnavailable({ detail, retryAfterSeconds: 1, isTransient: true, isLost: false })),
    milliseconds,
  );
  try {
    return await Promise.race([work, over]);
  } finally {
    clearTimeout(timer);
  }
}
