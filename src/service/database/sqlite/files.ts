// Checks that the files of an open database are still the files that were opened, and intact. SQLite itself does not notice: it continues to use
// deleted files, and what it writes to them is lost when the process ends.

import { type BigIntStats, closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { databaseHeaderSize, databaseState, type LogState } from './log-marker.ts';
import { frameHeaderSize, isLogMagic, logHeaderSize } from './write-ahead-log.ts';

const magic = Buffer.from('SQLite format 3\0', 'latin1');
/** Bytes read of the WAL index: two copies of its header, and the checkpoint information. */
const indexSize = 132;
/** Offsets in the WAL index: number of frames, salts, frames copied into the database, frames that a checkpoint is copying. */
const indexOffsets = { frames: 16, salts: 32, copied: 96, toBeCopied: 128 } as const;

type Name = 'database' | 'log' | 'index';
/** A file that was opened. Its descriptor stays open: closing it would release the locks that SQLite holds on the file (POSIX). */
type OpenFile = { readonly path: string; readonly descriptor: number; readonly identity: string };
/** The header of the database file, and how far the log was copied into it. Only SQLite changes them, in a checkpoint. */
type Content = { readonly header: string; readonly copied: string };

export class DatabaseFiles {
  readonly #files: Readonly<Record<Name, OpenFile>>;
  #content: Content | null;
  /** The last read of the WAL index and of the database header. */
  #lastRead: { readonly index: Buffer; readonly header: Buffer } = {
    index: Buffer.alloc(indexSize),
    header: Buffer.alloc(databaseHeaderSize),
  };
  #logState: LogState | null = null;
  #isClosed = false;

  /** @param file A database in WAL mode that this process has read from, and keeps open until after `close`. */
  constructor(file: string) {
    this.#files = { database: openFile(file), log: openFile(`${file}-wal`), index: openFile(`${file}-shm`) };
    this.#content = this.#readContent();
  }

  /** Returns a sentence that describes what happened to the files, or null if they are intact. */
  fault(): string | null {
    if (this.#isClosed) return null;
    try {
      // Another process may write the index during the read: only a fault found twice counts.
      return this.#check() && this.#check();
    } catch (error) {
      return `the database files cannot be checked: ${error instanceof Error ? error.message : String(error)}`;
    }
  }

  /** Returns the committed state at the last call of `fault`; null if the log was being copied into the database. */
  logState(): LogState | null {
    const { index, header } = this.#lastRead;
    const copied = readNative(index, indexOffsets.copied);
    if (copied !== readNative(index, indexOffsets.toBeCopied)) return null;
    const log = { salts: saltsIn(index).toString('hex'), frames: readNative(index, indexOffsets.frames), copied };
    const last = this.#logState;
    // SQLite writes the database file only in a checkpoint.
    const isSameDatabase = last !== null && last.log.salts === log.salts && last.log.copied === copied;
    this.#logState = {
      database: isSameDatabase ? last.database : databaseState(fstatSync(this.#files.database.descriptor, { bigint: true }), header),
      log,
    };
    return this.#logState;
  }

  /** Closes the descriptors. Call it after SQLite has closed the database. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const { descriptor } of Object.values(this.#files)) closeSync(descriptor);
  }

  #check(): string | null {
    return this.#identityFault() ?? this.#logFault() ?? this.#contentFault();
  }

  #identityFault(): string | null {
    for (const { path, identity } of Object.values(this.#files)) {
      const stats = statSync(path, { bigint: true, throwIfNoEntry: false });
      if (stats === undefined) return `the file ${path} was deleted or moved while the service was running`;
      if (identityOf(stats) !== identity) return `the file ${path} was replaced while the service was running`;
    }
    return null;
  }

  /** Compares the log with the number of frames and the salts in the index. */
  #logFault(): string | null {
    const { log, index } = this.#files;
    const state = readStart(index, indexSize);
    const frames = readNative(state, indexOffsets.frames);
    if (frames === 0) return null;
    const header = readStart(log, logHeaderSize);
    if (sizeOf(log) < logHeaderSize + frames * (frameHeaderSize + header.readUInt32BE(8)))
      return `the file ${log.path} was truncated while the service was running`;
    if (isLogMagic(header.readUInt32BE(0)) && header.subarray(16, 24).equals(saltsIn(state))) return null;
    return `the file ${log.path} was overwritten while the service was running`;
  }

  #contentFault(): string | null {
    const { path } = this.#files.database;
    const content = this.#readContent();
    // Another process is running a checkpoint; this process would not be here during its own.
    if (content === null) return null;
    const header = Buffer.from(content.header, 'hex');
    if (sizeOf(this.#files.database) < pageSizeOf(header.readUInt16BE(16)) * header.readUInt32BE(28))
      return `the file ${path} was truncated while the service was running`;
    const isSame = content.header === this.#content?.header || content.copied !== this.#content?.copied;
    if (!isSame || !header.subarray(0, magic.length).equals(magic))
      return `the file ${path} was overwritten while the service was running, for example by a copy of another database`;
    this.#content = content;
    return null;
  }

  /** Returns null while the log is copied into the file. */
  #readContent(): Content | null {
    const index = readStart(this.#files.index, indexSize);
    const header = readStart(this.#files.database, databaseHeaderSize);
    this.#lastRead = { index, header };
    const copied = readNative(index, indexOffsets.copied);
    if (copied !== readNative(index, indexOffsets.toBeCopied)) return null;
    // The salts change whenever the log is restarted.
    return { header: header.toString('hex'), copied: `${saltsIn(index).toString('hex')}:${copied}` };
  }
}

function openFile(path: string): OpenFile {
  const descriptor = openSync(path, 'r');
  return { path, descriptor, identity: identityOf(fstatSync(descriptor, { bigint: true })) };
}

const saltsIn = (index: Buffer) => index.subarray(indexOffsets.salts, indexOffsets.salts + 8);

const sizeOf = ({ descriptor }: OpenFile) => fstatSync(descriptor).size;

const identityOf = ({ dev, ino }: BigIntStats) => `${dev}:${ino}`;

/** Returns the first bytes of a file, padded with zeros. */
function readStart({ descriptor }: OpenFile, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  readSync(descriptor, bytes, 0, length, 0);
  return bytes;
}

const isLittleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** Reads a number of the WAL index, which is in native byte order. */
const readNative = (bytes: Buffer, offset: number) => (isLittleEndian ? bytes.readUInt32LE(offset) : bytes.readUInt32BE(offset));

/** Decodes the page size of the header; 65,536 is stored as 1. */
const pageSizeOf = (stored: number) => (stored === 1 ? 65_536 : stored);
