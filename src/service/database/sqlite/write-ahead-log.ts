// Reads the write-ahead log of a database that no process has open, to determine which committed frames SQLite will recover.

import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

/** Size of the log header and of each frame header, in bytes (https://www.sqlite.org/fileformat2.html#the_write_ahead_log). */
export const logHeaderSize = 32;
export const frameHeaderSize = 24;
/** The magic numbers of a log, by the byte order of its checksums. */
const magics = { littleEndian: 0x377f0682, bigEndian: 0x377f0683 } as const;
/** Bytes of a frame header that its checksum covers. */
const checksummedHeaderSize = 8;
/** Bytes read at once. */
const bufferSize = 4 * 1024 * 1024;

export const isLogMagic = (magic: number) => magic === magics.littleEndian || magic === magics.bigEndian;

/** The salts of a log, and the number of frames of committed transactions. */
export type CommittedLog = { readonly salts: string; readonly frames: number };

/** The two halves of the running checksum. */
type Checksum = readonly [number, number];

/**
 * Reads a log the way SQLite recovers it: frames count up to the last commit before the first missing, foreign or damaged frame.
 * @returns Null if the file is missing or has no valid header.
 */
export function readCommittedLog(file: string): CommittedLog | null {
  let descriptor: number;
  try {
    descriptor = openSync(file, 'r');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  }
  try {
    return readLog(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

function readLog(descriptor: number): CommittedLog | null {
  const header = Buffer.alloc(logHeaderSize);
  readSync(descriptor, header, 0, logHeaderSize, 0);
  const magic = header.readUInt32BE(0);
  const isLittleEndian = magic === magics.littleEndian;
  const checksum = sum(header.subarray(0, logHeaderSize - 8), [0, 0], isLittleEndian);
  if (!isLogMagic(magic) || !hasChecksum(header, logHeaderSize - 8, checksum)) return null;
  const salts = header.subarray(16, 24);
  return { salts: salts.toString('hex'), frames: countFrames(descriptor, header.readUInt32BE(8), salts, checksum, isLittleEndian) };
}

function countFrames(descriptor: number, pageSize: number, salts: Buffer, first: Checksum, isLittleEndian: boolean): number {
  const frameSize = frameHeaderSize + pageSize;
  const total = Math.floor((fstatSync(descriptor).size - logHeaderSize) / frameSize);
  const framesPerRead = Math.max(1, Math.floor(bufferSize / frameSize));
  const buffer = Buffer.alloc(framesPerRead * frameSize);
  let checksum = first;
  let committed = 0;
  for (let index = 0; index < total; index += 1) {
    if (index % framesPerRead === 0) readSync(descriptor, buffer, 0, buffer.length, logHeaderSize + index * frameSize);
    const start = (index % framesPerRead) * frameSize;
    const frame = buffer.subarray(start, start + frameSize);
    checksum = sum(frame.subarray(0, checksummedHeaderSize), checksum, isLittleEndian);
    checksum = sum(frame.subarray(frameHeaderSize), checksum, isLittleEndian);
    if (!frame.subarray(8, 16).equals(salts) || !hasChecksum(frame, 16, checksum)) break;
    // The last frame of a transaction contains the database size after the commit; every other frame contains 0.
    if (frame.readUInt32BE(4) !== 0) committed = index + 1;
  }
  return committed;
}

const hasChecksum = (bytes: Buffer, offset: number, [first, second]: Checksum) =>
  bytes.readUInt32BE(offset) === first && bytes.readUInt32BE(offset + 4) === second;

/** Continues the checksum over a multiple of 8 bytes. */
function sum(bytes: Buffer, [first, second]: Checksum, isLittleEndian: boolean): Checksum {
  const words = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let offset = 0; offset < bytes.byteLength; offset += 8) {
    first = (first + words.getUint32(offset, isLittleEndian) + second) >>> 0;
    second = (second + words.getUint32(offset + 4, isLittleEndian) + first) >>> 0;
  }
  return [first, second];
}
