// Reads the parts of a WebAssembly binary that the JavaScript API does not expose: the indices of exports, and where active segments write.

/** Identifiers of the sections that are read. */
const sectionIds = { table: 4, memory: 5, export: 7, start: 8, element: 9, data: 11 } as const;

const externalKinds = ['function', 'table', 'memory', 'global', 'tag'] as const;
type ExternalKind = (typeof externalKinds)[number];

type IndexedExport = {
  readonly name: string;
  readonly kind: ExternalKind;
  /** Index in the index space of its kind, imports included. */
  readonly index: number;
};

export type BinarySections = {
  /** Number of memories that the module declares, without imported ones. */
  readonly memories: number;
  /** Maximum total elements of the tables that the module declares; a table without a maximum counts as 2^32 - 1. */
  readonly tableElements: number;
  readonly exports: readonly IndexedExport[];
  readonly hasStart: boolean;
  /** Indices of the memories that active data segments write to at instantiation. */
  readonly writtenMemories: ReadonlySet<number>;
  /** Indices of the tables that active element segments write to at instantiation. */
  readonly writtenTables: ReadonlySet<number>;
};

/** The binary has an encoding that is not supported here; the compiler never emits it. */
export class UnsupportedBinaryError extends Error {
  override readonly name = 'UnreadableBinary';
}

/**
 * Reads the sections of a binary that the engine has validated; does not validate it again.
 * @throws {UnsupportedBinaryError} if a segment has an offset expression of an unsupported form.
 */
export function readSections(bytes: Uint8Array): BinarySections {
  const reader = new Reader(bytes, 8);
  let memories = 0;
  let tableElements = 0;
  let hasStart = false;
  const exports: IndexedExport[] = [];
  const writtenMemories = new Set<number>();
  const writtenTables = new Set<number>();
  while (!reader.isAtEnd) {
    const id = reader.byte();
    const end = reader.unsigned() + reader.position;
    if (id === sectionIds.table) for (const elements of reader.list(() => readTable(reader))) tableElements += elements;
    else if (id === sectionIds.memory) memories = reader.unsigned();
    else if (id === sectionIds.start) hasStart = true;
    else if (id === sectionIds.export) exports.push(...reader.list(() => readExport(reader)));
    else if (id === sectionIds.data) for (const memory of reader.list(() => readDataSegment(reader))) addIfActive(writtenMemories, memory);
    else if (id === sectionIds.element)
      for (const table of reader.list(() => readElementSegment(reader))) addIfActive(writtenTables, table);
    reader.position = end;
  }
  return { memories, tableElements, exports, hasStart, writtenMemories, writtenTables };
}

function addIfActive(written: Set<number>, index: number | null): void {
  if (index !== null) written.add(index);
}

/** Reads a table and returns its maximum number of elements. */
function readTable(reader: Reader): number {
  const hasInitialValue = reader.byte() === tableWithInitialValue;
  if (hasInitialValue) reader.skip(2);
  else reader.position -= 1;
  skipElementType(reader, true);
  const hasMaximum = (reader.byte() & 1) !== 0;
  const initial = reader.unsigned();
  const elements = hasMaximum ? reader.unsigned() : Math.max(initial, unboundedTable);
  if (hasInitialValue) skipConstant(reader);
  return elements;
}

const tableWithInitialValue = 0x40;
const unboundedTable = 2 ** 32 - 1;

function readExport(reader: Reader): IndexedExport {
  const name = reader.name();
  const kind = externalKinds[reader.byte()];
  if (kind === undefined) throw new UnsupportedBinaryError(`the export "${name}" has an unknown kind`);
  return { name, kind, index: reader.unsigned() };
}

/** Reads a data segment. Returns the index of the memory it writes to; null if it is passive. */
function readDataSegment(reader: Reader): number | null {
  const form = reader.unsigned();
  const memory = form === 2 ? reader.unsigned() : 0;
  const isActive = form !== 1;
  if (isActive) skipConstant(reader);
  reader.skip(reader.unsigned());
  return isActive ? memory : null;
}

/** Reads an element segment. Returns the index of the table it writes to; null if it is passive or declarative. */
function readElementSegment(reader: Reader): number | null {
  const form = reader.unsigned();
  const isActive = (form & 1) === 0;
  const hasExplicitTable = isActive && (form & 2) !== 0;
  const hasExpressions = (form & 4) !== 0;
  const table = hasExplicitTable ? reader.unsigned() : 0;
  if (isActive) skipConstant(reader);
  if (!isActive || hasExplicitTable) skipElementType(reader, hasExpressions);
  reader.list(() => (hasExpressions ? skipConstant(reader) : reader.unsigned()));
  return isActive ? table : null;
}

function skipElementType(reader: Reader, hasExpressions: boolean): void {
  const first = reader.byte();
  // A typed reference is encoded as a prefix and the type.
  if (hasExpressions && (first === 0x63 || first === 0x64)) reader.unsigned();
}

function skipConstant(reader: Reader): void {
  for (;;) {
    const opcode = reader.byte();
    switch (opcode) {
      case 0x0b: // end
        return;
      case 0x23: // global.get
      case 0x41: // i32.const
      case 0x42: // i64.const
      case 0xd0: // ref.null
      case 0xd2: // ref.func
        reader.unsigned();
        break;
      case 0x43: // f32.const
        reader.skip(4);
        break;
      case 0x44: // f64.const
        reader.skip(8);
        break;
      case 0x6a: // i32.add, i32.sub, i32.mul
      case 0x6b:
      case 0x6c:
      case 0x7c: // i64.add, i64.sub, i64.mul
      case 0x7d:
      case 0x7e:
        break;
      default:
        throw new UnsupportedBinaryError(`a constant expression has the unsupported instruction 0x${opcode.toString(16)}`);
    }
  }
}

class Reader {
  readonly #bytes: Uint8Array;
  position: number;

  constructor(bytes: Uint8Array, position: number) {
    this.#bytes = bytes;
    this.position = position;
  }

  get isAtEnd(): boolean {
    return this.position >= this.#bytes.length;
  }

  byte(): number {
    const byte = this.#bytes[this.position];
    if (byte === undefined) throw new UnsupportedBinaryError('the binary ends inside a section');
    this.position += 1;
    return byte;
  }

  /** Reads an unsigned LEB128 number of up to 32 bits. Also skips longer and signed numbers; the result is then meaningless. */
  unsigned(): number {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = this.byte();
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  }

  name(): string {
    const length = this.unsigned();
    const text = new TextDecoder().decode(this.#bytes.subarray(this.position, this.position + length));
    this.position += length;
    return text;
  }

  skip(count: number): void {
    this.position += count;
  }

  list<Item>(readItem: () => Item): Item[] {
    return Array.from({ length: this.unsigned() }, readItem);
  }
}
