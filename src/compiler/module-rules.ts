// What a device requires of a module, checked before the module is optimized: imports, exports, limits, segments.

import { kernelFunctions, kernelNamespace, lifecycleExports, systemNamespace } from '../machine/abi.ts';
import type { FunctionType } from '../machine/images/stamp.ts';
import { opcodes } from './binary/instruction.ts';
import { decodeBody } from './binary/instruction-codec.ts';
import { type FunctionBody, functionTypeOf, type Import, importsOf, type Module } from './binary/module.ts';
import { evaluateExpression, evaluateGlobals } from './constant-expression.ts';
import { explainGoRuntime, explainUnknownImport, isRuntimeImport, looksMinified, warnMinifiedImport } from './import-advice.ts';
import { limitExceededMessage, compilerLimits as limits } from './limits.ts';

export type ModuleCheck = {
  /** Why a device cannot run the module. */
  readonly reasons: readonly string[];
  readonly warnings: readonly string[];
  /** How deep the blocks of each of the module's functions nest. */
  readonly nesting: readonly number[];
};

/** Checks a valid module. */
export function checkModule(module: Module): ModuleCheck {
  const code = readCode(module);
  const reasons = [
    ...checkImports(module, code.referred),
    ...checkExports(module),
    ...checkSizes(module),
    ...code.reasons,
    ...checkSegments(module),
    ...checkNames(module),
  ];
  return { reasons, warnings: minifiedImports(module), nesting: code.nesting };
}

/** Returns the faults of the names of exports and imports, which are stored and reported. */
export function checkNames(module: Module): string[] {
  const exported = module.exports.filter(({ kind }) => kind === 'function');
  return [
    ...exported.flatMap(({ name }) => nameFault('export', name)),
    ...importsOf(module, 'function').flatMap(({ name }) => nameFault('import', name)),
  ];
}

function nameFault(kind: 'export' | 'import', name: string): string[] {
  const bytes = Buffer.byteLength(name);
  const shown = `the ${kind} "${name.slice(0, 100)}${name.length > 100 ? '…' : ''}"`;
  if (bytes > limits.nameBytes.value)
    return [limitExceededMessage(`${shown} has a name of`, bytes, limits.nameBytes, 'rename it, or do not export it')];
  return name.includes('\0') ? [`${shown} has the character U+0000 in its name, which no database keeps: rename it`] : [];
}

type Code = { readonly nesting: number[]; readonly referred: Set<number>; readonly reasons: string[] };

/** Reads every function: how deep its blocks nest, how large it is, and which functions are referred to. */
function readCode(module: Module): Code {
  const code: Code = { nesting: [], referred: new Set(), reasons: [] };
  const imports = importsOf(module, 'function').length;
  for (const [position, body] of module.functions.entries()) {
    const what = `the function ${functionName(module, imports + position)}`;
    if (body.body.length > limits.functionBytes.value) {
      code.reasons.push(limitExceededMessage(`${what} has`, body.body.length, limits.functionBytes, 'split it into several functions'));
      continue;
    }
    const nesting = readBody(body, code.referred);
    code.nesting.push(nesting);
    if (nesting > limits.nesting.value)
      code.reasons.push(limitExceededMessage(`${what} nests blocks`, nesting, limits.nesting, 'split it into several functions'));
  }
  for (const { items } of module.elements) {
    if (items.kind === 'functions') for (const index of items.indices) code.referred.add(index);
    else for (const expression of items.expressions) readBody({ body: expression }, code.referred);
  }
  for (const { kind, index } of module.exports) if (kind === 'function') code.referred.add(index);
  if (module.start !== null) code.referred.add(module.start);
  return code;
}

/** Returns how deep the blocks of a body nest, and notes the functions it refers to. */
function readBody(body: Pick<FunctionBody, 'body'>, referred: Set<number>): number {
  let depth = 0;
  let deepest = 0;
  for (const instruction of decodeBody(body)) {
    if (instruction.kind === 'block') deepest = Math.max(deepest, ++depth);
    else if (instruction.op === opcodes.end) depth -= 1;
    else if (instruction.kind === 'function') referred.add(instruction.index);
  }
  return deepest;
}

