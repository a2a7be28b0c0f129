// The marker file next to a database records how much of its write-ahead log was acknowledged. SQLite silently opens a database whose log is missing or
// truncated, without the lost transactions; the marker lets the service detect the loss at startup.
//
// The marker reports only a provable loss: it identifies the database file as the service last saw it. It does not apply to a file that was written since, for
// example by a checkpoint or a restored backup, or that was copied.

import {
  type BigIntStats,
  closeSync,
  existsSync,
  fdatasyncSync,
  fstatSync,
  openSync,
  readFileSync,
  readSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { crc32 } from 'node:zlib';
import { z } from 'zod';
import { createPrivateFile } from './private-file.ts';
import { readCommittedLog } from './write-ahead-log.ts';

/** Size of the marker in bytes: it is overwritten in place, within one sector of most disks. */
const markerSize = 512;
/** Size of the header of a database file, in bytes (https://www.sqlite.org/fileformat2.html). */
export const databaseHeaderSize = 100;

const LogState = z.object({
  /** The database file: its inode, its ctime in nanoseconds since 1970, and its header. */
  database: z.object({ inode: z.string(), changed: z.string(), header: z.string() }),
  /** The log: its salts, the number of committed frames, and how many of them were copied into the database file. */
  log: z.object({ salts: z.string(), frames: z.int().nonnegative(), copied: z.int().nonnegative() }),
});
export type LogState = z.infer<typeof LogState>;

/** The database lost acknowledged transactions. */
export class TransactionsLost extends Error {
  override readonly name = 'TransactionsLost';
}

/** Returns the path of the marker: next to the database file itself, even if its path is a symbolic link. */
const markerFileOf = (database: string) => `${realpathSync(database)}-marker`;

export class LogMarker {
  readonly #database: string;
  readonly #file: string;
  readonly #descriptor: number;
  #recorded: LogState | null = null;

  /** @param database A database file that this process has locked. */
  constructor(database: string) {
    this.#database = database;
    this.#file = markerFileOf(database);
    createPrivateFile(this.#file);
    this.#descriptor = openSync(this.#file, 'r+');
  }

  /**
   * Records the committed state. If the marker cannot be written, it falls behind, which is safe: it claims less than was committed.
   * @param state Null while the log is copied into the database.
   */
  record(state: LogState | null): void {
    if (state === null || isSameState(state, this.#recorded)) return;
    // Growth of the log need not be synced: after a power failure, an older marker of the same log claims less.
    const isOnlyLonger =
      this.#recorded !== null &&
      isSameDatabase(state.database, this.#recorded.database) &&
      state.log.salts === this.#recorded.log.salts &&
      needsLog(state) === needsLog(this.#recorded);
    try {
      writeSync(this.#descriptor, serialize(state), 0, 'latin1');
      if (!isOnlyLonger) fdatasyncSync(this.#descriptor);
      this.#recorded = state;
    } catch {
      this.#recorded = null;
    }
  }

  /**
   * Closes the marker. Call it after SQLite has closed the database and removed its log. If the log remains, because another process has the database
   * open, so does the marker.
   * @param isIntact Whether the files were intact until then.
   */
  close(isIntact: boolean): void {
    closeSync(this.#descriptor);
    if (isIntact && !existsSync(`${this.#database}-wal`)) rmSync(this.#file, { force: true });
  }
}

/** Called with a description of the loss; the database is then opened without the lost transactions. */
export type OnLostTransactions = (loss: string) => void;

/**
 * Checks that a database has all transactions that were acknowledged when it was last open. Call it with the lock held, before SQLite opens the file.
 * @param onLost Called with a loss; without it, a loss is an error.
 * @throws {TransactionsLost}
 */
export function checkForLostTransactions(database: string, onLost?: OnLostTransactions): void {
  const loss = describeLoss(database);
  if (loss === null) return;
  if (onLost === undefined) throw new TransactionsLost(loss);
  const moved = acceptLoss(database);
  onLost(moved === null ? loss : `${loss}. The file was moved to ${moved}`);
}

/** Describes the loss of acknowledged transactions since a database was last open; returns null if none is known. */
function describeLoss(database: string): string | null {
  const marked = readMarker(database);
  if (marked === null || !needsLog(marked)) return null;
  if (!isSameDatabase(readDatabaseState(database), marked.database)) return null;
  const { salts, frames } = marked.log;
  const log = `${realpathSync(database)}-wal`;
  const found = readCommittedLog(log);
  if (found?.salts === salts && found.frames >= frames) return null;
  const fault = describeLogFault(log, found, salts, frames);
  return `the database ${database} lost transactions: ${fault}. The service was killed or the machine failed, and the last acknowledged transactions were only in that file`;
}

/** @param found A log that is not the recorded one, or is shorter. */
function describeLogFault(log: string, found: ReturnType<typeof readCommittedLog>, salts: string, frames: number): string {
  if (found?.salts === salts) return `the file ${log} is truncated or damaged: ${found.frames} of ${frames} pages are intact`;
  if (found !== null) return `the file ${log} belongs to another database or to an earlier state`;
  return sizeOf(log) === 0 ? `the file ${log} is missing or empty` : `the file ${log} is damaged at its beginning`;
}

/**
 * Accepts the loss: removes the marker, and renames a log of another database, which SQLite would otherwise apply.
 * @returns The new path of that log, or null.
 */
function acceptLoss(database: string): string | null {
  const file = realpathSync(database);
  const marked = readMarker(database);
  let moved: string | null = null;
  const found = readCommittedLog(`${file}-wal`);
  if (marked !== null && found !== null && found.salts !== marked.log.salts) {
    moved = `${file}-wal-rejected-${Date.now()}`;
    renameSync(`${file}-wal`, moved);
  }
  rmSync(markerFileOf(database), { force: true });
  return moved;
}

/** Returns the identity of the database file. @param header The first bytes of the file. */
export const databaseState = ({ ino, ctimeNs }: BigIntStats, header: Buffer): LogState['database'] => ({
  inode: String(ino),
  changed: String(ctimeNs),
  header: header.toString('hex'),
});

function readDatabaseState(database: string): LogState['database'] {
  const descriptor = openSync(database, 'r');
  try {
    const header = Buffer.alloc(databaseHeaderSize);
    readSync(descriptor, header, 0, header.length, 0);
    return databaseState(fstatSync(descriptor, { bigint: true }), header);
  } finally {
    closeSync(descriptor);
  }
}

const isSameDatabase = (left: LogState['database'], right: LogState['database']) =>
  left.inode === right.inode && left.changed === right.changed && left.header === right.header;

const isSameState = (left: LogState, right: LogState | null) =>
  right !== null &&
  isSameDatabase(left.database, right.database) &&
  left.log.salts === right.log.salts &&
  left.log.frames === right.log.frames &&
  left.log.copied === right.log.copied;

/** Returns whether the log has transactions that are not in the database file. */
const needsLog = ({ log }: LogState) => log.frames > log.copied;

function serialize(state: LogState): string {
  const json = JSON.stringify(state);
  return `${checksumOf(json)} ${json}`.padEnd(markerSize - 1).concat('\n');
}

/** Returns null if there is no marker, or it was only partly written. */
function readMarker(database: string): LogState | null {
  const file = markerFileOf(database);
  if (!existsSync(file)) return null;
  const text = readFileSync(file, 'latin1').trimEnd();
  const [checksum = ''] = text.split(' ', 1);
  const json = text.slice(checksum.length + 1);
  return checksumOf(json) === checksum ? (LogState.safeParse(JSON.parse(json)).data ?? null) : null;
}

const checksumOf = (text: string) => crc32(text).toString(16).padStart(8, '0');

const sizeOf = (file: string) => statSync(file, { throwIfNoEntry: false })?.size ?? 0;
