// Failures of the driver that are not the server's answer to a statement: the driver gives them no code.

import pg from 'pg';
import { asDatabaseError, DatabaseUnavailable } from '../unavailable.ts';

/** Runs something at the server. @throws {DatabaseUnavailable} where the server was not reached, or the connection was lost. Its errors otherwise. */
export async function atServer<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw isAnswer(error) ? asDatabaseError(error) : lost(error);
  }
}

/** Whether the server has answered, or the operating system has said why it did not. */
const isAnswer = (error: unknown) => error instanceof pg.DatabaseError || (error instanceof Error && 'code' in error);

const lost = (cause: unknown) =>
  new DatabaseUnavailable(
    {
      detail: 'the database does not answer, or has no free connection',
      retryAfterSeconds: 1,
      isTransient: true,
      isLost: false,
    },
    { cause },
  );
