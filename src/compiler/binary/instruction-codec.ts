// Converts between the bytes of a function body or constant expression and a flat list of instructions. Does not recurse, so that nesting is unlimited.

import { ByteReader } from './byte-reader.ts';
import { ByteWriter } from './byte-writer.ts';
import {
  type Catch,
  type Feature,
  type Instruction,
  imageFeatures,
  opcodeDefinition,
  opcodes,
  simdOpcodes,
  supportedFeatures,
} from './instruction.ts';
import { type BranchHint, type FunctionBody, MalformedModuleError, UnsupportedFeatureError } from './module.ts';

/**
 * Decodes the instructions of a function body or a constant expression without its final `end`. Ignores branch hints.
 * @throws {MalformedModuleError} if the bytes are not instructions or a block is not closed. Offsets count from the first byte.
 * @throws {UnsupportedFeatureError} if an instruction belongs to an unsupported feature.
 */
export function decodeInstructions(bytes: Uint8Array, accepted: ReadonlySet<Feature> = supportedFeatures): Instruction[] {
  const reader = new ByteReader(bytes);
  const instructions: Instruction[] = [];
  let open = 0;
  while (!reader.atEnd) {
    const start = reader.offset;
    const instruction = readInstruction(reader, accepted);
    open += depthChange(instruction);
    if (open < 0) throw new MalformedModuleError('end without a block', start);
    instructions.push(instruction);
  }
  if (open > 0) throw new MalformedModuleError(`${open} blocks are not closed`, reader.offset);
  return instructions;
}

/**
 * Skips instructions and the `end` that closes them. Returns their bytes without that `end`.
 * @throws {MalformedModuleError} @throws {UnsupportedFeatureError}
 */
export function skipInstructions(reader: ByteReader, accepted: ReadonlySet<Feature>): Uint8Array {
  const start = reader.offset;
  for (let open = 1; open > 0; ) open += depthChange(readInstruction(reader, accepted));
  return reader.bytes.subarray(start, reader.offset - 1);
}

/** Returns by how many an instruction changes the number of open blocks. */
export function depthChange({ kind, op }: Instruction): 1 | 0 | -1 {
  if (kind === 'block' || kind === 'try-table') return 1;
  return op === opcodes.end ? -1 : 0;
}

/** Encodes instructions without adding a final `end`. Returns the bytes, and the branch hints with their offsets. */
export function encodeInstructions(instructions: readonly Instruction[]): { body: Uint8Array; hints: BranchHint[] } {
  const writer = new ByteWriter();
  const hints: BranchHint[] = [];
  for (const instruction of instructions) {
    if ((instruction.kind === 'block' || instruction.kind === 'branch') && instruction.likely !== undefined) {
      hints.push({ offset: writer.length, likely: instruction.likely });
    }
    writeInstruction(writer, instruction);
  }
  return { body: writer.finish(), hints };
}

/** Instructions without immediates, one shared object each: they make up most of a function. */
const plainInstructions = new Map<number, Instruction>();

function plainInstruction(op: number): Instruction {
  const known = plainInstructions.get(op) ?? ({ kind: 'plain', op } as const);
  plainInstructions.set(op, known);
  return known;
}

function readOpcode(reader: ByteReader): number {
  const start = reader.offset;
  const first = reader.byte('an instruction');
  if (first < 0xfb || first === 0xff) return first;
  const number = reader.unsigned(`an instruction after 0x${first.toString(16)}`);
  if (first === 0xfd && number < 0x10000) return simdOpcodes | number;
  if (first !== 0xfd && number < 0x100) return (first << 8) | number;
  throw new MalformedModuleError(`unknown instruction ${formatPrefixedOpcode(first, number)}`, start);
}

const formatPrefixedOpcode = (first: number, number: number) => `0x${first.toString(16)} 0x${number.toString(16)}`;

function formatOpcode(op: number): string {
  if (op <= 0xff) return `0x${op.toString(16)}`;
  return op >= simdOpcodes ? formatPrefixedOpcode(op >> 16, op & 0xffff) : formatPrefixedOpcode(op >> 8, op & 0xff);
}

function readInstruction(reader: ByteReader, accepted: ReadonlySet<Feature>): Instruction {
  const start = reader.offset;
  const op = readOpcode(reader);
  const definition = opcodeDefinition(op);
  if (definition === undefined) throw new MalformedModuleError(`unknown instruction ${formatOpcode(op)}`, start);
  const { immediates: kind, feature } = definition;
  if (kind === null || !accepted.has(feature)) throw new UnsupportedFeatureError(feature, `instruction ${formatOpcode(op)}`, start);
  return kind === 'plain' ? plainInstruction(op) : readImmediates(reader, op, kind, accepted);
}

