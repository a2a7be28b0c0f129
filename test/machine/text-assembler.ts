// Assembles the subset of the text format that the module generator writes; several times faster than binaryen.

import {
  block,
  branch,
  branchIf,
  end,
  type Instruction,
  ifBlock,
  loop,
  opcodeDefinition,
  opcodes,
  plain,
  simdOpcodes,
} from '../../src/compiler/binary/instruction.ts';
import { encodeInstructions } from '../../src/compiler/binary/instruction-codec.ts';
import type {
  DataSegment,
  ElementSegment,
  Export,
  ExternalKind,
  FunctionBody,
  Global,
  Import,
  Limits,
  LocalRun,
  TableType,
} from '../../src/compiler/binary/module.ts';
import { TypeTable } from '../../src/compiler/binary/type-table.ts';
import { encodeModule } from '../../src/compiler/binary/writer.ts';
import type { FunctionType, ValueType } from '../../src/machine/images/stamp.ts';

/** A word, a string, or a list in parentheses. */
type Node = string | List;
type List = readonly Node[];

/** SIMD opcodes after the prefix, by name. */
const simdNames: Readonly<Record<string, number>> = {
  'v128.load': 0x00,
  'v128.load8x8_s': 0x01,
  'v128.load16x4_u': 0x04,
  'v128.load8_splat': 0x07,
  'v128.load32_splat': 0x09,
  'v128.store': 0x0b,
  'v128.const': 0x0c,
  'i8x16.shuffle': 0x0d,
  'i8x16.swizzle': 0x0e,
  'i8x16.splat': 0x0f,
  'i16x8.splat': 0x10,
  'i32x4.splat': 0x11,
  'i64x2.splat': 0x12,
  'f32x4.splat': 0x13,
  'f64x2.splat': 0x14,
  'i8x16.extract_lane_s': 0x15,
  'i8x16.replace_lane': 0x17,
  'i16x8.extract_lane_u': 0x19,
  'i32x4.extract_lane': 0x1b,
  'i32x4.replace_lane': 0x1c,
  'i64x2.extract_lane': 0x1d,
  'i64x2.replace_lane': 0x1e,
  'f32x4.extract_lane': 0x1f,
  'f64x2.extract_lane': 0x21,
  'f64x2.replace_lane': 0x22,
  'i8x16.eq': 0x23,
  'i8x16.lt_s': 0x25,
  'i16x8.gt_u': 0x32,
  'i32x4.ne': 0x38,
  'f32x4.eq': 0x41,
  'f64x2.eq': 0x47,
  'v128.not': 0x4d,
  'v128.and': 0x4e,
  'v128.andnot': 0x4f,
  'v128.or': 0x50,
  'v128.xor': 0x51,
  'v128.bitselect': 0x52,
  'v128.any_true': 0x53,
  'v128.load32_zero': 0x5c,
  'v128.load64_zero': 0x5d,
  'i8x16.abs': 0x60,
  'i8x16.neg': 0x61,
  'i8x16.popcnt': 0x62,
  'i8x16.bitmask': 0x64,
  'i8x16.narrow_i16x8_s': 0x65,
  'i8x16.shl': 0x6b,
  'i8x16.add': 0x6e,
  'i8x16.add_sat_s': 0x6f,
  'i8x16.sub': 0x71,
  'i8x16.sub_sat_u': 0x73,
  'i8x16.min_s': 0x76,
  'i8x16.max_u': 0x79,
  'i8x16.avgr_u': 0x7b,
  'i16x8.extadd_pairwise_i8x16_u': 0x7d,
  'i32x4.extadd_pairwise_i16x8_s': 0x7e,
  'i16x8.abs': 0x80,
  'i16x8.q15mulr_sat_s': 0x82,
  'i16x8.narrow_i32x4_u': 0x86,
  'i16x8.extend_low_i8x16_s': 0x87,
  'i16x8.shr_s': 0x8c,
  'i16x8.add': 0x8e,
  'i16x8.sub_sat_s': 0x92,
  'i16x8.mul': 0x95,
  'i16x8.extmul_low_i8x16_s': 0x9c,
  'i32x4.neg': 0xa1,
  'i32x4.all_true': 0xa3,
  'i32x4.extend_high_i16x8_u': 0xaa,
  'i32x4.shr_u': 0xad,
  'i32x4.add': 0xae,
  'i32x4.mul': 0xb5,
  'i32x4.min_u': 0xb7,
  'i32x4.dot_i16x8_s': 0xba,
  'i32x4.extmul_high_i16x8_u': 0xbf,
  'i64x2.abs': 0xc0,
  'i64x2.extend_low_i32x4_u': 0xc9,
  'i64x2.shl': 0xcb,
  'i64x2.add': 0xce,
  'i64x2.mul': 0xd5,
  'i64x2.gt_s': 0xd9,
  'i64x2.extmul_low_i32x4_s': 0xdc,
  'f32x4.add': 0xe4,
  'f32x4.sub': 0xe5,
  'f32x4.mul': 0xe6,
  'f32x4.div': 0xe7,
  'f32x4.min': 0xe8,
  'f32x4.max': 0xe9,
  'f32x4.pmin': 0xea,
  'f64x2.add': 0xf0,
  'f64x2.mul': 0xf2,
  'f64x2.div': 0xf3,
  'f64x2.max': 0xf5,
  'f64x2.pmax': 0xf7,
  'i32x4.trunc_sat_f32x4_s': 0xf8,
  'i32x4.trunc_sat_f64x2_u_zero': 0xfd,
};

