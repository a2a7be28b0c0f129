// Instructions of function bodies and constant expressions: opcodes, immediates, and the WebAssembly feature of each opcode.

import type { ValueType } from '../../machine/images/stamp.ts';

/**
 * Opcodes by the names of the text format (`select_typed` is `select` with types). An opcode after the prefix 0xfb or 0xfc is
 * `prefix << 8 | number`; after 0xfd (SIMD) it is `0xfd0000 | number`, and has no name here.
 */
export const opcodes = {
  unreachable: 0x00,
  nop: 0x01,
  block: 0x02,
  loop: 0x03,
  if: 0x04,
  else: 0x05,
  throw: 0x08,
  throw_ref: 0x0a,
  end: 0x0b,
  br: 0x0c,
  br_if: 0x0d,
  br_table: 0x0e,
  return: 0x0f,
  call: 0x10,
  call_indirect: 0x11,
  return_call: 0x12,
  return_call_indirect: 0x13,
  call_ref: 0x14,
  return_call_ref: 0x15,
  drop: 0x1a,
  select: 0x1b,
  select_typed: 0x1c,
  try_table: 0x1f,
  'local.get': 0x20,
  'local.set': 0x21,
  'local.tee': 0x22,
  'global.get': 0x23,
  'global.set': 0x24,
  'table.get': 0x25,
  'table.set': 0x26,
  'i32.load': 0x28,
  'i64.load': 0x29,
  'f32.load': 0x2a,
  'f64.load': 0x2b,
  'i32.load8_s': 0x2c,
  'i32.load8_u': 0x2d,
  'i32.load16_s': 0x2e,
  'i32.load16_u': 0x2f,
  'i64.load8_s': 0x30,
  'i64.load8_u': 0x31,
  'i64.load16_s': 0x32,
  'i64.load16_u': 0x33,
  'i64.load32_s': 0x34,
  'i64.load32_u': 0x35,
  'i32.store': 0x36,
  'i64.store': 0x37,
  'f32.store': 0x38,
  'f64.store': 0x39,
  'i32.store8': 0x3a,
  'i32.store16': 0x3b,
  'i64.store8': 0x3c,
  'i64.store16': 0x3d,
  'i64.store32': 0x3e,
  'memory.size': 0x3f,
  'memory.grow': 0x40,
  'i32.const': 0x41,
  'i64.const': 0x42,
  'f32.const': 0x43,
  'f64.const': 0x44,
  'i32.eqz': 0x45,
  'i32.eq': 0x46,
  'i32.ne': 0x47,
  'i32.lt_s': 0x48,
  'i32.lt_u': 0x49,
  'i32.gt_s': 0x4a,
  'i32.gt_u': 0x4b,
  'i32.le_s': 0x4c,
  'i32.le_u': 0x4d,
  'i32.ge_s': 0x4e,
  'i32.ge_u': 0x4f,
  'i64.eqz': 0x50,
  'i64.eq': 0x51,
  'i64.ne': 0x52,
  'i64.lt_s': 0x53,
  'i64.lt_u': 0x54,
  'i64.gt_s': 0x55,
  'i64.gt_u': 0x56,
  'i64.le_s': 0x57,
  'i64.le_u': 0x58,
  'i64.ge_s': 0x59,
  'i64.ge_u': 0x5a,
  'f32.eq': 0x5b,
  'f32.ne': 0x5c,
  'f32.lt': 0x5d,
  'f32.gt': 0x5e,
  'f32.le': 0x5f,
  'f32.ge': 0x60,
  'f64.eq': 0x61,
  'f64.ne': 0x62,
  'f64.lt': 0x63,
  'f64.gt': 0x64,
  'f64.le': 0x65,
  'f64.ge': 0x66,
  'i32.clz': 0x67,
  'i32.ctz': 0x68,
  'i32.popcnt': 0x69,
  'i32.add': 0x6a,
  'i32.sub': 0x6b,
  'i32.mul': 0x6c,
  'i32.div_s': 0x6d,
  'i32.div_u': 0x6e,
  'i32.rem_s': 0x6f,
  'i32.rem_u': 0x70,
  'i32.and': 0x71,
  'i32.or': 0x72,
  'i32.xor': 0x73,
  'i32.shl': 0x74,
  'i32.shr_s': 0x75,
  'i32.shr_u': 0x76,
  'i32.rotl': 0x77,
  'i32.rotr': 0x78,
  'i64.clz': 0x79,
  'i64.ctz': 0x7a,
  'i64.popcnt': 0x7b,
  'i64.add': 0x7c,
  'i64.sub': 0x7d,
  'i64.mul': 0x7e,
  'i64.div_s': 0x7f,
  'i64.div_u': 0x80,
  'i64.rem_s': 0x81,
  'i64.rem_u': 0x82,
  'i64.and': 0x83,
  'i64.or': 0x84,
  'i64.xor': 0x85,
  'i64.shl': 0x86,
  'i64.shr_s': 0x87,
  'i64.shr_u': 0x88,
  'i64.rotl': 0x89,
  'i64.rotr': 0x8a,
  'f32.abs': 0x8b,
  'f32.neg': 0x8c,
  'f32.ceil': 0x8d,
  'f32.floor': 0x8e,
  'f32.trunc': 0x8f,
  'f32.nearest': 0x90,
  'f32.sqrt': 0x91,
  'f32.add': 0x92,
  'f32.sub': 0x93,
  'f32.mul': 0x94,
  'f32.div': 0x95,
  'f32.min': 0x96,
  'f32.max': 0x97,
  'f32.copysign': 0x98,
  'f64.abs': 0x99,
  'f64.neg': 0x9a,
  'f64.ceil': 0x9b,
  'f64.floor': 0x9c,
  'f64.trunc': 0x9d,
  'f64.nearest': 0x9e,
  'f64.sqrt': 0x9f,
  'f64.add': 0xa0,
  'f64.sub': 0xa1,
  'f64.mul': 0xa2,
  'f64.div': 0xa3,
  'f64.min': 0xa4,
  'f64.max': 0xa5,
  'f64.copysign': 0xa6,
  'i32.wrap_i64': 0xa7,
  'i32.trunc_f32_s': 0xa8,
  'i32.trunc_f32_u': 0xa9,
  'i32.trunc_f64_s': 0xaa,
  'i32.trunc_f64_u': 0xab,
  'i64.extend_i32_s': 0xac,
  'i64.extend_i32_u': 0xad,
  'i64.trunc_f32_s': 0xae,
  'i64.trunc_f32_u': 0xaf,
  'i64.trunc_f64_s': 0xb0,
  'i64.trunc_f64_u': 0xb1,
  'f32.convert_i32_s': 0xb2,
  'f32.convert_i32_u': 0xb3,
  'f32.convert_i64_s': 0xb4,
  'f32.convert_i64_u': 0xb5,
  'f32.demote_f64': 0xb6,
  'f64.convert_i32_s': 0xb7,
  'f64.convert_i32_u': 0xb8,
  'f64.convert_i64_s': 0xb9,
  'f64.convert_i64_u': 0xba,
  'f64.promote_f32': 0xbb,
  'i32.reinterpret_f32': 0xbc,
  'i64.reinterpret_f64': 0xbd,
  'f32.reinterpret_i32': 0xbe,
  'f64.reinterpret_i64': 0xbf,
  'i32.extend8_s': 0xc0,
  'i32.extend16_s': 0xc1,
  'i64.extend8_s': 0xc2,
  'i64.extend16_s': 0xc3,
  'i64.extend32_s': 0xc4,
  'ref.null': 0xd0,
  'ref.is_null': 0xd1,
  'ref.func': 0xd2,
  'ref.cast': 0xfb16,
  'i32.trunc_sat_f32_s': 0xfc00,
  'i32.trunc_sat_f32_u': 0xfc01,
  'i32.trunc_sat_f64_s': 0xfc02,
  'i32.trunc_sat_f64_u': 0xfc03,
  'i64.trunc_sat_f32_s': 0xfc04,
  'i64.trunc_sat_f32_u': 0xfc05,
  'i64.trunc_sat_f64_s': 0xfc06,
  'i64.trunc_sat_f64_u': 0xfc07,
  'memory.init': 0xfc08,
  'data.drop': 0xfc09,
  'memory.copy': 0xfc0a,
  'memory.fill': 0xfc0b,
  'table.init': 0xfc0c,
  'elem.drop': 0xfc0d,
  'table.copy': 0xfc0e,
  'table.grow': 0xfc0f,
  'table.size': 0xfc10,
  'table.fill': 0xfc11,
} as const;