function readImmediates(
  reader: ByteReader,
  op: number,
  kind: Exclude<Instruction['kind'], 'plain'>,
  accepted: ReadonlySet<Feature>,
): Instruction {
  switch (kind) {
    case 'block':
      return { kind, op, type: readBlockType(reader) };
    case 'try-table':
      return { kind, op, type: readBlockType(reader), catches: reader.list('handlers', readCatch) };
    case 'branch':
      return { kind, op, label: reader.unsigned('a label') };
    case 'branch-table':
      return { kind, op, labels: [...reader.list('labels', readLabel), readLabel(reader)] };
    case 'memory':
    case 'local':
    case 'global':
    case 'function':
    case 'table':
    case 'tag':
    case 'type':
    case 'data':
    case 'element':
      return { kind, op, index: reader.unsigned(`a ${kind} index`) };
    case 'call-indirect':
      return { kind, op, type: reader.unsigned('a type index'), table: reader.unsigned('a table index') };
    case 'access':
      return { kind, op, ...readMemoryArgument(reader, accepted) };
    case 'lane-access':
      return { kind, op, ...readMemoryArgument(reader, accepted), lane: reader.byte('a lane') };
    case 'lane':
      return { kind, op, lane: reader.byte('a lane') };
    case 'i32':
      return { kind, op, value: reader.signed(32, 'an i32 constant') };
    case 'i64':
      return { kind, op, value: reader.signed64('an i64 constant') };
    case 'bytes':
      return { kind, op, bytes: reader.take(constantBytes(op), 'a constant') };
    case 'select':
      return { kind, op, types: reader.list('types of select', () => reader.valueType('select')) };
    case 'heap-type':
      return { kind, op, heapType: readHeapType(reader, accepted) };
    case 'memory-copy':
    case 'table-copy':
      return { kind, op, destination: reader.unsigned('a destination'), source: reader.unsigned('a source') };
    case 'memory-init':
      return { kind, op, segment: reader.unsigned('a data segment'), memory: reader.unsigned('a memory index') };
    case 'table-init':
      return { kind, op, segment: reader.unsigned('an element segment'), table: reader.unsigned('a table index') };
  }
}

const readLabel = (reader: ByteReader) => reader.unsigned('a label');

/** Returns the size of a constant or of the lanes of a shuffle, in bytes. */
const constantBytes = (op: number) => (op === opcodes['f32.const'] ? 4 : op === opcodes['f64.const'] ? 8 : 16);

/** Reads a block type: empty, one value, or a type index. */
function readBlockType(reader: ByteReader): number {
  const first = reader.bytes[reader.offset];
  if (first !== undefined && first >= 0x41 && first < 0x80) return blockTypeCode(reader);
  return reader.signed(33, 'a block type');
}

function blockTypeCode(reader: ByteReader): number {
  const start = reader.offset;
  reader.valueType('a block');
  return (reader.bytes[start] ?? 0) - 0x80;
}

const abstractHeapTypes = new Set([0x70 - 0x80, 0x6f - 0x80]);

function readHeapType(reader: ByteReader, accepted: ReadonlySet<Feature>): number {
  const start = reader.offset;
  const heapType = reader.signed(33, 'a heap type');
  if (abstractHeapTypes.has(heapType) || (heapType >= 0 && accepted.has('typed function references'))) return heapType;
  if (heapType === -23) throw new UnsupportedFeatureError('exception handling', 'a reference to an exception', start);
  const feature = heapType >= 0 ? 'typed function references' : 'garbage collection';
  throw new UnsupportedFeatureError(feature, `heap type ${heapType}`, start);
}

/** Flag in the alignment of an access: a memory index follows. */
const hasMemoryIndex = 0x40;

function readMemoryArgument(reader: ByteReader, accepted: ReadonlySet<Feature>): { align: number; offset: number; memory: number } {
  const start = reader.offset;
  const flags = reader.unsigned('an alignment');
  if (flags >= 2 * hasMemoryIndex)
    throw new MalformedModuleError(`expected an alignment below 2^${2 * hasMemoryIndex}, received 2^${flags}`, start);
  const isIndexed = flags >= hasMemoryIndex;
  if (isIndexed && !accepted.has('multiple memories'))
    throw new UnsupportedFeatureError('multiple memories', 'an access with a memory index', start);
  const memory = isIndexed ? reader.unsigned('a memory index') : 0;
  return { align: flags % hasMemoryIndex, offset: reader.unsigned('an offset'), memory };
}