const opcodesByName: ReadonlyMap<string, number> = new Map([
  ...Object.entries(opcodes),
  ...Object.entries(simdNames).map(([name, number]): [string, number] => [name, simdOpcodes | number]),
]);

/**
 * Assembles a module of folded instructions.
 * @throws {Error} if the text contains something that the module generator does not write.
 */
export function assembleText(text: string): Uint8Array<ArrayBuffer> {
  return new TextModule(parse(text)).encode();
}

function parse(text: string): List {
  const open: Node[][] = [[]];
  for (const [token] of text.matchAll(/[()]|"[^"]*"|[^\s()"]+/g)) {
    if (token === '(') {
      const list: Node[] = [];
      open.at(-1)?.push(list);
      open.push(list);
    } else if (token === ')') open.pop();
    else open.at(-1)?.push(token);
  }
  return listOf(open[0]?.[0]);
}

function listOf(node: Node | undefined): List {
  if (node === undefined || typeof node === 'string') throw new Error(`expected a list, received ${node}`);
  return node;
}

function wordOf(node: Node | undefined): string {
  if (typeof node !== 'string') throw new Error(`expected a word, received ${JSON.stringify(node)}`);
  return node;
}

const valueTypes: readonly ValueType[] = ['i32', 'i64', 'f32', 'f64', 'v128', 'funcref', 'externref'];

function valueTypeOf(node: Node | undefined): ValueType {
  const type = valueTypes.find((known) => known === node);
  if (type === undefined) throw new Error(`expected a value type, received ${JSON.stringify(node)}`);
  return type;
}

const isList = (node: Node | undefined, head: string) => typeof node === 'object' && node[0] === head;

const nameOf = (node: Node | undefined) => wordOf(node).slice(1, -1);

function bytesOf(node: Node | undefined): Uint8Array {
  return Uint8Array.from(nameOf(node).match(/\\[0-9a-f]{2}/g) ?? [], (byte) => Number.parseInt(byte.slice(1), 16));
}

/** Maps names to indices. */
class NameIndex {
  readonly #indices = new Map<string, number>();
  #count = 0;

  add(name: Node | undefined): void {
    if (typeof name === 'string' && name.startsWith('$')) this.#indices.set(name, this.#count);
    this.#count += 1;
  }

  indexOf(node: Node | undefined): number {
    const word = wordOf(node);
    const index = word.startsWith('$') ? this.#indices.get(word) : Number(word);
    if (index === undefined) throw new Error(`unknown name ${word}`);
    return index;
  }
}

