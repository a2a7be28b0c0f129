// Detects what a module's toolchain requires of the machine: a C stack, an initialization call, a garbage collector, exclusive calls.

import { initializeExport, memoryExport, redZone, stackPointerExport } from '../machine/abi.ts';
import type { Stamp } from '../machine/images/stamp.ts';
import { type Instruction, opcodes } from './binary/instruction.ts';
import { decodeBody } from './binary/instruction-codec.ts';
import { type Export, type FunctionBody, functionTypeOf, importsOf, type Module } from './binary/module.ts';
import { buildCallGraph } from './call-graph.ts';
import type { CompileRequest } from './result.ts';

/** Functions of a garbage collector, by index. */
export type Collector = {
  /** Allocates memory. */
  readonly allocate: number;
  /** Index of its parameter for the number of bytes. */
  readonly sizeParameter: number;
  /** () → (). */
  readonly collect: number;
};

export type ToolchainRequirements = {
  /** The stack pointer global and the bounds of the stack; null: the module has no C stack. */
  readonly stack: (NonNullable<Stamp['stack']> & { readonly pointer: number }) | null;
  /** The function that initializes the module, by index. */
  readonly initialize: number | null;
  /** Why several threads must not be inside the module at once; null: nothing indicates that. */
  readonly singleThreaded: string | null;
  /** Reasons why a device cannot run the module. */
  readonly reasons: readonly string[];
};

/** Names under which toolchains export the initialization function, in order of precedence. */
const initializers = ['_initialize', '__wasm_call_ctors'];
/** Names of functions of allocators and collectors that are not re-entrant. */
const allocators = new Set([
  'malloc',
  'free',
  'calloc',
  'realloc',
  'dlmalloc',
  '__wbindgen_malloc',
  '__rust_alloc',
  '__new',
  '__pin',
  '__collect',
  '~lib/rt/itcms/__new',
  '~lib/rt/tcms/__new',
  '~lib/rt/stub/__new',
]);

/** Bytes of a WebAssembly memory page. */
const pageBytes = 65_536;
/** Minimum initial value of a stack pointer: smaller values are counters. */
const minBase = 1_024;

/** Detects the requirements of a module. Detection works best before optimization, and uses names and exports where the module has them. */
export function detectRequirements(module: Module): ToolchainRequirements {
  const initialize = initializers.map((name) => exportOf(module, name, 'function')).find((index) => index !== null) ?? null;
  return { stack: findStack(module), initialize, singleThreaded: detectAllocator(module), reasons: checkRequirements(module, initialize) };
}

/** Returns the module with its stack pointer and initialization function exported under the machine's names, so that the optimizer keeps both. */
export function addMachineExports(module: Module, { stack, initialize }: Pick<ToolchainRequirements, 'stack' | 'initialize'>): Module {
  const kept = module.exports.filter(({ name, kind }) => kind !== 'function' || !initializers.includes(name));
  const added: Export[] = [];
  if (initialize !== null) added.push({ name: initializeExport, kind: 'function', index: initialize });
  if (stack !== null) added.push({ name: stackPointerExport, kind: 'global', index: stack.pointer });
  if (stack !== null || exportOf(module, '__collect', 'function') !== null) added.push({ name: memoryExport, kind: 'memory', index: 0 });
  const known = new Set(kept.map(({ name }) => name));
  return { ...module, exports: [...kept, ...added.filter(({ name }) => !known.has(name))] };
}

/** Requirements of the optimized module, which its image states to the machine. */
export type ImageRequirements = Pick<Stamp, 'stack' | 'concurrency'> & {
  readonly collector: Collector | null;
  /** The stack pointer's global, by index. */
  readonly stackPointer: number | null;
};

/**
 * Returns an optimized module with the exports that the machine needs, and the requirements for its image.
 * @param toolchain Requirements that were detected before the module was optimized.
 */
export function resolveImageRequirements(
  module: Module,
  toolchain: ToolchainRequirements,
  { language, concurrency }: Pick<CompileRequest, 'language' | 'concurrency'>,
): { readonly module: Module; readonly requirements: ImageRequirements } {
  // The optimizer may have normalized prologues to a form that the detection recognizes.
  const stack = toolchain.stack ?? findStack(module);
  const exported = addMachineExports(module, { stack: toolchain.stack === null ? stack : null, initialize: null });
  const collector = language === 'assemblyscript' ? findCollector(exported) : null;
  const isPrebuilt = language === 'wasm';
  return {
    module: exported,
    requirements: {
      stack: stack && { base: stack.base, floor: stack.floor },
      concurrency: concurrency ?? (isPrebuilt && toolchain.singleThreaded !== null ? 'exclusive' : 'shared'),
      collector,
      stackPointer: exportOf(exported, stackPointerExport, 'global'),
    },
  };
}

