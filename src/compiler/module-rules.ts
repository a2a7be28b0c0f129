// Checks that a device can run a module, before the module is optimized: imports, exports, limits and segments.

import { kernelFunctions, kernelNamespace, systemNamespace } from '../machine/abi.ts';
import { formatFunctionType, isSameFunctionType } from '../machine/images/function-type.ts';
import { describeWrongType, hooksAmong, isLifecycleExport } from '../machine/images/lifecycle.ts';
import type { FunctionType } from '../machine/images/stamp.ts';
import { opcodes } from './binary/instruction.ts';
import { decodeBody } from './binary/instruction-codec.ts';
import { type FunctionBody, functionTypeOf, type Import, importsOf, type Module } from './binary/module.ts';
import { evaluateExpression, evaluateGlobals } from './constant-expression.ts';
import { explainGoRuntime, explainUnknownImport, isRuntimeImport, looksMinified, warnMinifiedImport } from './import-advice.ts';
import { limitExceededMessage, compilerLimits as limits } from './limits.ts';

export type ModuleCheck = {
  /** Reasons why a device cannot run the module. */
  readonly reasons: readonly string[];
  /** Exports that a load would call but that have another type: reasons too. */
  readonly lifecycleFaults: readonly LifecycleFault[];
  readonly warnings: readonly string[];
  /** Nesting depth of the blocks of each function. */
  readonly nesting: readonly number[];
};

/** An export with the name of a lifecycle export and another type. */
export type LifecycleFault = {
  readonly name: string;
  readonly message: string;
  /** Name of the exported function in the module, quoted, or its index. */
  readonly function: string;
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
  return { reasons, lifecycleFaults: checkLifecycleExports(module), warnings: findMinifiedImports(module), nesting: code.nesting };
}

/** Returns the faults of the names of exports and imports, which the service stores and reports. */
export function checkNames(module: Module): string[] {
  const exported = module.exports.filter(({ kind }) => kind === 'function');
  return [
    ...exported.flatMap(({ name }) => checkName('export', name)),
    ...importsOf(module, 'function').flatMap(({ name }) => checkName('import', name)),
  ];
}

function checkName(kind: 'export' | 'import', name: string): string[] {
  const bytes = Buffer.byteLength(name);
  const shown = `the ${kind} "${name.slice(0, 100)}${name.length > 100 ? '…' : ''}"`;
  if (bytes > limits.nameBytes.value)
    return [limitExceededMessage(`${shown} has a name of`, bytes, limits.nameBytes, 'rename it, or do not export it')];
  return name.includes('\0') ? [`${shown} contains the character U+0000, which databases cannot store: rename it`] : [];
}

type Code = { readonly nesting: number[]; readonly referred: Set<number>; readonly reasons: string[] };

/** Reads every function: its nesting, its size, and the functions that it refers to. */
function readCode(module: Module): Code {
  const code: Code = { nesting: [], referred: new Set(), reasons: [] };
  const imports = importsOf(module, 'function').length;
  for (const [position, body] of module.functions.entries()) {
    const subject = `the function ${functionName(module, imports + position)}`;
    if (body.body.length > limits.functionBytes.value) {
      code.reasons.push(limitExceededMessage(`${subject} has`, body.body.length, limits.functionBytes, 'split it into several functions'));
      continue;
    }
    const nesting = readBody(body, code.referred);
    code.nesting.push(nesting);
    if (nesting > limits.nesting.value)
      code.reasons.push(limitExceededMessage(`${subject} nests blocks`, nesting, limits.nesting, 'split it into several functions'));
  }
  for (const { items } of module.elements) {
    if (items.kind === 'functions') for (const index of items.indices) code.referred.add(index);
    else for (const expression of items.expressions) readBody({ body: expression }, code.referred);
  }
  for (const { kind, index } of module.exports) if (kind === 'function') code.referred.add(index);
  if (module.start !== null) code.referred.add(module.start);
  return code;
}

/** Returns the nesting depth of a body, and records the functions that it refers to. */
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

/** Returns a function's name, quoted and shortened, or its index if it has no name. */
export function functionName({ functionNames }: Module, index: number): string {
  const name = functionNames.get(index);
  return name === undefined ? String(index) : `"${name.slice(0, 100)}"`;
}