/** Base of the SIMD opcodes, to which the number after the prefix is added. */
export const simdOpcodes = 0xfd0000;

/** An exception handler of `try_table`. */
export type Catch = {
  readonly kind: 'tag' | 'tag-and-reference' | 'all' | 'all-and-reference';
  /** Tag index; 0 for `all` and `all-and-reference`. */
  readonly tag: number;
  readonly label: number;
};

/** A block's type: `emptyBlock`, the negative code of one value type, or an index into the module's types. */
export type BlockType = number;
export const emptyBlock: BlockType = -0x40;

/** A hint for the engine whether the condition of an `if` or `br_if` usually holds. */
type Hint = { readonly likely?: boolean };

/**
 * One instruction. Bodies are flat lists: `block`, `loop`, `if` and `try_table` open a block that the matching `end` closes. Labels count open
 * blocks, starting with 0 for the innermost. Instructions are immutable and may be shared.
 */
export type Instruction = { readonly op: number } & (
  | { readonly kind: 'plain' }
  /** `block`, `loop`, `if`. */
  | ({ readonly kind: 'block'; readonly type: BlockType } & Hint)
  | { readonly kind: 'try-table'; readonly type: BlockType; readonly catches: readonly Catch[] }
  /** `br`, `br_if`. */
  | ({ readonly kind: 'branch'; readonly label: number } & Hint)
  /** `br_table`; the last label is the default. */
  | { readonly kind: 'branch-table'; readonly labels: readonly number[] }
  /** One index: of a function (`call`, `ref.func`), a local, a global, a table, a memory, a tag (`throw`), a type (`call_ref`), a data or element segment. */
  | { readonly kind: IndexKind; readonly index: number }
  /** `call_indirect`. */
  | { readonly kind: 'call-indirect'; readonly type: number; readonly table: number }
  /** Loads and stores; `align` is the exponent of 2, `offset` is below 2^32. */
  | { readonly kind: 'access'; readonly align: number; readonly offset: number; readonly memory: number }
  | { readonly kind: 'lane-access'; readonly align: number; readonly offset: number; readonly memory: number; readonly lane: number }
  /** `i8x16.extract_lane_s` and similar instructions. */
  | { readonly kind: 'lane'; readonly lane: number }
  /** `i32.const`, as a signed number. */
  | { readonly kind: 'i32'; readonly value: number }
  /** `i64.const`, as a signed number. */
  | { readonly kind: 'i64'; readonly value: bigint }
  /** `f32.const`, `f64.const`, `v128.const` and `i8x16.shuffle`: the bytes of the binary format, which preserve NaN payloads. */
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
  /** `select` with types. */
  | { readonly kind: 'select'; readonly types: readonly ValueType[] }
  /** `ref.null`, `ref.cast`: the negative code of an abstract heap type, or an index into the module's types. */
  | { readonly kind: 'heap-type'; readonly heapType: number }
  /** `memory.copy` (memories), `table.copy` (tables). */
  | { readonly kind: 'memory-copy' | 'table-copy'; readonly destination: number; readonly source: number }
  /** `memory.init`: data segment and memory. */
  | { readonly kind: 'memory-init'; readonly segment: number; readonly memory: number }
  /** `table.init`: element segment and table. */
  | { readonly kind: 'table-init'; readonly segment: number; readonly table: number }
);