/**
 * Returns the collector of AssemblyScript's `minimal` runtime; null if the module does not export it (`--exportRuntime`). All memory comes from the
 * one function that `__new` calls and that grows the memory; growing arrays call it by other paths. If only `__new` calls that function, the compiler
 * has inlined it into `__new`.
 */
function findCollector(module: Module): Collector | null {
  const [create, collect] = [exportOf(module, '__new', 'function'), exportOf(module, '__collect', 'function')];
  if (create === null || collect === null) return null;
  const grows = (index: number) => instructionsOf(module, index).some(({ op }) => op === opcodes['memory.grow']);
  // `__new(size, class)`
  if (grows(create)) return { allocate: create, sizeParameter: 0, collect };
  const parametersOf = (index: number) => functionTypeOf(module, index)?.parameters ?? [];
  const allocate = calleesOf(module, create).find((index) => parametersOf(index).at(-1) === 'i32' && grows(index));
  if (allocate === undefined)
    throw new Error("found no allocator in AssemblyScript's runtime, whose structure has changed: adapt findCollector");
  return { allocate, sizeParameter: parametersOf(allocate).length - 1, collect };
}

function instructionsOf(module: Module, index: number): Instruction[] {
  const body = module.functions[index - importsOf(module, 'function').length];
  return body === undefined ? [] : decodeBody(body);
}

function calleesOf(module: Module, index: number): number[] {
  return instructionsOf(module, index).flatMap((instruction) =>
    instruction.kind === 'function' && instruction.op === opcodes.call ? [instruction.index] : [],
  );
}

/** Exports of AssemblyScript's runtime, which are not part of a module's interface. */
export const runtimeExports: ReadonlySet<string> = new Set(['__new', '__pin', '__unpin', '__collect', '__rtti_base']);

/** Returns the functions of the runtime that the module exports, by index. */
export function runtimeFunctions({ exports }: Module): number[] {
  return exports.flatMap(({ kind, name, index }) => (kind === 'function' && runtimeExports.has(name) ? [index] : []));
}

/** Returns all functions reachable from the given functions by direct calls, including the given ones; by index. */
export function reachableFrom(module: Module, functions: readonly number[]): Set<number> {
  const reached = new Set<number>();
  const pending = [...functions];
  for (let index = pending.pop(); index !== undefined; index = pending.pop()) {
    if (reached.has(index)) continue;
    reached.add(index);
    pending.push(...calleesOf(module, index));
  }
  return reached;
}

function exportOf({ exports }: Module, name: string, kind: Export['kind']): number | null {
  return exports.find((item) => item.kind === kind && item.name === name)?.index ?? null;
}

function checkRequirements(module: Module, initialize: number | null): string[] {
  const reasons: string[] = [];
  const functions = module.exports.filter(({ kind }) => kind === 'function');
  const isProgram = functions.some(({ name }) => name === '_start');
  if (isProgram && functions.every(({ name }) => name === '_start' || initializers.includes(name)))
    reasons.push(
      'the module exports only "_start": it is a program, not a module; build it as a reactor or library with exported functions',
    );
  const type = initialize === null ? undefined : functionTypeOf(module, initialize);
  if (type !== undefined && type.parameters.length + type.results.length > 0)
    reasons.push('the export that initializes the module has the wrong type: expected () → ()');
  const base = findStack(module)?.base ?? 0;
  if (base > memoryBytes(module))
    reasons.push(
      `the stack pointer starts at ${base}, beyond the memory of ${memoryBytes(module)} bytes: increase the initial memory, or place the stack within it`,
    );
  return reasons;
}

const memoryBytes = ({ memories }: Module) => (memories[0]?.initial ?? 0) * pageBytes;

/** Returns whether the module contains `memory.grow`. */
function growsMemory({ functions }: Module): boolean {
  return functions.some(hasMemoryGrow);
}

const hasMemoryGrow = (body: FunctionBody) => decodeBody(body).some(({ op }) => op === opcodes['memory.grow']);

/** Returns whether an exported function, or one called through a table, grows the memory directly or indirectly. The start function may grow it. */
export function accessesGrowMemory(module: Module): boolean {
  const { hasUnknownCallers, calleesOf } = buildCallGraph(module);
  const pending = module.functions.flatMap((_, position) => (hasUnknownCallers[position] === 1 ? [position] : []));
  const seen = new Set(pending);
  for (let position = pending.pop(); position !== undefined; position = pending.pop()) {
    const body = module.functions[position];
    if (body !== undefined && hasMemoryGrow(body)) return true;
    for (const callee of calleesOf(position)) {
      if (seen.has(callee)) continue;
      seen.add(callee);
      pending.push(callee);
    }
  }
  return false;
}

function detectAllocator(module: Module): string | null {
  const exported = module.exports.find(({ kind, name }) => kind === 'function' && allocators.has(name));
  if (exported !== undefined) return `it exports "${exported.name}"`;
  for (const name of module.functionNames.values()) if (allocators.has(name)) return `it has a function "${name}"`;
  return growsMemory(module) ? 'it grows its memory (memory.grow)' : null;
}

