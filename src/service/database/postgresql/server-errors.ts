// Failures of the driver that are not the server's answer to a statement: the driver gives them no code.

import { DatabaseUnavailable, markDatabaseError } from '../unavailable.ts';

/** Runs something at the server. @throws {DatabaseUnavailable} where the server was not reached, or the connection was lost. Its errors otherwise. */
export async function withServerErrors<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw hasNoCode(error) ? lost(error) : markDatabaseError(error);
  }
}

/** Whether it is an error of the driver for which neither the server nor the operating system has given a reason. */
const hasNoCode = (error: unknown) => error instanceof Error && error.name === 'Error' && !('code' in error);

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
