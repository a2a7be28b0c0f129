// How much of the write-ahead log of a database the service has acknowledged, in a file beside them. SQLite takes a database whose log is missing or
// cut off for one in which nothing more was committed; with the marker, a start notices that transactions are lost.
//
// The marker refuses only what it can prove: it names the database file as the service last saw it. A file that was written since, as by a
// checkpoint or by a restored backup, or that was copied elsewhere, is another one, of which the marker says nothing.

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

/** Bytes of the marker: it is overwritten in place, in one sector of most disks. */
const markerSize = 512;
/** Bytes of the header of a database file (https://www.sqlite.org/fileformat2.html). */
export const databaseHeaderSize = 100;

const LogState = z.object({
  /** The database file: its inode, when it was last written or changed hands in nanoseconds since 1970, and its header. */
  database: z.object({ inode: z.string(), changed: z.string(), header: z.string() }),
  /** The log: what names it, the frames of committed transactions, and how many of them the database file has as well. */
  log: z.object({ salts: z.string(), frames: z.int().nonnegative(), copied: z.int().nonnegative() }),
});
export type LogState = z.infer<typeof LogState>;

/** The database lost transactions that were acknowledged. */
export class TransactionsLost extends Error {
  override readonly name = 'TransactionsLost';
}

/** Where the marker of a database is: beside the file itself, also where its path is a symbolic link. */
const markerFileOf = (database: string) => `${realpathSync(database)}-marker`;

export class LogMarker {
  readonly #database: string;
  readonly #file: string;
  readonly #descriptor: number;
  #recorded: LogState | null = null;

  /** @param database A file, whose lock this process has. */
  constructor(database: string) {
    this.#database = database;
    this.#file = markerFileOf(database);
    createPrivateFile(this.#file);
    this.#descriptor = openSync(this.#file, 'r+');
  }

  /**
   * Connection what is committed. A marker that cannot be written stays behind, which is safe: it claims less than there is.
   * @param state Null while the log is copied into the database.
   */
  record(state: LogState | null): void {
    if (state === null || isSameState(state, this.#recorded)) return;
    // That the log grew need not be on the disk: after a power failure, an older marker of the same log claims less.
    const isOnlyLonger =
      this.#recorded !== null &&
      isSameDatabase(state.database, this.#recorded.database) &&
      state.log.salts === this.#recorded.log.salts &&
      isExpected(state) === isExpected(this.#recorded);
    try {
      writeSync(this.#descriptor, textOf(state), 0, 'latin1');
      if (!isOnlyLonger) fdatasyncSync(this.#descriptor);
      this.#recorded = state;
    } catch {
      this.#recorded = null;
    }
  }

  /**
   * To be called when SQLite has closed the database, and has removed a log that it has copied completely. A log that is left, as another process has
   * the database open, stays recorded.
   * @param isWhole Whether the files were those that the service opened until then.
   */
  close(isWhole: boolean): void {
    closeSync(this.#descriptor);
    if (isWhole && !existsSync(`${this.#database}-wal`)) rmSync(this.#file, { force: true });
  }
}

/** Called with what happened, in words: the database is opened without the transactions that it lost. */
export type OnLostTransactions = (loss: string) => void;

/**
 * Checks that a database still has what was acknowledged when it was last open; to be called with its lock, before SQLite opens the file.
 * @param onLost Without it, a loss is an error.
 * @throws {TransactionsLost}
 */
export function checkForLostTransactions(database: string, onLost?: OnLostTransactions): void {
  const loss = lostTransactions(database);
  if (loss === null) return;
  if (onLost === undefined) throw new TransactionsLost(loss);
  const moved = acceptLoss(database);
  onLost(moved === null ? loss : `${loss}. That file was moved to ${moved}`);
}

/** Says what happened to acknowledged transactions since a database was last open; null where none are known to be lost. */
function lostTransactions(database: string): string | null {
  const marked = readMarker(database);
  if (marked === null || !isExpected(marked)) return null;
  if (!isSameDatabase(readDatabaseState(database), marked.database)) return null;
  const { salts, frames } = marked.log;
  const log = `${realpathSync(database)}-wal`;
  const found = readCommittedLog(log);
  if (found?.salts === salts && found.frames >= frames) return null;
  const what = whatHappened(log, found, salts, frames);
  return `the database ${database} lost transactions: ${what}. The service was killed or the machine failed, and the last transactions that were acknowledged were only in that file`;
}

/** @param found A log that is not the recorded one, or shorter. */
function whatHappened(log: string, found: ReturnType<typeof readCommittedLog>, salts: string, frames: number): string {
  if (found?.salts === salts) return `the file ${log} is truncated or damaged: ${found.frames} of ${frames} pages are whole`;
  if (found !== null) return `the file ${log} belongs to another database, or to another time`;
  return sizeOf(log) === 0 ? `the file ${log} is missing or empty` : `the file ${log} is damaged from its beginning`;
}

/**
 * Has a database continue without the transactions that it lost. A log of another database, which SQLite would apply, is moved away.
 * @returns Where that log was moved to; null where there is none.
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

/** The database file as the marker names it. @param header The first bytes of the file. */
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

const isSameDatabase = (one: LogState['database'], other: LogState['database']) =>
  one.inode === other.inode && one.changed === other.changed && one.header === other.header;

const isSameState = (one: LogState, other: LogState | null) =>
  other !== null &&
  isSameDatabase(one.database, other.database) &&
  one.log.salts === other.log.salts &&
  one.log.frames === other.log.frames &&
  one.log.copied === other.log.copied;

/** Whether the log has transactions that the database file does not have. */
const isExpected = ({ log }: LogState) => log.frames > log.copied;

function textOf(state: LogState): string {
  const json = JSON.stringify(state);
  return `${checksumOf(json)} ${json}`.padEnd(markerSize - 1).concat('\n');
}

/** Null where there is none, or it was only half written. */
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