/** The declarations of a module, and their names. */
class TextModule {
  readonly #functions = new NameIndex();
  readonly #globals = new NameIndex();
  readonly #tables = new NameIndex();
  readonly #data = new NameIndex();
  readonly #elements = new NameIndex();
  readonly #namedTypes = new Map<string, number>();
  readonly #types = new TypeTable([]);
  readonly #imports: Import[] = [];
  readonly #bodies: FunctionBody[] = [];
  readonly #tableTypes: TableType[] = [];
  readonly #memories: Limits[] = [];
  readonly #globalList: Global[] = [];
  readonly #exports: Export[] = [];
  readonly #elementList: ElementSegment[] = [];
  readonly #dataList: DataSegment[] = [];

  constructor([, ...fields]: List) {
    const lists = fields.map(listOf);
    for (const field of lists) this.#declare(field);
    for (const field of lists) this.#define(field);
  }

  encode(): Uint8Array<ArrayBuffer> {
    return encodeModule({
      types: this.#types.types,
      imports: this.#imports,
      functions: this.#bodies,
      tables: this.#tableTypes,
      memories: this.#memories,
      globals: this.#globalList,
      exports: this.#exports,
      start: null,
      elements: this.#elementList,
      data: this.#dataList,
      hasDataCount: this.#dataList.length > 0,
      functionNames: new Map(),
      customSections: [],
    });
  }

  /** Registers the name of a field. */
  #declare(field: List): void {
    const [kind, name] = field;
    if (kind === 'import') this.#functions.add(listOf(field[3])[1]);
    else if (kind === 'func') this.#functions.add(name);
    else if (kind === 'global') this.#globals.add(name);
    else if (kind === 'table') this.#tables.add(name);
    else if (kind === 'data') this.#data.add(name);
    else if (kind === 'elem') this.#elements.add(name);
    else if (kind === 'type') this.#namedTypes.set(wordOf(name), this.#types.indexOf(signatureOf(listOf(field[2]).slice(1)).type));
  }

  #define(field: List): void {
    switch (field[0]) {
      case 'import': {
        const type = this.#types.indexOf(signatureOf(listOf(field[3]).slice(2)).type);
        this.#imports.push({ module: nameOf(field[1]), name: nameOf(field[2]), kind: 'function', type });
        break;
      }
      case 'func':
        this.#bodies.push(this.#body(field.slice(2)));
        break;
      case 'table':
        this.#tableTypes.push({ element: valueTypeOf(field[3]), limits: { initial: Number(field[2]), maximum: null } });
        break;
      case 'memory':
        this.#memories.push({ initial: Number(field[1]), maximum: Number(field[2]) });
        break;
      case 'global':
        this.#defineGlobal(field);
        break;
      case 'export':
        this.#defineExport(field);
        break;
      case 'elem':
        this.#defineElements(field);
        break;
      case 'data':
        this.#dataList.push({
          place: typeof field[1] === 'string' ? { kind: 'passive' } : this.#activePlace(field[1]),
          bytes: bytesOf(field[2]),
        });
        break;
      case 'type':
        break;
      default:
        throw new Error(`unknown field ${JSON.stringify(field[0])}`);
    }
  }

  #activePlace(offset: Node | undefined) {
    return { kind: 'active', index: 0, offset: this.#constant(offset) } as const;
  }

  #constant(node: Node | undefined): Uint8Array {
    return new BodyText(this, []).encode([listOf(node)]);
  }

  #defineGlobal([, , type, value]: List): void {
    const mutable = isList(type, 'mut');
    this.#globalList.push({ type: { value: valueTypeOf(mutable ? listOf(type)[1] : type), mutable }, init: this.#constant(value) });
  }

  #defineExport([, name, item]: List): void {
    const [kind, target] = listOf(item);
    const external: ExternalKind = kind === 'func' ? 'function' : 'global';
    this.#exports.push({ name: nameOf(name), kind: external, index: this.indexOf(external, target) });
  }

  /** `(elem (table $table) OFFSET func NAMES)` or `(elem $name func NAMES)`. */
  #defineElements(field: List): void {
    const from = field.indexOf('func') + 1;
    const indices = field.slice(from).map((name) => this.#functions.indexOf(name));
    const place = typeof field[1] === 'string' ? ({ kind: 'passive' } as const) : this.#activePlace(field[2]);
    this.#elementList.push({ place, items: { kind: 'functions', indices } });
  }

  #body(parts: List): FunctionBody {
    const { type, names, rest } = signatureOf(parts);
    const locals: LocalRun[] = [];
    let at = 0;
    for (let part = rest[0]; isList(part, 'local'); at += 1, part = rest[at]) {
      const [, name, local] = listOf(part);
      names.push(wordOf(name));
      locals.push({ count: 1, type: valueTypeOf(local) });
    }
    const body = new BodyText(this, names).encode(rest.slice(at).map(listOf));
    return { type: this.#types.indexOf(type), locals, body };
  }

  /** Returns the index of a function, global, table or segment. */
  indexOf(kind: 'function' | 'global' | 'table' | 'data' | 'element', node: Node | undefined): number {
    const names = {
      function: this.#functions,
      global: this.#globals,
      table: this.#tables,
      data: this.#data,
      element: this.#elements,
    }[kind];
    return names.indexOf(node);
  }

  blockType(results: readonly ValueType[]): number {
    return this.#types.blockType(results);
  }

  typeIndex(node: Node | undefined): number {
    const index = this.#namedTypes.get(wordOf(node));
    if (index === undefined) throw new Error(`unknown type ${JSON.stringify(node)}`);
    return index;
  }
}

