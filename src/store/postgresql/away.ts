// Whether something failed because the database is away for a time: it is started anew, or cannot be reached.

/** What the driver, Prisma and PostgreSQL say then: none of them has one code for it. */
const signs = [
  /Can't reach database server/,
  /Server has closed the connection/,
  /Connection terminated/,
  /is not queryable/,
  /terminating connection/,
  /the database system is (?:starting up|shutting down|in recovery mode|not yet accepting connections)/,
  /\b(?:ECONNREFUSED|ECONNRESET|EHOSTUNREACH|ENOTFOUND|EPIPE|ETIMEDOUT|57P01|57P02|57P03)\b/,
  /Transaction (?:API error|not found|already closed)/,
  /Unable to start a transaction/,
  // Others had the turn to write for too long, as whoever was lost in the middle of it.
  /canceling statement due to statement timeout/,
];

/** Errors of which one is the cause of the other. */
const depth = 5;

export function isDatabaseAway(error: unknown, left = depth): boolean {
  if (!(error instanceof Error) || left === 0) return false;
  const code = 'code' in error ? String(error.code) : '';
  return signs.some((sign) => sign.test(error.message) || sign.test(code)) || isDatabaseAway(error.cause, left - 1);
}
