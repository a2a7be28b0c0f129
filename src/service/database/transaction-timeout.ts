// Timeouts of transactions.

import { DatabaseUnavailable } from './unavailable.ts';

/** A statement was sent after its transaction or savepoint had ended, for example because of a timeout. It is not executed. */
export class TransactionClosed extends DatabaseUnavailable {
  constructor() {
    super({ detail: 'the transaction is already closed', retryAfterSeconds: 1, isTransient: true, isLost: false });
  }
}

/** Waits for the work of a transaction. @throws {DatabaseUnavailable} after `milliseconds`. */
export async function withTimeout<Result>(work: Promise<Result>, milliseconds: number): Promise<Result> {
  const { promise: timedOut, reject } = Promise.withResolvers<never>();
  const detail = `a transaction took longer than ${milliseconds / 1_000} s: the database is too slow`;
  const timer = setTimeout(
    () => reject(new DatabaseUnavailable({ detail, retryAfterSeconds: 1, isTransient: true, isLost: false })),
    milliseconds,
  );
  try {
    return await Promise.race([work, timedOut]);
  } finally {
    clearTimeout(timer);
  }
}
