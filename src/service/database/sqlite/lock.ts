// The lock that reserves a database file for one service: a SQLite file next to it, on which SQLite holds an operating system lock until the process ends.
// The database itself remains accessible to backups, and the lock ends with its process.

import { realpathSync, statSync } from 'node:fs';
import { hostname } from 'node:os';
import Database from 'better-sqlite3';
import { createPrivateFile } from './private-file.ts';

/** Another service uses the database. */
export class DatabaseInUse extends Error {
  override readonly name = 'DatabaseInUse';
}

/** How long to wait for the lock, in milliseconds: a previous service may be shutting down. */
const lockTimeout = 1_000;

/** The holder of a lock; the process ID is that of its machine or container. */
type Holder = { readonly process: number; readonly host: string; readonly since: string };

export class DatabaseLock {
  readonly #file: string;
  #connection: Database.Database;
  #inode: bigint;

  private constructor(file: string, connection: Database.Database) {
    this.#file = file;
    this.#connection = connection;
    this.#inode = inodeOf(file);
  }

  /** @param database An existing file. @throws {DatabaseInUse} if it is locked, or has other hard links: services that use them would not see this lock. */
  static acquire(database: string): DatabaseLock {
    const stats = statSync(database);
    if (!stats.isFile()) throw Object.assign(new Error(`${database} is not a file`), { code: 'SQLITE_CANTOPEN' });
    if (stats.nlink > 1)
      throw new DatabaseInUse(
        `the database ${database} has ${stats.nlink} hard links, expected 1: services that use different links would not see each other's lock and log. ` +
          `Remove the other links (find / -xdev -samefile ${database} lists them), or use a symbolic link or a copy`,
      );
    const file = lockFileOf(database);
    return new DatabaseLock(file, acquireLock(file, database));
  }

  /** Checks whether the lock file was deleted or replaced, so that another service could acquire the lock. Acquires it again if it is free; otherwise returns the fault. */
  fault(): string | null {
    if (statSync(this.#file, { bigint: true, throwIfNoEntry: false })?.ino === this.#inode) return null;
    try {
      const connection = acquireLock(this.#file, this.#file);
      this.#connection.close();
      this.#connection = connection;
      this.#inode = inodeOf(this.#file);
      return null;
    } catch (error) {
      return `the lock file ${this.#file} was replaced while the service was running: ${error instanceof Error ? error.message : String(error)}`;
    }
  }

  release(): void {
    this.#connection.close();
  }
}

/** Returns the path of the lock: next to the database file itself, even if its path is a symbolic link. */
const lockFileOf = (database: string) => `${realpathSync(database)}-lock`;

const inodeOf = (file: string) => statSync(file, { bigint: true }).ino;

/** Opens a write transaction on the lock file and keeps it open without writing, so that others can read the holder. @throws {DatabaseInUse} */
function acquireLock(file: string, database: string): Database.Database {
  createPrivateFile(file);
  const connection = new Database(file, { timeout: lockTimeout });
  try {
    connection.pragma('journal_mode = DELETE');
    const holder: Holder = { process: process.pid, host: hostname(), since: new Date().toISOString() };
    connection.exec('BEGIN IMMEDIATE; CREATE TABLE IF NOT EXISTS holder (process INTEGER, host TEXT, since TEXT); DELETE FROM holder');
    connection.prepare('INSERT INTO holder VALUES (?, ?, ?)').run(holder.process, holder.host, holder.since);
    connection.exec('COMMIT; BEGIN IMMEDIATE');
    return connection;
  } catch (error) {
    const holder = isBusy(error) ? readHolder(connection) : null;
    connection.close();
    if (!isBusy(error)) throw error;
    const owner = holder === null ? 'another service' : `process ${holder.process} on ${holder.host}, since ${holder.since}`;
    throw new DatabaseInUse(`the database ${database} is in use by ${owner}: stop that service first, or use another file`);
  }
}

function readHolder(connection: Database.Database): Holder | null {
  try {
    return connection.prepare<[], Holder>('SELECT process, host, since FROM holder').get() ?? null;
  } catch {
    // The holder is being written.
    return null;
  }
}

const isBusy = (error: unknown) => error instanceof Database.SqliteError && error.code.startsWith('SQLITE_BUSY');
