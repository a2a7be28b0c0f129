// Writes the numbers, names and value types of the binary format in the shortest encoding.

import type { ValueType } from '../../machine/images/stamp.ts';

const codes: Readonly<Record<ValueType, number>> = {
  i32: 0x7f,
  i64: 0x7e,
  f32: 0x7d,
  f64: 0x7c,
  v128: 0x7b,
  funcref: 0x70,
  externref: 0x6f,
};

const utf8 = new TextEncoder();

/** Returns the block type with one result. */
export const blockTypeOf = (type: ValueType) => codes[type] - 0x80;

export class ByteWriter {
  #bytes = new Uint8Array(256);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Returns a copy of the written bytes. */
  finish(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#length);
  }

  byte(value: number): void {
    if (this.#length === this.#bytes.length) this.#grow(1);
    this.#bytes[this.#length] = value;
    this.#length += 1;
  }

  raw(bytes: Uint8Array): void {
    this.#grow(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  /** Writes an unsigned number below 2^32. */
  unsigned(value: number): void {
    let rest = value;
    while (rest >= 0x80) {
      this.byte((rest % 0x80) | 0x80);
      rest = Math.floor(rest / 0x80);
    }
    this.byte(rest);
  }

  /** Writes a signed number of up to 33 bits. */
  signed(value: number): void {
    let rest = value;
    while (rest < -0x40 || rest >= 0x40) {
      this.byte((((rest % 0x80) + 0x80) % 0x80) | 0x80);
      rest = Math.floor(rest / 0x80);
    }
    this.byte(rest & 0x7f);
  }

  /** Writes a signed number of 64 bits. */
  signed64(value: bigint): void {
    let rest = value;
    while (rest < -0x40n || rest >= 0x40n) {
      this.byte(Number(BigInt.asUintN(7, rest)) | 0x80);
      rest >>= 7n;
    }
    this.byte(Number(rest) & 0x7f);
  }

  /** Writes a length and the bytes. */
  sized(bytes: Uint8Array): void {
    this.unsigned(bytes.length);
    this.raw(bytes);
  }

  name(text: string): void {
    this.sized(utf8.encode(text));
  }

  valueType(type: ValueType): void {
    this.byte(codes[type]);
  }

  list<Item>(items: readonly Item[], write: (item: Item) => void): void {
    this.unsigned(items.length);
    for (const item of items) write(item);
  }

  #grow(by: number): void {
    if (this.#length + by <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(2 * this.#bytes.length, this.#length + by));
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
  }
}