/** Finds the stack pointer by its name, or else by the prologues of functions, and the bounds of the stack. */
function findStack(module: Module): ToolchainRequirements['stack'] {
  const pointer = exportOf(module, '__stack_pointer', 'global') ?? exportOf(module, stackPointerExport, 'global') ?? findPointer(module);
  if (pointer === null) return null;
  const base = constantOf(module, pointer);
  const isMutable = module.globals[pointer - importsOf(module, 'global').length]?.type.mutable === true;
  if (base === null || !isMutable || module.memories.length === 0) return null;
  return { pointer, base, floor: findFloor(module, base) };
}

/** Returns the lowest address of the stack: after the static data below it, or 0. */
function findFloor(module: Module, base: number): number {
  const dataEnd = exportOf(module, '__data_end', 'global');
  const end = dataEnd === null ? null : constantOf(module, dataEnd);
  if (end !== null) return end < base ? end : 0;
  let floor = 0;
  for (const { place, bytes } of module.data) {
    const offset = place.kind === 'active' ? constantIn(place.offset) : null;
    if (offset !== null && offset + bytes.length <= base) floor = Math.max(floor, offset + bytes.length);
  }
  return floor;
}

/** Returns the initial value of a global of the module as an unsigned number; null if it is not a constant i32. */
function constantOf(module: Module, global: number): number | null {
  const found = module.globals[global - importsOf(module, 'global').length];
  return found === undefined || found.type.value !== 'i32' ? null : constantIn(found.init);
}

function constantIn(expression: Uint8Array): number | null {
  const [first, ...rest] = decodeBody({ body: expression });
  return first?.kind === 'i32' && rest.length === 0 ? first.value >>> 0 : null;
}

/** Counts of functions by their use of one global. */
type Usage = { balanced: number; leaves: number; odd: number };

/** Returns the global that functions lower at their start and raise at their end by the same amount; null if there is none. */
function findPointer(module: Module): number | null {
  const usages = new Map<number, Usage>();
  for (const [index, { type }] of module.globals.entries()) {
    const global = importsOf(module, 'global').length + index;
    const base = type.mutable ? constantOf(module, global) : null;
    if (base !== null && base >= minBase && base <= memoryBytes(module) && base % 4 === 0)
      usages.set(global, { balanced: 0, leaves: 0, odd: 0 });
  }
  if (usages.size === 0) return null;
  for (const body of module.functions) countUsages(decodeBody(body), usages);
  const [best] = [...usages]
    .filter(([global, { balanced, leaves, odd }]) => odd === 0 && (balanced > 0 || (leaves > 0 && global === 0)))
    .toSorted(([, left], [, right]) => right.balanced + right.leaves - left.balanced - left.leaves);
  return best?.[0] ?? null;
}

function countUsages(instructions: readonly Instruction[], usages: ReadonlyMap<number, Usage>): void {
  for (const [global, usage] of usages) {
    const { lowered, raised, writes, restores } = readFrames(instructions, global);
    if (writes === 0) {
      if (lowered.some((bytes) => bytes <= redZone)) usage.leaves += 1;
    } else if (raised.some((bytes) => lowered.includes(bytes))) usage.balanced += 1;
    // A function that does not return never raises the pointer. Setting the pointer to a local restores it.
    else if (lowered.length === 0 && restores < writes) usage.odd += 1;
  }
}

/** Returns the amounts by which a function lowers and raises a global, and how often it sets the global, and sets it to a local. */
function readFrames(instructions: readonly Instruction[], global: number) {
  const lowered: number[] = [];
  const raised: number[] = [];
  let writes = 0;
  let restores = 0;
  for (const [index, instruction] of instructions.entries()) {
    const before = instructions[index - 1];
    if (isGlobal(instruction, opcodes['global.set'], global)) {
      writes += 1;
      if (before?.op === opcodes['local.get']) restores += 1;
      const change = changeAt(instructions, index - 2);
      if (change !== null && change > 0) raised.push(change);
    } else if (isGlobal(instruction, opcodes['global.get'], global)) {
      const change = changeAt(instructions, index + 1);
      if (change !== null && change < 0) lowered.push(-change);
    }
  }
  return { lowered, raised, writes, restores };
}

function isGlobal(instruction: Instruction | undefined, op: number, global: number): boolean {
  return instruction?.kind === 'global' && instruction.op === op && instruction.index === global;
}

/** Returns the amount that `i32.const n; i32.add` or `i32.sub` at a position adds, if it is a multiple of four; null otherwise. */
function changeAt(instructions: readonly Instruction[], index: number): number | null {
  const [constant, operation] = [instructions[index], instructions[index + 1]];
  if (constant?.kind !== 'i32' || constant.value % 4 !== 0) return null;
  if (operation?.op === opcodes['i32.add']) return constant.value;
  return operation?.op === opcodes['i32.sub'] ? -constant.value : null;
}
