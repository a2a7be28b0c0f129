// Classifies errors of an unavailable database: locked, full, read-only, unreachable or lost. The origin of an error counts as well as its code: ECONNRESET,
// for example, also comes from clients that abort requests.

/** Why the database is unavailable. */
export type Unavailability = {
  /** A sentence for clients and operators. */
  readonly detail: string;
  /** Seconds after which the request can be retried. */
  readonly retryAfterSeconds: number;
  /** Whether the database is expected to recover without an operator: a lock, a restart, a lost connection. */
  readonly isTransient: boolean;
  /** Whether an operator must restore the database; retries cannot succeed before. */
  readonly isLost: boolean;
};

/** The store itself detected that the database is unavailable. */
export class DatabaseUnavailable extends Error {
  override readonly name = 'DatabaseUnavailable';
  readonly retryAfterSeconds: number;
  readonly isTransient: boolean;
  readonly isLost: boolean;

  constructor({ detail, retryAfterSeconds, isTransient, isLost }: Unavailability, options?: ErrorOptions) {
    super(detail, options);
    this.retryAfterSeconds = retryAfterSeconds;
    this.isTransient = isTransient;
    this.isLost = isLost;
  }
}

/** The service cannot use PostgreSQL through this connection pooler; the message says why and what to do. */
export class PoolerError extends Error {
  override readonly name = 'PoolerError';
}

/** `Retry-After` in seconds, for failures that end by themselves and for failures that an operator must repair. */
const retryAfter = { transient: 1, persistent: 5 } as const;

const transient = (detail: string): Unavailability => ({
  detail,
  retryAfterSeconds: retryAfter.transient,
  isTransient: true,
  isLost: false,
});
const persistent = (detail: string): Unavailability => ({
  detail,
  retryAfterSeconds: retryAfter.persistent,
  isTransient: false,
  isLost: false,
});
const lost = (detail: string): Unavailability => ({ ...persistent(detail), isLost: true });

const locked = transient('timeout while waiting for a lock of the database');
const full = persistent('the disk of the database is full: free some space');
export const readOnly = persistent('the database is read-only: check for a failover, a read-only mount or a read-only setting');
const unreachable = transient('the database does not respond');
const exhausted = transient('the database has no free connection: raise max_connections, or run fewer replicas');
const denied = persistent('the database denies access: check the user, the password and the privileges of the service');
const damaged = lost('the database is damaged: stop the service and restore the database from a backup');
const diskFailed = persistent('the disk of the database reports errors: see the log of the operating system');
const outOfResources = transient('the database is out of memory or another resource');

/** SQLite result codes (https://www.sqlite.org/rescode.html), including their extended codes; the longest match wins. */
const sqliteCodes: ReadonlyMap<string, Unavailability> = new Map([
  ['SQLITE_BUSY', locked],
  ['SQLITE_LOCKED', locked],
  ['SQLITE_PROTOCOL', locked],
  ['SQLITE_NOMEM', outOfResources],
  ['SQLITE_INTERRUPT', unreachable],
  ['SQLITE_READONLY', readOnly],
  ['SQLITE_READONLY_DBMOVED', lost('the database file was moved or deleted while the service was running')],
  ['SQLITE_PERM', denied],
  ['SQLITE_AUTH', denied],
  ['SQLITE_IOERR', diskFailed],
  ['SQLITE_IOERR_NOMEM', outOfResources],
  ['SQLITE_FULL', full],
  ['SQLITE_NOLFS', full],
  ['SQLITE_CANTOPEN', persistent('the database file cannot be opened: check that it exists and that the service can read and write it')],
  ['SQLITE_CORRUPT', damaged],
  ['SQLITE_NOTADB', damaged],
]);

/** PostgreSQL SQLSTATE codes (appendix A of the manual) or their classes; the longest match wins. */
const sqlStates: ReadonlyMap<string, Unavailability> = new Map([
  ['08', unreachable],
  ['25006', readOnly],
  ['28', denied],
  // Serialization failure or deadlock.
  ['40', locked],
  ['3D000', lost('the database no longer exists: restore it from a backup')],
  ['42501', denied],
  ['53', outOfResources],
  ['53100', full],
  ['53300', exhausted],
  // The database currently accepts no connections.
  ['55000', unreachable],
  ['55006', locked],
  ['55P03', locked],
  // An operator terminated the session or the server; 57014: statement timeout, including the wait for the write lock.
  ['57', unreachable],
  ['57014', locked],
  ['58', diskFailed],
  ['XX001', damaged],
  ['XX002', damaged],
]);

