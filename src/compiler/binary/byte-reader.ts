// Reads the numbers, names and value types of the binary format. Errors contain the offset of the fault.

import type { ValueType } from '../../machine/images/stamp.ts';
import { MalformedModuleError, UnsupportedFeatureError } from './module.ts';

const valueTypes: ReadonlyMap<number, ValueType> = new Map([
  [0x7f, 'i32'],
  [0x7e, 'i64'],
  [0x7d, 'f32'],
  [0x7c, 'f64'],
  [0x7b, 'v128'],
  [0x70, 'funcref'],
  [0x6f, 'externref'],
]);

/** Codes of types that belong to an unsupported feature. */
const unsupportedTypes: ReadonlyMap<number, string> = new Map([
  [0x63, 'typed function references'],
  [0x64, 'typed function references'],
  [0x68, 'stack switching'],
  [0x69, 'exception handling'],
  ...[0x65, 0x66, 0x67, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x71, 0x72, 0x73, 0x74, 0x75].map((code) => [code, 'garbage collection'] as const),
]);

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** A position in bytes. Never reads beyond `end`. */
export class ByteReader {
  readonly bytes: Uint8Array;
  readonly end: number;
  offset: number;

  constructor(bytes: Uint8Array, offset = 0, end = bytes.length) {
    this.bytes = bytes;
    this.offset = offset;
    this.end = end;
  }

  get atEnd(): boolean {
    return this.offset >= this.end;
  }

  /** Returns a reader of the next bytes, and skips them. */
  subreader(length: number, what: string): ByteReader {
    const start = this.offset;
    this.skip(length, what);
    return new ByteReader(this.bytes, start, this.offset);
  }

  /** Returns a view of the next bytes, and skips them. */
  take(length: number, what: string): Uint8Array {
    const start = this.offset;
    this.skip(length, what);
    return this.bytes.subarray(start, this.offset);
  }

  skip(length: number, what: string): void {
    if (length > this.end - this.offset) {
      throw new MalformedModuleError(`${what} of ${length} bytes exceeds the remaining ${this.end - this.offset} bytes`, this.offset);
    }
    this.offset += length;
  }

  byte(what: string): number {
    const byte = this.offset < this.end ? this.bytes[this.offset] : undefined;
    if (byte === undefined) throw new MalformedModuleError(`expected ${what}, received the end of the bytes`, this.offset);
    this.offset += 1;
    return byte;
  }

  /** Reads an unsigned number below 2^32. */
  unsigned(what: string): number {
    const start = this.offset;
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.byte(what);
      if (shift === 28 && byte > 0x0f) break;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw new MalformedModuleError(`${what} is not an unsigned number below 2^32`, start);
  }

  /** Reads a signed number of 32 bits (constants) or 33 bits (block types). */
  signed(bits: 32 | 33, what: string): number {
    const start = this.offset;
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.byte(what);
      const low = byte & 0x7f;
      if (shift === 28) {
        // The unused bits of the last byte repeat the sign.
        const sign = 1 << (bits - 29);
        if (byte >= 0x80 || (low >= sign && low < 0x80 - sign)) break;
      }
      value += low * 2 ** shift;
      if (byte < 0x80) return (byte & 0x40) === 0 ? value : value - 2 ** (shift + 7);
    }
    throw new MalformedModuleError(`${what} is not a signed number of ${bits} bits`, start);
  }

  /** Reads a signed number of 64 bits. */
  signed64(what: string): bigint {
    const start = this.offset;
    let value = 0n;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = this.byte(what);
      if (shift === 63 && byte !== 0x00 && byte !== 0x7f) break;
      value |= BigInt(byte & 0x7f) << BigInt(shift);
      if (byte < 0x80) return BigInt.asIntN(Math.min(64, shift + 7), value);
    }
    throw new MalformedModuleError(`${what} is not a signed number of 64 bits`, start);
  }

  name(what: string): string {
    const bytes = this.take(this.unsigned(`length of ${what}`), what);
    try {
      return utf8.decode(bytes);
    } catch {
      throw new MalformedModuleError(`${what} is not UTF-8`, this.offset - bytes.length);
    }
  }

  valueType(what: string): ValueType {
    const code = this.byte(what);
    const type = valueTypes.get(code);
    if (type !== undefined) return type;
    const feature = unsupportedTypes.get(code);
    const shown = `type 0x${code.toString(16)}`;
    if (feature !== undefined) throw new UnsupportedFeatureError(feature, shown, this.offset - 1);
    throw new MalformedModuleError(`unknown ${shown} for ${what}`, this.offset - 1);
  }

  referenceType(what: string): ValueType {
    const type = this.valueType(what);
    if (type === 'funcref' || type === 'externref') return type;
    throw new MalformedModuleError(`${what}: expected funcref or externref, received ${type}`, this.offset - 1);
  }

  /** Reads a count and that number of items. */
  list<Item>(what: string, read: (reader: ByteReader, index: number) => Item): Item[] {
    const start = this.offset;
    const count = this.unsigned(`number of ${what}`);
    // Every item has at least one byte.
    if (count > this.end - this.offset) {
      throw new MalformedModuleError(`${count} ${what} do not fit in the remaining ${this.end - this.offset} bytes`, start);
    }
    return Array.from({ length: count }, (_, index) => read(this, index));
  }

  /** Checks that all bytes were read. @throws {MalformedModuleError} if bytes remain. */
  expectEnd(what: string): void {
    if (!this.atEnd) throw new MalformedModuleError(`${what} ends ${this.end - this.offset} bytes before its declared size`, this.offset);
  }
}
