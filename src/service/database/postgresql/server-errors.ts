// Errors of the driver that do not come from the server: the driver gives them no code.

import { DatabaseUnavailable, markDatabaseError } from '../unavailable.ts';

/** Runs work on the server. @throws {DatabaseUnavailable} if the server cannot be reached or the connection is lost; errors of the server as they are. */
export async function withServerErrors<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw hasNoCode(error) ? connectionLost(error) : markDatabaseError(error);
  }
}

/** Returns whether it is an error of the driver, without a code of the server or the operating system. */
const hasNoCode = (error: unknown) => error instanceof Error && error.name === 'Error' && !('code' in error);

const connectionLost = (cause: unknown) =>
  new DatabaseUnavailable(
    {
      detail: 'the database does not respond, or has no free connection',
      retryAfterSeconds: 1,
      isTransient: true,
      isLost: false,
    },
    { cause },
  );