type IndexKind = 'function' | 'local' | 'global' | 'table' | 'memory' | 'tag' | 'type' | 'data' | 'element';

/** The kind of immediates that follow an opcode. */
type Immediates = Instruction['kind'];

/** Features of WebAssembly, by the names of their proposals. */
export type Feature =
  | 'WebAssembly 1.0'
  | 'sign extension'
  | 'saturating float-to-int conversion'
  | 'bulk memory'
  | 'reference types'
  | 'multi-value'
  | 'SIMD'
  | 'extended constant expressions'
  | 'mutable globals'
  | 'exception handling'
  | 'tail calls'
  | 'typed function references'
  | 'garbage collection'
  | 'threads'
  | 'relaxed SIMD'
  | 'half-precision floats'
  | 'wide arithmetic'
  | 'stack switching'
  | 'string references'
  | 'multiple memories'
  | '64-bit memory'
  | 'custom page sizes'
  | 'memory control';

/**
 * Features that a user's module may use. Not supported: exceptions (a handler would catch an injected error), threads, tail calls, 64-bit memory and
 * multiple memories.
 */
export const supportedFeatures: ReadonlySet<Feature> = new Set<Feature>([
  'WebAssembly 1.0',
  'sign extension',
  'saturating float-to-int conversion',
  'bulk memory',
  'reference types',
  'multi-value',
  'SIMD',
  'extended constant expressions',
  'mutable globals',
]);

