// How long a transaction may last.

import { DatabaseUnavailable } from './unavailable.ts';

/** A statement was sent after its transaction, or its part of one, was over, as where the time of the transaction was over: nothing of it is executed. */
export class TransactionClosed extends DatabaseUnavailable {
  constructor() {
    super({ detail: 'the transaction is already closed', retryAfterSeconds: 1, isTransient: true, isLost: false });
  }
}

/** Waits for the work of a transaction for so many milliseconds. @throws {DatabaseUnavailable} when they are over. */
export async function withTimeout<Result>(work: Promise<Result>, milliseconds: number): Promise<Result> {
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
