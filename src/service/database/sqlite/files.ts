// The files of a database that is open: whether they are still those that were opened, and whole. SQLite itself does not notice: it goes on
// with files that have been deleted, and what it writes then is lost when the process ends.

import { type BigIntStats, closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { databaseHeaderSize, databaseState, type LogState } from './log-marker.ts';
import { frameHeaderSize, isLogMagic, logHeaderSize } from './write-ahead-log.ts';

const magic = Buffer.from('SQLite format 3\0', 'latin1');
/** Bytes read of the index of the log: its header twice, and how far the log was copied into the database. */
const indexSize = 132;
/** Where the index has the number of frames, the salts of the log, how many frames were copied, and how many were to be. */
const indexOffsets = { frames: 16, salts: 32, copied: 96, toBeCopied: 128 } as const;

type Name = 'database' | 'log' | 'index';
/** A file as it was opened. Its descriptor stays open: closing one would drop the locks that SQLite has on the file (POSIX). */
type OpenFile = { readonly path: string; readonly descriptor: number; readonly identity: string };
/** What of the database file only SQLite changes, and only as it copies the log into the file: the header, and how far the log was copied. */
type Content = { readonly header: string; readonly copied: string };

export class DatabaseFiles {
  readonly #files: Readonly<Record<Name, OpenFile>>;
  #content: Content | null;
  /** What was last read of the index of the log and, after that, of the database. */
  #lastRead: { readonly index: Buffer; readonly header: Buffer } = {
    index: Buffer.alloc(indexSize),
    header: Buffer.alloc(databaseHeaderSize),
  };
  #logState: LogState | null = null;
  #isClosed = false;

  /** @param file A database in WAL mode, that this process has open until after `close`, and has read from. */
  constructor(file: string) {
    this.#files = { database: openFile(file), log: openFile(`${file}-wal`), index: openFile(`${file}-shm`) };
    this.#content = this.#readContent();
  }

  /** What happened to the files, in words; null where they are whole. */
  fault(): string | null {
    if (this.#isClosed) return null;
    try {
      // Another process may write the index while it is read: what is only half there is whole the next time.
      return this.#look() && this.#look();
    } catch (error) {
      return `the files of the database cannot be looked at: ${error instanceof Error ? error.message : String(error)}`;
    }
  }

  /** How much was committed, and where, when `fault` last looked; null while the log was copied into the database. */
  logState(): LogState | null {
    const { index, header } = this.#lastRead;
    const copied = readNative(index, indexOffsets.copied);
    if (copied !== readNative(index, indexOffsets.toBeCopied)) return null;
    const log = { salts: saltsIn(index).toString('hex'), frames: readNative(index, indexOffsets.frames), copied };
    const last = this.#logState;
    // SQLite writes the database only as it copies the log.
    const isSameDatabase = last !== null && last.log.salts === log.salts && last.log.copied === copied;
    this.#logState = {
      database: isSameDatabase ? last.database : databaseState(fstatSync(this.#files.database.descriptor, { bigint: true }), header),
      log,
    };
    return this.#logState;
  }

  /** To be called when SQLite has closed the database. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const { descriptor } of Object.values(this.#files)) closeSync(descriptor);
  }

  #look(): string | null {
    return this.#identityFault() ?? this.#logFault() ?? this.#contentFault();
  }

  #identityFault(): string | null {
    for (const { path, identity } of Object.values(this.#files)) {
      const stats = statSync(path, { bigint: true, throwIfNoEntry: false });
      if (stats === undefined) return `the file ${path} was deleted or moved while the service ran`;
      if (identityOf(stats) !== identity) return `the file ${path} was replaced by another while the service ran`;
    }
    return null;
  }

  /** The index says how many frames the log has, and which log it is of. */
  #logFault(): string | null {
    const { log, index } = this.#files;
    const state = read(index, indexSize);
    const frames = readNative(state, indexOffsets.frames);
    if (frames === 0) return null;
    const header = read(log, logHeaderSize);
    if (sizeOf(log) < logHeaderSize + frames * (frameHeaderSize + header.readUInt32BE(8)))
      return `the file ${log.path} was truncated while the service ran`;
    if (isLogMagic(header.readUInt32BE(0)) && header.subarray(16, 24).equals(saltsIn(state))) return null;
    return `the file ${log.path} was overwritten while the service ran`;
  }

  #contentFault(): string | null {
    const { path } = this.#files.database;
    const content = this.#readContent();
    // It is just being copied, by another process: this one does nothing else meanwhile.
    if (content === null) return null;
    const header = Buffer.from(content.header, 'hex');
    if (sizeOf(this.#files.database) < pageSizeOf(header.readUInt16BE(16)) * header.readUInt32BE(28))
      return `the file ${path} was truncated while the service ran`;
    const isSame = content.header === this.#content?.header || content.copied !== this.#content?.copied;
    if (!isSame || !header.subarray(0, magic.length).equals(magic))
      return `the file ${path} was overwritten while the service ran, as by a copy of another database`;
    this.#content = content;
    return null;
  }

  /** Null while the log is copied into the file. */
  #readContent(): Content | null {
    const index = read(this.#files.index, indexSize);
    const header = read(this.#files.database, databaseHeaderSize);
    this.#lastRead = { index, header };
    const copied = readNative(index, indexOffsets.copied);
    if (copied !== readNative(index, indexOffsets.toBeCopied)) return null;
    // The salts are new with each run of the log.
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

/** The first bytes of a file; zeros where it has fewer. */
function read({ descriptor }: OpenFile, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  readSync(descriptor, bytes, 0, length, 0);
  return bytes;
}

const isLittleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** A number of the index, which is in the order of bytes of this machine. */
const readNative = (bytes: Buffer, offset: number) => (isLittleEndian ? bytes.readUInt32LE(offset) : bytes.readUInt32BE(offset));

/** Of 65,536 the file has a 1. */
const pageSizeOf = (stored: number) => (stored === 1 ? 65_536 : stored);