/** Returns a function's name, quoted and shortened, or its index where it has none. */
export function functionName({ functionNames }: Module, index: number): string {
  const name = functionNames.get(index);
  return name === undefined ? String(index) : `"${name.slice(0, 100)}"`;
}

/** An import that nothing refers to is dropped, whatever it is. */
function checkImports(module: Module, referred: ReadonlySet<number>): string[] {
  const reasons: string[] = [];
  let index = 0;
  for (const item of module.imports) {
    if (item.kind !== 'function') reasons.push(importedOther(item));
    else {
      if (referred.has(index)) reasons.push(...checkImport(item, module.types[item.type] ?? { parameters: [], results: [] }));
      index += 1;
    }
  }
  const builder = reasons.length > 0 ? explainGoRuntime(module.functionNames.values()) : null;
  if (builder !== null) reasons.unshift(builder);
  if (index > limits.importedFunctions.value)
    reasons.push(limitExceededMessage('the module imports', index, limits.importedFunctions, 'import fewer functions'));
  return reasons;
}

const kernelNames = Object.keys(kernelFunctions);
const moduleName = /^[a-z][a-z0-9_-]{0,62}$/;

function importedOther({ module, name, kind }: Import): string {
  const advice = explainUnknownImport(module, name, kernelNames);
  const isKnown = moduleName.test(module) && module !== 'env' && !module.startsWith('wasi_');
  return isKnown ? `the import "${module}" "${name}" is a ${kind}: a module may import functions only` : `${advice} (it is a ${kind})`;
}

function checkImport({ module, name }: Import, type: FunctionType): string[] {
  const what = `the import "${module}" "${name}"`;
  if (module === kernelNamespace) {
    const kernel = Object.entries(kernelFunctions).find(([known]) => known === name)?.[1];
    if (kernel === undefined) return [`${what} is unknown: the kernel has ${kernelNames.join(', ')}`];
    return sameType(type, kernel) ? [] : [`${what} has the type ${typeText(type)}; the kernel's has ${typeText(kernel)}`];
  }
  const isForeign = !moduleName.test(module) || module === systemNamespace || module === 'env' || /^wasi[_:]/.test(module);
  if (isForeign || isRuntimeImport(module, name)) return [explainUnknownImport(module, name, kernelNames)];
  return referenceFault(what, type);
}

/** Exports that initialize a module, which no access calls. */
const initializers: ReadonlySet<string> = new Set(['_initialize', '__wasm_call_ctors']);

const noFunction =
  'the module exports no function: export at least one (C: __attribute__((export_name("check"))); Rust: #[unsafe(no_mangle)] pub extern "C" fn; WebAssembly text: (func (export "check") …))';

function checkExports(module: Module): string[] {
  const exported = module.exports.filter(({ kind }) => kind === 'function');
  const reasons: string[] = [];
  if (exported.every(({ name }) => initializers.has(name))) reasons.push(noFunction);
  if (exported.length > limits.exports.value) {
    reasons.push(limitExceededMessage('the module exports', exported.length, limits.exports, 'export fewer functions'));
  }
  // Of every kind: the image exports its fuel and its memory by such names.
  for (const { name } of module.exports) {
    if (name.startsWith(`${systemNamespace}:`))
      reasons.push(`the export "${name.slice(0, 100)}" has a name that is reserved for the system: choose another`);
  }
  for (const { name, index } of exported) {
    const what = `the export "${name.slice(0, 100)}"`;
    const type = functionTypeOf(module, index);
    const expected = Object.entries(lifecycleExports).find(([known]) => known === name)?.[1];
    if (type !== undefined && expected !== undefined && !sameType(type, expected))
      reasons.push(`${what}, which a load calls, has the type ${typeText(type)}; expected ${typeText(expected)}: change it, or rename it`);
    if (type !== undefined) reasons.push(...referenceFault(what, type));
  }
  return reasons;
}