/** Checks the imports. An unused imported function is accepted, because it is dropped. */
function checkImports(module: Module, referred: ReadonlySet<number>): string[] {
  const reasons: string[] = [];
  let index = 0;
  for (const item of module.imports) {
    if (item.kind !== 'function') reasons.push(unsupportedImport(item));
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

function unsupportedImport({ module, name, kind }: Import): string {
  const advice = explainUnknownImport(module, name, kernelNames);
  const isKnown = moduleName.test(module) && module !== 'env' && !module.startsWith('wasi_');
  return isKnown ? `the import "${module}" "${name}" is a ${kind}: modules can import functions only` : `${advice} (it is a ${kind})`;
}

function checkImport({ module, name }: Import, type: FunctionType): string[] {
  const subject = `the import "${module}" "${name}"`;
  if (module === kernelNamespace) {
    const kernel = Object.entries(kernelFunctions).find(([known]) => known === name)?.[1];
    if (kernel === undefined) return [`${subject} is unknown: expected one of ${kernelNames.join(', ')}`];
    return isSameFunctionType(type, kernel)
      ? []
      : [`${subject} has the wrong type: expected ${formatFunctionType(kernel)}, received ${formatFunctionType(type)}`];
  }
  const isForeign = !moduleName.test(module) || module === systemNamespace || module === 'env' || /^wasi[_:]/.test(module);
  if (isForeign || isRuntimeImport(module, name)) return [explainUnknownImport(module, name, kernelNames)];
  return checkReferences(subject, type);
}

/** Exports that initialize a module and that no access calls. */
const initializers: ReadonlySet<string> = new Set(['_initialize', '__wasm_call_ctors']);

const noFunction =
  'the module exports no function: export one or more (C: __attribute__((export_name("check"))); Rust: #[unsafe(no_mangle)] pub extern "C" fn; WebAssembly text: (func (export "check") …))';

function checkExports(module: Module): string[] {
  const exported = module.exports.filter(({ kind }) => kind === 'function');
  const reasons: string[] = [];
  if (exported.every(({ name }) => initializers.has(name))) reasons.push(noFunction);
  if (exported.length > limits.exports.value) {
    reasons.push(limitExceededMessage('the module exports', exported.length, limits.exports, 'export fewer functions'));
  }
  // Exports of every kind: the image exports its fuel and its memory under such names.
  for (const { name } of module.exports) {
    if (name.startsWith(`${systemNamespace}:`))
      reasons.push(`the export "${name.slice(0, 100)}" has a name reserved for the system: rename it`);
  }
  for (const { name, index } of exported) {
    const subject = `the export "${name.slice(0, 100)}"`;
    const type = functionTypeOf(module, index);
    if (type !== undefined) reasons.push(...checkReferences(subject, type));
  }
  return reasons;
}

/** Checks the types of the exports that a load would call. */
function checkLifecycleExports(module: Module): LifecycleFault[] {
  const exported = module.exports.filter(({ kind }) => kind === 'function');
  const hooks = hooksAmong(exported);
  return exported.flatMap(({ name, index }) => {
    const type = functionTypeOf(module, index);
    const fault = type !== undefined && isLifecycleExport(name, { hooks }) ? describeWrongType(name, type) : null;
    if (fault === null) return [];
    const message = `${fault}: loads call an export of this name; change its type, or rename it`;
    return [{ name, message, function: functionName(module, index) }];
  });
}

/** Rejects references in the type of an export or import: a reference passed to another module would survive a patch. */
function checkReferences(subject: string, type: FunctionType): string[] {
  const found = [...type.parameters, ...type.results].find((value) => value === 'funcref' || value === 'externref');
  if (found === undefined) return [];
  const advice = 'pass a number instead, for example an index into a table of the module';
  const reason =
    found === 'funcref'
      ? 'a function reference passed to another module would survive a patch'
      : 'references cannot be passed between modules';
  return [`${subject} has the type ${formatFunctionType(type)} with a ${found}: ${reason}; ${advice}`];
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
        limitExceededMessage('the module has an initial memory of', initial, limits.memoryPages, 'link it with a smaller initial memory'),
      );
  }
  if (tables.length > limits.tables.value)
    reasons.push(limitExceededMessage('the module has', tables.length, limits.tables, 'use fewer tables'));
  const elements = tables.reduce((sum, { limits: size }) => sum + size.initial, 0);
  if (elements > limits.tableElements.value)
    reasons.push(
      limitExceededMessage('the module has tables with an initial size of', elements, limits.tableElements, 'make the tables smaller'),
    );
  return reasons;
}

/** Bytes of a WebAssembly memory page. */
const pageBytes = 65_536;

/** Rejects segments whose constant offset is out of bounds: every instantiation would trap. */
function checkSegments(module: Module): string[] {
  const globals = evaluateGlobals(module);
  const reasons: string[] = [];
  for (const [index, { place, bytes }] of module.data.entries()) {
    const size = place.kind === 'active' ? module.memories[place.index]?.initial : undefined;
    const offset = place.kind === 'active' ? evaluateExpression(place.offset, globals) : null;
    if (size === undefined || offset === null || (offset >>> 0) + bytes.length <= size * pageBytes) continue;
    reasons.push(outOfBoundsMessage(`data segment ${index}`, bytes.length, 'bytes', offset, `the memory of ${size * pageBytes} bytes`));
  }
  for (const [index, { place, items }] of module.elements.entries()) {
    const size = place.kind === 'active' ? module.tables[place.index]?.limits.initial : undefined;
    const offset = place.kind === 'active' ? evaluateExpression(place.offset, globals) : null;
    const count = items.kind === 'functions' ? items.indices.length : items.expressions.length;
    if (size === undefined || offset === null || (offset >>> 0) + count <= size) continue;
    reasons.push(outOfBoundsMessage(`element segment ${index}`, count, 'elements', offset, `the table of ${size} elements`));
  }
  return reasons;
}

function outOfBoundsMessage(segment: string, length: number, unit: string, offset: number, target: string): string {
  return `${segment} has ${length} ${unit} at offset ${offset >>> 0}, beyond the end of ${target}: every instantiation would trap`;
}

function findMinifiedImports(module: Module): string[] {
  const names = new Map<string, string[]>();
  for (const item of module.imports) {
    if (looksMinified(item.module)) names.set(item.module, [...(names.get(item.module) ?? []), item.name]);
  }
  return [...names].map(([from, imported]) => warnMinifiedImport(from, imported));
}