/** Prisma error codes. */
const prismaCodes: ReadonlyMap<string, Unavailability> = new Map([
  ['P1001', unreachable],
  ['P1002', unreachable],
  ['P1008', locked],
  ['P1011', unreachable],
  ['P1017', unreachable],
  ['P2024', exhausted],
  ['P2028', unreachable],
  ['P2034', locked],
  ['P2037', exhausted],
]);

/** Operating system error codes. Other errors have them too, so they count only for errors of the database. */
const systemCodes: ReadonlyMap<string, Unavailability> = new Map([
  ['ECONNREFUSED', unreachable],
  ['ECONNRESET', unreachable],
  ['EHOSTUNREACH', unreachable],
  ['ENETUNREACH', unreachable],
  ['ENOTFOUND', unreachable],
  ['EAI_AGAIN', unreachable],
  ['EPIPE', unreachable],
  ['ETIMEDOUT', unreachable],
  ['ENOSPC', full],
  ['EDQUOT', full],
  ['EROFS', readOnly],
  ['EMFILE', outOfResources],
  ['ENFILE', outOfResources],
]);

/** Errors that originate from the database. */
const databaseErrors = new WeakSet<object>();

/** Marks an error as originating from the database driver or files, and returns it. */
export function markDatabaseError<Failure>(error: Failure): Failure {
  if (typeof error === 'object' && error !== null) databaseErrors.add(error);
  return error;
}

/** Runs work on the database and marks its errors as errors of the database. */
export async function withDatabaseErrors<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw markDatabaseError(error);
  }
}

/** Maximum depth at which causes of an error are searched. */
const maxDepth = 6;

/** Returns why an error means that the database is unavailable; null for any other error. */
export function findUnavailability(error: unknown): Unavailability | null {
  if (error instanceof DatabaseUnavailable) {
    const { message, retryAfterSeconds, isTransient, isLost } = error;
    return { detail: message, retryAfterSeconds, isTransient, isLost };
  }
  const causes = causesOf(error);
  const own = causes.find((cause) => cause instanceof DatabaseUnavailable);
  if (own !== undefined) return findUnavailability(own);
  const isOfDatabase = causes.some((cause) => databaseErrors.has(cause) || isOfPrisma(cause));
  // The innermost error has the most specific code.
  for (const cause of causes.toReversed()) {
    for (const code of codesOf(cause)) {
      const known = isOfDatabase || !systemCodes.has(code) ? classifyErrorCode(code) : null;
      if (known !== null) return known;
    }
  }
  return causes.some(isLostConnection) ? unreachable : null;
}

/** Returns whether the driver reported to Prisma that a connection was lost or timed out: these errors have no code, and Prisma passes them on. */
function isLostConnection(error: object): boolean {
  return 'clientVersion' in error && textOf(error, 'name') === 'Error' && codesOf(error).length === 0;
}

/** Returns why a SQLite result code, a SQLSTATE, or a code of Prisma or the operating system means that the database is unavailable; null if it does not. */
export function classifyErrorCode(code: string): Unavailability | null {
  if (code.startsWith('SQLITE_')) return longestMatch(sqliteCodes, (known) => code === known || code.startsWith(`${known}_`));
  const known = prismaCodes.get(code) ?? systemCodes.get(code);
  return known ?? (/^[0-9A-Z]{5}$/.test(code) ? longestMatch(sqlStates, (known) => code.startsWith(known)) : null);
}

function longestMatch(codes: ReadonlyMap<string, Unavailability>, matches: (known: string) => boolean): Unavailability | null {
  const [best] = [...codes].filter(([known]) => matches(known)).toSorted(([left], [right]) => right.length - left.length);
  return best?.[1] ?? null;
}

/** Returns whether Prisma or its adapter created an error or passed it on. */
function isOfPrisma(error: object): boolean {
  return 'clientVersion' in error || textOf(error, 'name') === 'DriverAdapterError';
}

/** Returns an error and its causes, outermost first: those in `cause`, in Prisma's `meta.driverAdapterError`, and in an `AggregateError`. */
function causesOf(error: unknown, depth = maxDepth): object[] {
  if (typeof error !== 'object' || error === null || depth === 0) return [];
  const inner: unknown[] = [];
  if ('cause' in error) inner.push(error.cause);
  if ('meta' in error && typeof error.meta === 'object' && error.meta !== null && 'driverAdapterError' in error.meta)
    inner.push(error.meta.driverAdapterError);
  if (error instanceof AggregateError) inner.push(...error.errors.slice(0, maxDepth));
  return [error, ...inner.flatMap((cause) => causesOf(cause, depth - 1))];
}

function codesOf(cause: object): string[] {
  return ['originalCode', 'code'].flatMap((name) => textOf(cause, name) ?? []);
}

function textOf(value: object, name: string): string | null {
  const found: unknown = Reflect.get(value, name);
  return typeof found === 'string' ? found : null;
}
