// Bytes of WebAssembly modules: what the checker is written with, and the names of imports rewritten to those of a device's modules.

/** The concatenation of bytes and byte lists. */
export const bytes = (...parts: readonly (number | readonly number[])[]): number[] => parts.flat();

/** An unsigned LEB128 integer, from 0 to 2^32 - 1. */
export function unsigned(value: number): number[] {
  const encoded: number[] = [];
  let rest = value;
  while (rest > 127) {
    encoded.push((rest % 128) + 128);
    rest = Math.floor(rest / 128);
  }
  return [...encoded, rest];
}

/** A signed LEB128 integer of 32 bits. */
export function signed(value: number): number[] {
  const encoded: number[] = [];
  let rest = value;
  while (rest < -64 || rest > 63) {
    encoded.push((rest & 127) | 128);
    rest >>= 7;
  }
  return [...encoded, rest & 127];
}

export const vector = (items: readonly (readonly number[])[]) => bytes(unsigned(items.length), items.flat());
export const text = (value: string) => {
  const encoded = [...new TextEncoder().encode(value)];
  return bytes(unsigned(encoded.length), encoded);
};
export const section = (id: number, content: readonly number[]) => bytes(id, unsigned(content.length), content);
export const preamble = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];

const importSection = 2;

/** Returns a valid module with renamed import modules. Other sections are copied unchanged. */
export function renameImports(module: Uint8Array, rename: (name: string) => string): Uint8Array {
  const reader = new ModuleReader(module, preamble.length);
  while (!reader.isAtEnd) {
    const start = reader.offset;
    const id = reader.byte();
    const size = reader.unsigned();
    const end = reader.offset + size;
    if (id === importSection) {
      const content = section(importSection, renamedImports(reader, rename));
      return Uint8Array.from([...module.subarray(0, start), ...content, ...module.subarray(end)]);
    }
    reader.offset = end;
  }
  return module;
}

/** Returns the module names of the imports of a valid module. */
export function importedModules(module: Uint8Array): Set<string> {
  const names = new Set<string>();
  renameImports(module, (name) => {
    names.add(name);
    return name;
  });
  return names;
}

function renamedImports(reader: ModuleReader, rename: (name: string) => string): number[] {
  const imports: number[][] = [];
  const count = reader.unsigned();
  for (let index = 0; index < count; index += 1) {
    const name = reader.text();
    const rest = reader.offset;
    reader.text();
    reader.skipDescription();
    imports.push(bytes(text(rename(name)), [...reader.source.subarray(rest, reader.offset)]));
  }
  return vector(imports);
}

class ModuleReader {
  readonly source: Uint8Array;
  offset: number;

  constructor(source: Uint8Array, offset: number) {
    this.source = source;
    this.offset = offset;
  }

  get isAtEnd(): boolean {
    return this.offset >= this.source.length;
  }

  byte(): number {
    const byte = this.source[this.offset];
    if (byte === undefined) throw new Error('the module ends too early');
    this.offset += 1;
    return byte;
  }

  unsigned(): number {
    let value = 0;
    let scale = 1;
    for (;;) {
      const byte = this.byte();
      value += (byte & 127) * scale;
      if (byte < 128) return value;
      scale *= 128;
    }
  }

  text(): string {
    const length = this.unsigned();
    this.offset += length;
    return new TextDecoder().decode(this.source.subarray(this.offset - length, this.offset));
  }

  /** Skips the description of an import: a function, a table, a memory, a global or a tag. */
  skipDescription(): void {
    const kind = this.byte();
    if (kind === 0) this.unsigned();
    if (kind === 1) this.byte();
    if (kind === 1 || kind === 2) this.#skipLimits();
    if (kind === 3) this.offset += 2;
    if (kind === 4) {
      this.byte();
      this.unsigned();
    }
  }

  #skipLimits(): void {
    const flags = this.byte();
    this.unsigned();
    if ((flags & 1) !== 0) this.unsigned();
  }
}