/** Features that an image may use: stubs also catch injected errors and access the kernel's memory besides the module's own. */
export const imageFeatures: ReadonlySet<Feature> = new Set<Feature>([...supportedFeatures, 'exception handling', 'multiple memories']);

/** Describes an opcode. `immediates` is null for recognized instructions that are never decoded. */
export type OpcodeDefinition = { readonly immediates: Immediates | null; readonly feature: Feature };

/** Opcodes from `first` to `last` with the same immediates. */
type Range = readonly [first: number, last: number, immediates: Immediates | null, feature?: Feature];

const simd = (first: number, last: number, immediates: Immediates | null = 'plain', feature: Feature = 'SIMD'): Range => [
  simdOpcodes | first,
  simdOpcodes | last,
  immediates,
  feature,
];

/** All known opcodes; a later row takes precedence. */
const ranges: readonly Range[] = [
  [0x00, 0x01, 'plain'],
  [0x02, 0x04, 'block'],
  [0x05, 0x05, 'plain'],
  [0x06, 0x07, null, 'exception handling'],
  [0x08, 0x08, 'tag', 'exception handling'],
  [0x09, 0x09, null, 'exception handling'],
  [0x0a, 0x0a, 'plain', 'exception handling'],
  [0x0b, 0x0b, 'plain'],
  [0x0c, 0x0d, 'branch'],
  [0x0e, 0x0e, 'branch-table'],
  [0x0f, 0x0f, 'plain'],
  [0x10, 0x10, 'function'],
  [0x11, 0x11, 'call-indirect'],
  [0x12, 0x12, 'function', 'tail calls'],
  [0x13, 0x13, 'call-indirect', 'tail calls'],
  [0x14, 0x14, 'type', 'typed function references'],
  [0x15, 0x15, 'type', 'tail calls'],
  [0x18, 0x19, null, 'exception handling'],
  [0x1a, 0x1b, 'plain'],
  [0x1c, 0x1c, 'select', 'reference types'],
  [0x1f, 0x1f, 'try-table', 'exception handling'],
  [0x20, 0x22, 'local'],
  [0x23, 0x24, 'global'],
  [0x25, 0x26, 'table', 'reference types'],
  [0x28, 0x3e, 'access'],
  [0x3f, 0x40, 'memory'],
  [0x41, 0x41, 'i32'],
  [0x42, 0x42, 'i64'],
  [0x43, 0x44, 'bytes'],
  [0x45, 0xbf, 'plain'],
  [0xc0, 0xc4, 'plain', 'sign extension'],
  [0xd0, 0xd0, 'heap-type', 'reference types'],
  [0xd1, 0xd1, 'plain', 'reference types'],
  [0xd2, 0xd2, 'function', 'reference types'],
  [0xd3, 0xd3, null, 'garbage collection'],
  [0xd4, 0xd6, null, 'typed function references'],
  [0xe0, 0xe6, null, 'stack switching'],
  [0xfb00, 0xfb1e, null, 'garbage collection'],
  [0xfb16, 0xfb16, 'heap-type', 'garbage collection'],
  [0xfb20, 0xfb7f, null, 'garbage collection'],
  [0xfb80, 0xfbff, null, 'string references'],
  [0xfc00, 0xfc07, 'plain', 'saturating float-to-int conversion'],
  [0xfc08, 0xfc08, 'memory-init', 'bulk memory'],
  [0xfc09, 0xfc09, 'data', 'bulk memory'],
  [0xfc0a, 0xfc0a, 'memory-copy', 'bulk memory'],
  [0xfc0b, 0xfc0b, 'memory', 'bulk memory'],
  [0xfc0c, 0xfc0c, 'table-init', 'bulk memory'],
  [0xfc0d, 0xfc0d, 'element', 'bulk memory'],
  [0xfc0e, 0xfc0e, 'table-copy', 'bulk memory'],
  [0xfc0f, 0xfc11, 'table', 'reference types'],
  [0xfc12, 0xfc12, null, 'memory control'],
  [0xfc13, 0xfc16, null, 'wide arithmetic'],
  [0xfe00, 0xfeff, null, 'threads'],
  simd(0x00, 0x0b, 'access'),
  simd(0x0c, 0x0d, 'bytes'),
  simd(0x0e, 0x14),
  simd(0x15, 0x22, 'lane'),
  simd(0x23, 0x53),
  simd(0x54, 0x5b, 'lane-access'),
  simd(0x5c, 0x5d, 'access'),
  simd(0x5e, 0xff),
  simd(0x100, 0x11f, null, 'relaxed SIMD'),
  simd(0x120, 0x15f, null, 'half-precision floats'),
];