/** References stay inside a module: the patch could not reach them. */
function referenceFault(what: string, type: FunctionType): string[] {
  const found = [...type.parameters, ...type.results].find((value) => value === 'funcref' || value === 'externref');
  if (found === undefined) return [];
  const advice = 'pass a number that stands for it, for example an index into a table of the module';
  const reason =
    found === 'funcref'
      ? 'a function reference passed to another module would survive the patch'
      : 'references cannot be passed between modules';
  return [`${what} has the type ${typeText(type)} with a ${found}: ${reason}; ${advice}`];
}

function checkSizes(module: Module): string[] {
  const { functions, memories, tables } = module;
  const reasons: string[] = [];
  if (functions.length > limits.functions.value) {
    reasons.push(limitExceededMessage('the module has', functions.length, limits.functions, 'split it into several modules'));
  }
  for (const { initial } of memories) {
    if (initial > limits.memoryPages.value)
      reasons.push(
        limitExceededMessage('the module begins with a memory of', initial, limits.memoryPages, 'link it with a smaller initial memory'),
      );
  }
  if (tables.length > limits.tables.value)
    reasons.push(limitExceededMessage('the module has', tables.length, limits.tables, 'use fewer tables'));
  const elements = tables.reduce((sum, { limits: size }) => sum + size.initial, 0);
  if (elements > limits.tableElements.value)
    reasons.push(limitExceededMessage('the module begins with tables of', elements, limits.tableElements, 'make the tables smaller'));
  return reasons;
}

/** Bytes of a page of a module's memory. */
const pageBytes = 65_536;

/** Segments whose constant offset is out of bounds make every instantiation trap. */
function checkSegments(module: Module): string[] {
  const globals = evaluateGlobals(module);
  const reasons: string[] = [];
  for (const [index, { place, bytes }] of module.data.entries()) {
    const size = place.kind === 'active' ? module.memories[place.index]?.initial : undefined;
    const offset = place.kind === 'active' ? evaluateExpression(place.offset, globals) : null;
    if (size === undefined || offset === null || (offset >>> 0) + bytes.length <= size * pageBytes) continue;
    reasons.push(outside(`data segment ${index}`, bytes.length, 'bytes', offset, `the memory of ${size * pageBytes} bytes`));
  }
  for (const [index, { place, items }] of module.elements.entries()) {
    const size = place.kind === 'active' ? module.tables[place.index]?.limits.initial : undefined;
    const offset = place.kind === 'active' ? evaluateExpression(place.offset, globals) : null;
    const count = items.kind === 'functions' ? items.indices.length : items.expressions.length;
    if (size === undefined || offset === null || (offset >>> 0) + count <= size) continue;
    reasons.push(outside(`element segment ${index}`, count, 'elements', offset, `the table of ${size} elements`));
  }
  return reasons;
}

function outside(segment: string, length: number, unit: string, offset: number, target: string): string {
  return `${segment} has ${length} ${unit} at offset ${offset >>> 0}, which go past ${target}: every instantiation would trap`;
}

function minifiedImports(module: Module): string[] {
  const names = new Map<string, string[]>();
  for (const item of module.imports) {
    if (looksMinified(item.module)) names.set(item.module, [...(names.get(item.module) ?? []), item.name]);
  }
  return [...names].map(([from, imported]) => warnMinifiedImport(from, imported));
}

function sameType(left: FunctionType, right: TypeNames): boolean {
  return left.parameters.join() === right.parameters.join() && left.results.join() === right.results.join();
}

/** A type as the ABI states it. */
type TypeNames = { readonly parameters: readonly string[]; readonly results: readonly string[] };

const typeText = (type: TypeNames) => `(${type.parameters.join(', ')}) → (${type.results.join(', ')})`;
