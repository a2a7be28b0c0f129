// The lock of a database file, by which one service has it: a file beside it, on which SQLite holds a lock of the operating system for as long as
// the process lives. The database itself stays open to backups, and a lock of a process that has died is none.

import { realpathSync, statSync } from 'node:fs';
import { hostname } from 'node:os';
import Database from 'better-sqlite3';
import { createPrivateFile } from './private-file.ts';

/** Another service has the database. */
export class DatabaseInUse extends Error {
  override readonly name = 'DatabaseInUse';
}

/** How long a start waits for the lock, in milliseconds: the service before it may be just ending. */
const lockTimeout = 1_000;

/** Who has a database; the process id is one of that machine or container. */
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

  /** @param database A file, which is there. @throws {DatabaseInUse} also where it has other hard links, whose users this lock would not keep out. */
  static acquire(database: string): DatabaseLock {
    const stats = statSync(database);
    if (!stats.isFile()) throw Object.assign(new Error(`${database} is not a file`), { code: 'SQLITE_CANTOPEN' });
    if (stats.nlink > 1)
      throw new DatabaseInUse(
        `the database ${database} has ${stats.nlink} hard links, and may have only one: by each of them a service would have a lock and a log of its own. ` +
          `Remove the others (find / -xdev -samefile ${database} lists them), or use a symbolic link or a copy`,
      );
    const file = lockFileOf(database);
    return new DatabaseLock(file, lock(file, database));
  }

  /** Whether the lock file was deleted or replaced, so that another service could take the lock; takes it again where nobody has. */
  fault(): string | null {
    if (statSync(this.#file, { bigint: true, throwIfNoEntry: false })?.ino === this.#inode) return null;
    try {
      const connection = lock(this.#file, this.#file);
      this.#connection.close();
      this.#connection = connection;
      this.#inode = inodeOf(this.#file);
      return null;
    } catch (error) {
      return `the lock file ${this.#file} was replaced while the service ran: ${error instanceof Error ? error.message : String(error)}`;
    }
  }

  release(): void {
    this.#connection.close();
  }
}

/** Where the lock of a database is: beside the file itself, also where its path is a symbolic link. */
const lockFileOf = (database: string) => `${realpathSync(database)}-lock`;

const inodeOf = (file: string) => statSync(file, { bigint: true }).ino;

/** Holds a write transaction open, in which nothing is written: others may read who holds it. @throws {DatabaseInUse} */
function lock(file: string, database: string): Database.Database {
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
    const holder = isBusy(error) ? holderIn(connection) : null;
    connection.close();
    if (!isBusy(error)) throw error;
    const who = holder === null ? 'another service' : `the process ${holder.process} on ${holder.host}, since ${holder.since}`;
    throw new DatabaseInUse(`the database ${database} is in use by ${who}: stop that service first, or choose another file`);
  }
}

function holderIn(connection: Database.Database): Holder | null {
  try {
    return connection.prepare<[], Holder>('SELECT process, host, since FROM holder').get() ?? null;
  } catch {
    // It is just being written.
    return null;
  }
}

const isBusy = (error: unknown) => error instanceof Database.SqliteError && error.code.startsWith('SQLITE_BUSY');
