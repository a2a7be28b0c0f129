// Failures of the database that are no mistake of the request: it is locked, full, read-only, away or lost. Every one is recognised here, by where it
// comes from and what it says: a connection is also reset by a client that breaks off its request.

/** Why the database cannot be used, in words for clients and operators. */
export type Unavailability = {
  readonly detail: string;
  /** Seconds after which the request may be repeated. */
  readonly retryAfterSeconds: number;
  /** Whether the database is expected to come back without an operator: a lock, a restart, a lost connection. */
  readonly isTransient: boolean;
  /** Whether the service cannot use the database again before an operator has restored it: to repeat a request cannot help. */
  readonly isLost: boolean;
};

/** The store found out by itself that the database cannot be used. */
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

/** A connection pooler is between the service and PostgreSQL, over which the service cannot work; the message says why, and what to do. */
export class PoolerError extends Error {
  override readonly name = 'PoolerError';
}

/** Seconds to wait for what ends by itself, and for what an operator has to repair. */
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

const locked = transient('another process or transaction has locked the database for too long');
const full = persistent('the disk of the database is full: free space on it');
export const readOnly = persistent('the database is read-only: a failover, a remount or a setting may have made it so');
const away = transient('the database does not answer');
const exhausted = transient('the database has no connection left: raise max_connections, or run fewer services');
const refused = persistent('the database does not let the service in: check its user, its password and its privileges');
const damaged = lost('the database is damaged: stop the service and restore the database from a backup');
const faulty = persistent('the disk of the database fails: see the log of the operating system');
const lacking = transient('the database lacks memory or another resource');

/** Result codes of SQLite (https://www.sqlite.org/rescode.html), each with its extended codes; the longest match counts. */
const sqliteCodes: ReadonlyMap<string, Unavailability> = new Map([
  ['SQLITE_BUSY', locked],
  ['SQLITE_LOCKED', locked],
  ['SQLITE_PROTOCOL', locked],
  ['SQLITE_NOMEM', lacking],
  ['SQLITE_INTERRUPT', away],
  ['SQLITE_READONLY', readOnly],
  ['SQLITE_READONLY_DBMOVED', lost('the database file was moved or deleted while the service ran')],
  ['SQLITE_PERM', refused],
  ['SQLITE_AUTH', refused],
  ['SQLITE_IOERR', faulty],
  ['SQLITE_IOERR_NOMEM', lacking],
  ['SQLITE_FULL', full],
  ['SQLITE_NOLFS', full],
  ['SQLITE_CANTOPEN', persistent('the database file cannot be opened: see that it is there, and that the service may read and write it')],
  ['SQLITE_CORRUPT', damaged],
  ['SQLITE_NOTADB', damaged],
]);

/** SQLSTATE codes of PostgreSQL (appendix A of its manual), or the classes that they begin with; the longest match counts. */
const sqlStates: ReadonlyMap<string, Unavailability> = new Map([
  ['08', away],
  ['25006', readOnly],
  ['28', refused],
  // A transaction that met another one, or waited too long for it.
  ['40', locked],
  ['3D000', lost('the database does not exist any more: restore it from a backup')],
  ['42501', refused],
  ['53', lacking],
  ['53100', full],
  ['53300', exhausted],
  // The database accepts no connections for now.
  ['55000', away],
  ['55006', locked],
  ['55P03', locked],
  // An operator has ended the session or the server; 57014: the statement took too long, the wait for the write lock included.
  ['57', away],
  ['57014', locked],
  ['58', faulty],
  ['XX001', damaged],
  ['XX002', damaged],
]);

/** Codes of Prisma. */
const prismaCodes: ReadonlyMap<string, Unavailability> = new Map([
  ['P1001', away],
  ['P1002', away],
  ['P1008', locked],
  ['P1011', away],
  ['P1017', away],
  ['P2024', exhausted],
  ['P2028', away],
  ['P2034', locked],
  ['P2037', exhausted],
]);