/** Parses `(param …)` and `(result …)`. */
function signatureOf(parts: List): { type: FunctionType; names: string[]; rest: List } {
  const parameters: ValueType[] = [];
  const results: ValueType[] = [];
  const names: string[] = [];
  let at = 0;
  for (; ; at += 1) {
    const part = parts[at];
    if (isList(part, 'param')) {
      for (const word of listOf(part).slice(1)) {
        if (typeof word === 'string' && word.startsWith('$')) names.push(word);
        else parameters.push(valueTypeOf(word));
      }
    } else if (isList(part, 'result')) results.push(...listOf(part).slice(1).map(valueTypeOf));
    else break;
  }
  return { type: { parameters, results }, names, rest: parts.slice(at) };
}

/** The instructions of one function or constant expression. */
class BodyText {
  readonly #module: TextModule;
  readonly #locals: ReadonlyMap<string, number>;
  readonly #labels: string[] = [];
  readonly #instructions: Instruction[] = [];

  /** @param locals Names of the parameters and locals, in order. */
  constructor(module: TextModule, locals: readonly string[]) {
    this.#module = module;
    this.#locals = new Map(locals.map((name, index) => [name, index]));
  }

  encode(expressions: readonly List[]): Uint8Array {
    this.#sequence(expressions);
    return encodeInstructions(this.#instructions).body;
  }

  #sequence(nodes: List): void {
    for (const node of nodes) this.#expression(listOf(node));
  }