/** Unassigned numbers after the SIMD prefix. */
const simdGaps = [0x9a, 0xa2, 0xa5, 0xa6, 0xaf, 0xb0, 0xb2, 0xb3, 0xb4, 0xbb, 0xc2, 0xc5, 0xc6, 0xcf, 0xd0, 0xd2, 0xd3, 0xd4, 0xe2, 0xee];

const definitions: ReadonlyMap<number, OpcodeDefinition> = (() => {
  const known = new Map<number, OpcodeDefinition>();
  for (const [first, last, immediates, feature = 'WebAssembly 1.0'] of ranges) {
    const definition = { immediates, feature };
    for (let op = first; op <= last; op += 1) known.set(op, definition);
  }
  for (const gap of simdGaps) known.delete(simdOpcodes | gap);
  return known;
})();

/** Returns the definition of an opcode; undefined if no proposal defines it. */
export const opcodeDefinition = (op: number): OpcodeDefinition | undefined => definitions.get(op);

type OpcodeName = keyof typeof opcodes;

// Constructors of the instructions that the compiler adds.
export const plain = (name: OpcodeName): Instruction => ({ kind: 'plain', op: opcodes[name] });
export const i32Const = (value: number): Instruction => ({ kind: 'i32', op: opcodes['i32.const'], value: value | 0 });
export const localGet = (index: number): Instruction => ({ kind: 'local', op: opcodes['local.get'], index });
export const localSet = (index: number): Instruction => ({ kind: 'local', op: opcodes['local.set'], index });
export const localTee = (index: number): Instruction => ({ kind: 'local', op: opcodes['local.tee'], index });
export const globalGet = (index: number): Instruction => ({ kind: 'global', op: opcodes['global.get'], index });
export const globalSet = (index: number): Instruction => ({ kind: 'global', op: opcodes['global.set'], index });
export const call = (index: number): Instruction => ({ kind: 'function', op: opcodes.call, index });
export const callIndirect = (type: number, table: number): Instruction => ({
  kind: 'call-indirect',
  op: opcodes.call_indirect,
  type,
  table,
});
export const block = (type: BlockType = emptyBlock): Instruction => ({ kind: 'block', op: opcodes.block, type });
export const loop = (type: BlockType = emptyBlock): Instruction => ({ kind: 'block', op: opcodes.loop, type });
export const ifBlock = (type: BlockType = emptyBlock, hint: Hint = {}): Instruction => ({ kind: 'block', op: opcodes.if, type, ...hint });
export const branch = (label: number): Instruction => ({ kind: 'branch', op: opcodes.br, label });
export const branchIf = (label: number, hint: Hint = {}): Instruction => ({ kind: 'branch', op: opcodes.br_if, label, ...hint });
export const end: Instruction = plain('end');

/** Creates a naturally aligned load or store. */
export function access(name: `${'i32' | 'i64' | 'f32' | 'f64'}.${'load' | 'store'}`, memory: number, offset = 0): Instruction {
  return { kind: 'access', op: opcodes[name], align: name.includes('32') ? 2 : 3, offset, memory };
}