/** Codes of the operating system, which the errors of everything else have too: they count only of the database. */
const systemCodes: ReadonlyMap<string, Unavailability> = new Map([
  ['ECONNREFUSED', away],
  ['ECONNRESET', away],
  ['EHOSTUNREACH', away],
  ['ENETUNREACH', away],
  ['ENOTFOUND', away],
  ['EAI_AGAIN', away],
  ['EPIPE', away],
  ['ETIMEDOUT', away],
  ['ENOSPC', full],
  ['EDQUOT', full],
  ['EROFS', readOnly],
  ['EMFILE', lacking],
  ['ENFILE', lacking],
]);

/** Errors that have come from the database. */
const databaseErrors = new WeakSet<object>();

/** Notes that an error comes from a driver of the database, or from its files. Returns the error. */
export function markDatabaseError<Failure>(error: Failure): Failure {
  if (typeof error === 'object' && error !== null) databaseErrors.add(error);
  return error;
}

/** Runs work at the database; an error of it is one that comes from the database. */
export async function withDatabaseErrors<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw markDatabaseError(error);
  }
}

/** How far is looked into an error for the one that caused it. */
const maxDepth = 6;

/** Why a failure is one of the database's being unavailable; null where it is another. */
export function findUnavailability(error: unknown): Unavailability | null {
  if (error instanceof DatabaseUnavailable) {
    const { message, retryAfterSeconds, isTransient, isLost } = error;
    return { detail: message, retryAfterSeconds, isTransient, isLost };
  }
  const causes = causesOf(error);
  const own = causes.find((cause) => cause instanceof DatabaseUnavailable);
  if (own !== undefined) return findUnavailability(own);
  const isOfDatabase = causes.some((cause) => databaseErrors.has(cause) || isOfPrisma(cause));
  // The innermost has the code of the database itself; those around it have more general ones.
  for (const cause of causes.toReversed()) {
    for (const code of codesOf(cause)) {
      const known = isOfDatabase || !systemCodes.has(code) ? classifyErrorCode(code) : null;
      if (known !== null) return known;
    }
  }
  return causes.some(isLostConnection) ? away : null;
}

/** Whether the driver has told Prisma that a connection was lost, or could not be had in time: it gives these errors no code, and Prisma passes them on. */
function isLostConnection(error: object): boolean {
  return 'clientVersion' in error && textOf(error, 'name') === 'Error' && codesOf(error).length === 0;
}

/** Why a result code of SQLite, a SQLSTATE or a code of Prisma or the operating system means that the database is unavailable; null where it does not. */
export function classifyErrorCode(code: string): Unavailability | null {
  if (code.startsWith('SQLITE_')) return longestMatch(sqliteCodes, (known) => code === known || code.startsWith(`${known}_`));
  const known = prismaCodes.get(code) ?? systemCodes.get(code);
  return known ?? (/^[0-9A-Z]{5}$/.test(code) ? longestMatch(sqlStates, (known) => code.startsWith(known)) : null);
}

function longestMatch(codes: ReadonlyMap<string, Unavailability>, matches: (known: string) => boolean): Unavailability | null {
  const [best] = [...codes].filter(([known]) => matches(known)).toSorted(([left], [right]) => right.length - left.length);
  return best?.[1] ?? null;
}

/** Whether Prisma or its adapter has made an error, or has passed it on. */
function isOfPrisma(error: object): boolean {
  return 'clientVersion' in error || textOf(error, 'name') === 'DriverAdapterError';
}

/** An error and what caused it, the outermost first: by `cause`, by what Prisma keeps of its driver's, and each of an aggregate. */
function causesOf(error: unknown, depth = maxDepth): object[] {
  if (typeof error !== 'object' || error === null || depth === 0) return [];
  const inner: unknown[] = [];
  if ('cause' in error) inner.push(error.cause);
  if ('meta' in error && typeof error.meta === 'object' && error.meta !== null && 'driverAdapterError' in error.meta)
    inner.push(error.meta.driverAdapterError);
  if (error instanceof AggregateError) inner.push(...error.errors.slice(0, maxDepth));
  return [error, ...inner.flatMap((one) => causesOf(one, depth - 1))];
}

function codesOf(cause: object): string[] {
  return ['originalCode', 'code'].flatMap((name) => textOf(cause, name) ?? []);
}

function textOf(value: object, name: string): string | null {
  const found: unknown = Reflect.get(value, name);
  return typeof found === 'string' ? found : null;
}