  #expression(list: List): void {
    const name = wordOf(list[0]);
    if (name === 'block' || name === 'loop') this.#block(name, list.slice(1));
    else if (name === 'if') this.#if(list.slice(1));
    else {
      const operands = list.findIndex((node, index) => index > 0 && typeof node === 'object' && node[0] !== 'type');
      const immediates = list.slice(1, operands < 0 ? undefined : operands);
      if (operands > 0) this.#sequence(list.slice(operands));
      this.#instructions.push(this.#instruction(name, immediates));
    }
  }

  #block(name: 'block' | 'loop', parts: List): void {
    const label = typeof parts[0] === 'string' ? parts[0] : '';
    const { type, rest } = signatureOf(label === '' ? parts : parts.slice(1));
    const blockType = this.#module.blockType(type.results);
    this.#instructions.push(name === 'block' ? block(blockType) : loop(blockType));
    this.#nested(label, rest);
    this.#instructions.push(end);
  }

  /** `(if (result …) CONDITION (then …) (else …))`. */
  #if(parts: List): void {
    const { type, rest } = signatureOf(parts);
    const [condition, then, otherwise] = rest;
    this.#expression(listOf(condition));
    this.#instructions.push(ifBlock(this.#module.blockType(type.results)));
    this.#nested('', listOf(then).slice(1));
    if (otherwise !== undefined) {
      this.#instructions.push(plain('else'));
      this.#nested('', listOf(otherwise).slice(1));
    }
    this.#instructions.push(end);
  }

  #nested(label: string, nodes: List): void {
    this.#labels.push(label);
    this.#sequence(nodes);
    this.#labels.pop();
  }

  #label(node: Node | undefined): number {
    const at = this.#labels.lastIndexOf(wordOf(node));
    if (at < 0) throw new Error(`unknown label ${JSON.stringify(node)}`);
    return this.#labels.length - 1 - at;
  }

  #local(node: Node | undefined): number {
    const word = wordOf(node);
    const index = word.startsWith('$') ? this.#locals.get(word) : Number(word);
    if (index === undefined) throw new Error(`unknown local ${word}`);
    return index;
  }

  #instruction(name: string, immediates: List): Instruction {
    const op = opcodesByName.get(name);
    const kind = op === undefined ? undefined : opcodeDefinition(op)?.immediates;
    if (op === undefined || kind === undefined || kind === null) throw new Error(`unknown instruction ${name}`);
    const [first, second] = immediates;
    const module = this.#module;
    switch (kind) {
      case 'plain':
        return { kind, op };
      case 'branch':
        return name === 'br' ? branch(this.#label(first)) : branchIf(this.#label(first));
      case 'branch-table':
        return { kind, op, labels: immediates.map((label) => this.#label(label)) };
      case 'local':
        return { kind, op, index: this.#local(first) };
      case 'function':
      case 'global':
      case 'table':
        return { kind, op, index: module.indexOf(kind, first) };
      case 'memory':
        return { kind, op, index: 0 };
      case 'call-indirect':
        return { kind, op, table: module.indexOf('table', first), type: module.typeIndex(listOf(second)[1]) };
      case 'memory-copy':
        return { kind, op, destination: 0, source: 0 };
      case 'memory-init':
        return { kind, op, segment: module.indexOf('data', first), memory: 0 };
      case 'table-copy':
        return { kind, op, destination: module.indexOf('table', first), source: module.indexOf('table', second) };
      case 'table-init':
        return { kind, op, table: module.indexOf('table', first), segment: module.indexOf('element', second) };
      case 'access':
        return { kind, op, align: alignmentOf(name), offset: Number(first === undefined ? 0 : wordOf(first).slice(7)), memory: 0 };
      case 'lane':
        return { kind, op, lane: Number(first) };
      case 'i32':
        return { kind, op, value: Number(first) | 0 };
      case 'i64':
        return { kind, op, value: BigInt.asIntN(64, BigInt(wordOf(first))) };
      case 'bytes':
        return { kind, op, bytes: constantBytes(name, immediates) };
      default:
        throw new Error(`the module generator does not write ${name}`);
    }
  }
}

/** Returns the natural alignment of a load or store, as an exponent of two. */
function alignmentOf(name: string): number {
  const [, bits, lanes = 1] = /(?:load|store)(\d+)(?:x(\d+))?/.exec(name) ?? [];
  if (bits !== undefined) return Math.log2((Number(bits) * Number(lanes)) / 8);
  return name.startsWith('v128') ? 4 : name.includes('64.') ? 3 : 2;
}

const floatWords: Readonly<Record<string, number>> = { nan: Number.NaN, inf: Number.POSITIVE_INFINITY, '-inf': Number.NEGATIVE_INFINITY };

/** Buffer in which constants are encoded; slices of a few bytes are cheap. */
const scratch = new DataView(new ArrayBuffer(16));
const scratchBytes = new Uint8Array(scratch.buffer);

/** Encodes the immediates of `f32.const`, `f64.const`, `v128.const` and `i8x16.shuffle`. */
function constantBytes(name: string, [first, ...rest]: List): Uint8Array {
  if (name === 'v128.const') {
    for (const [lane, value] of rest.entries()) {
      if (first === 'i64x2') scratch.setBigUint64(lane * 8, BigInt(wordOf(value)), true);
      else scratch.setUint32(lane * 4, Number(value), true);
    }
    return scratchBytes.slice();
  }
  if (name === 'i8x16.shuffle') {
    for (const [lane, value] of [first, ...rest].entries()) scratch.setUint8(lane, Number(value));
    return scratchBytes.slice();
  }
  const value = floatWords[wordOf(first)] ?? Number(first);
  if (name === 'f32.const') scratch.setFloat32(0, value, true);
  else scratch.setFloat64(0, value, true);
  return scratchBytes.slice(0, name === 'f32.const' ? 4 : 8);
}