const catchKinds = ['tag', 'tag-and-reference', 'all', 'all-and-reference'] as const;

function readCatch(reader: ByteReader): Catch {
  const code = reader.byte('a handler');
  const kind = catchKinds[code];
  if (kind === undefined) throw new MalformedModuleError(`unknown handler 0x${code.toString(16)}`, reader.offset - 1);
  const tag = kind.startsWith('tag') ? reader.unsigned('a tag index') : 0;
  return { kind, tag, label: readLabel(reader) };
}

function writeOpcode(writer: ByteWriter, op: number): void {
  if (op <= 0xff) {
    writer.byte(op);
  } else {
    writer.byte(op >= simdOpcodes ? op >> 16 : op >> 8);
    writer.unsigned(op >= simdOpcodes ? op & 0xffff : op & 0xff);
  }
}

function writeInstruction(writer: ByteWriter, instruction: Instruction): void {
  writeOpcode(writer, instruction.op);
  switch (instruction.kind) {
    case 'plain':
      break;
    case 'block':
      writer.signed(instruction.type);
      break;
    case 'try-table':
      writer.signed(instruction.type);
      writer.list(instruction.catches, (handler) => writeCatch(writer, handler));
      break;
    case 'branch':
      writer.unsigned(instruction.label);
      break;
    case 'branch-table':
      writeLabels(writer, instruction.labels);
      break;
    case 'i32':
      writer.signed(instruction.value);
      break;
    case 'i64':
      writer.signed64(instruction.value);
      break;
    case 'bytes':
      writer.raw(instruction.bytes);
      break;
    case 'heap-type':
      writer.signed(instruction.heapType);
      break;
    case 'lane':
      writer.byte(instruction.lane);
      break;
    case 'access':
      writeMemoryArgument(writer, instruction);
      break;
    case 'lane-access':
      writeMemoryArgument(writer, instruction);
      writer.byte(instruction.lane);
      break;
    case 'select':
      writer.list(instruction.types, (type) => writer.valueType(type));
      break;
    case 'call-indirect':
      writePair(writer, instruction.type, instruction.table);
      break;
    case 'memory-copy':
    case 'table-copy':
      writePair(writer, instruction.destination, instruction.source);
      break;
    case 'memory-init':
      writePair(writer, instruction.segment, instruction.memory);
      break;
    case 'table-init':
      writePair(writer, instruction.segment, instruction.table);
      break;
    default:
      writer.unsigned(instruction.index);
      break;
  }
}

function writePair(writer: ByteWriter, first: number, second: number): void {
  writer.unsigned(first);
  writer.unsigned(second);
}

function writeLabels(writer: ByteWriter, labels: readonly number[]): void {
  writer.unsigned(labels.length - 1);
  for (const label of labels) writer.unsigned(label);
}

function writeMemoryArgument(writer: ByteWriter, { align, offset, memory }: { align: number; offset: number; memory: number }): void {
  writer.unsigned(memory === 0 ? align : align | hasMemoryIndex);
  if (memory !== 0) writer.unsigned(memory);
  writer.unsigned(offset);
}

function writeCatch(writer: ByteWriter, { kind, tag, label }: Catch): void {
  writer.byte(catchKinds.indexOf(kind));
  if (kind.startsWith('tag')) writer.unsigned(tag);
  writer.unsigned(label);
}

/**
 * Decodes the instructions of a function that the compiler created or checked, with their branch hints.
 * @throws {MalformedModuleError} if the bytes are not instructions.
 */
export function decodeBody({ body, hints = [] }: Pick<FunctionBody, 'body' | 'hints'>): Instruction[] {
  const likely = new Map(hints.map((hint) => [hint.offset, hint.likely]));
  const reader = new ByteReader(body);
  const instructions: Instruction[] = [];
  while (!reader.atEnd) {
    const hint = likely.get(reader.offset);
    const instruction = readInstruction(reader, imageFeatures);
    const isHinted = hint !== undefined && (instruction.kind === 'block' || instruction.kind === 'branch');
    instructions.push(isHinted ? { ...instruction, likely: hint } : instruction);
  }
  return instructions;
}
