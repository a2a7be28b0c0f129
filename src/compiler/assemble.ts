// A module's text → an image: what it may not have is refused, its imports become access stubs, safepoints are added, and it is stamped.

import {
  abiVersion,
  entryNamespace,
  exportLimit,
  gateSection,
  kernelFunctions,
  kernelNamespace,
  nameLimit,
  offsetNamespacePrefix,
  stampSection,
  systemNamespace,
} from '../machine/abi.ts';
import { type ExportedFunction, type FunctionType, type ImageInterface, type Stamp, ValueType } from '../machine/image.ts';
import { accessStub, entryGlobal, interruptedText, offsetGlobal, type StubOptions } from './access-stub.ts';
import { type BinaryenModule, findErrors, gateFeatures, imageFeatures, parseText } from './binaryen.ts';
import { type Expression, expressions, keywordOf, printExpression, quote, unquote } from './expression.ts';
import { gateText } from './gate.ts';
import { inlineInLoops } from './inlining.ts';
import { addSafepoints, fuelDeclarations } from './safepoints.ts';

/** Limits of what an image may have. */
const imageLimits = {
  /** Own memory, in WebAssembly pages of 64 KiB. */
  memoryPages: 256,
  tableElements: 65_536,
  importedFunctions: 1_000,
  bytes: 4 * 1024 * 1024,
  /** Bytes of the names and types of all exports and imports, as JSON. */
  interfaceBytes: 256 * 1024,
} as const;

export type AssembleRequest = Omit<Stamp, 'abi' | 'interface' | 'ownMemory' | 'hasStart'> & {
  /** The module's text as a tree, in the form that binaryen prints. */
  readonly tree: Expression[];
  /** How the module's accesses of others are made. */
  readonly stubs: StubOptions;
};

export type Assembled =
  | { readonly ok: true; readonly image: Uint8Array; readonly interface: ImageInterface; readonly warnings: readonly string[] }
  | { readonly ok: false; readonly reasons: readonly string[] };

/** Makes the image of a valid module; the same request makes the same bytes. */
export function assemble(request: AssembleRequest): Assembled {
  const { tree } = request;
  const read = readParts(tree, request.kind);
  if (read.reasons.length > 0) return { ok: false, reasons: read.reasons };
  boundMemory(tree);
  const accesses = read.imports.filter((target) => !isSystem(target.module));
  const functions = tree.filter((item): item is Expression[] => keywordOf(item) === 'func');
  const copies = addSafepoints(functions);
  const stubs = accesses.flatMap((access) => accessStub(access.internal, access, request.stubs));
  inlineInLoops([...functions, ...copies], stubs);
  const types = tree.filter((item) => keywordOf(item) === 'type');
  const kept = tree.filter((item) => !isReplaced(item, request.kind)).slice(1);
  const text = printExpression([
    'module',
    ...types,
    ...systemImports(),
    ...entryImports(accesses),
    ...kept,
    ...copies,
    ...stubs,
    ...interruptedText(),
    ...fuelDeclarations(),
  ]);
  const interfaceOf: ImageInterface = {
    exports: read.exports,
    imports: read.imports.filter(({ module }) => module !== systemNamespace).map(({ module, name, type }) => ({ module, name, ...type })),
  };
  const interfaceBytes = Buffer.byteLength(JSON.stringify(interfaceOf));
  if (interfaceBytes > imageLimits.interfaceBytes) return { ok: false, reasons: [tooLargeInterface(interfaceBytes)] };
  const stamp: Stamp = {
    abi: abiVersion,
    kind: request.kind,
    module: request.module,
    version: request.version,
    ownMemory: tree.some((item) => keywordOf(item) === 'memory'),
    hasStart: tree.some((item) => keywordOf(item) === 'start'),
    compiler: request.compiler,
    sourceDigest: request.sourceDigest,
    interface: interfaceOf,
  };
  const sections = { [stampSection]: new TextEncoder().encode(JSON.stringify(stamp)) };
  const image = emit(
    text,
    imageFeatures,
    request.kind === 'driver' ? sections : { ...sections, [gateSection]: emit(gateText(read.exports), gateFeatures, {}) },
  );
  if (image.length > imageLimits.bytes) {
    return { ok: false, reasons: [`the image is of ${image.length} bytes; the limit is ${imageLimits.bytes}`] };
  }
  return { ok: true, image, interface: interfaceOf, warnings: read.warnings };
}

type Import = { readonly module: string; readonly name: string; readonly internal: string; readonly type: FunctionType };
type Parts = { imports: Import[]; exports: ExportedFunction[]; reasons: string[]; warnings: string[] };

const isSystem = (namespace: string) => namespace === systemNamespace || namespace === kernelNamespace;

/** Reads imports and exports, with the reasons why a device could not run the module. */
function readParts(tree: readonly Expression[], kind: Stamp['kind']): Parts {
  const parts: Parts = { imports: [], exports: [], reasons: [], warnings: [] };
  const types = new Map<Expression, FunctionType>();
  for (const item of tree) {
    if (keywordOf(item) === 'import') readImport(item, kind, types, parts);
    if (keywordOf(item) === 'func') types.set(item[1] ?? '', typeOf(item));
    if (keywordOf(item) === 'memory') checkMemory(item, parts);
    if (keywordOf(item) === 'table') checkTable(item, parts);
  }
  for (const item of tree) if (keywordOf(item) === 'export') readExport(item, types, parts);
  parts.reasons.push(
    ...parts.exports.flatMap(({ name }) => nameFault('export', name)),
    ...parts.imports.flatMap(({ name }) => nameFault('import', name)),
  );
  if (parts.exports.length === 0) parts.reasons.push('the module exports no function: there is nothing to access');
  if (parts.exports.length > exportLimit)
    parts.reasons.push(`the module exports ${parts.exports.length} functions; the limit is ${exportLimit}`);
  if (parts.imports.length > imageLimits.importedFunctions) {
    parts.reasons.push(`the module imports ${parts.imports.length} functions; the limit is ${imageLimits.importedFunctions}`);
  }
  return parts;
}

/** What is wrong with the name of an export or import that is kept and reported; nothing where it may have it. */
function nameFault(kind: 'export' | 'import', name: string): string[] {
  const shown = `the ${kind} "${name.slice(0, 100)}"`;
  const bytes = Buffer.byteLength(name);
  if (bytes > nameLimit) return [`${shown}… has a name of ${bytes} bytes; the limit is ${nameLimit}: rename it, or do not export it`];
  return name.includes('\0') ? [`${shown} has the character U+0000 in its name, which no database keeps: rename it`] : [];
}

function tooLargeInterface(bytes: number): string {
  return `the names and types of the exports and imports are ${bytes} bytes as JSON; the limit is ${imageLimits.interfaceBytes}: export fewer functions, or give them shorter names`;
}

function readImport(item: Expression, kind: Stamp['kind'], types: Map<Expression, FunctionType>, parts: Parts): void {
  const [, module, name, imported] = stringsOf(item);
  if (isMachineImport(item)) return;
  const what = `the import "${module}" "${name}"`;
  if (keywordOf(imported) !== 'func') {
    parts.reasons.push(`${what} is a ${keywordOf(imported)}: a module may import functions only`);
    return;
  }
  const type = typeOf(imported);
  const internal = Array.isArray(imported) && typeof imported[1] === 'string' ? imported[1] : '';
  types.set(internal, type);
  parts.imports.push({ module, name, internal, type });
  if (module === systemNamespace && kind === 'driver') return;
  if (module === kernelNamespace) {
    const kernel = Object.entries(kernelFunctions).find(([known]) => known === name)?.[1];
    if (kernel === undefined) parts.reasons.push(`${what} is unknown: the kernel has ${Object.keys(kernelFunctions).join(' and ')}`);
    else if (!sameType(type, kernel)) parts.reasons.push(`${what} has the type ${typeText(type)}; the kernel's has ${typeText(kernel)}`);
  } else if (!/^[a-z][a-z0-9_-]{0,62}$/.test(module) || module === systemNamespace || module === 'env' || module.startsWith('wasi_')) {
    parts.reasons.push(`${what} is unknown: import from "${kernelNamespace}", or from another module by its name`);
  }
}

function readExport(item: Expression, types: ReadonlyMap<Expression, FunctionType>, parts: Parts): void {
  const [, name, exported] = stringsOf(item, 1);
  if (keywordOf(exported) !== 'func') {
    parts.warnings.push(`the export "${name}" is a ${keywordOf(exported)} and is left out: a device offers functions only`);
    return;
  }
  if (name.startsWith(`${systemNamespace}:`))
    parts.reasons.push(`the export "${name}" has a name that the system keeps for itself: choose another`);
  const type = types.get(Array.isArray(exported) ? (exported[1] ?? '') : '');
  if (type !== undefined) parts.exports.push({ name, ...type });
}

function checkMemory(item: Expression, parts: Parts): void {
  const pages = Number(limitsOf(item)[0]);
  if (pages > imageLimits.memoryPages) {
    parts.reasons.push(
      `the memory is of ${pages} pages of 64 KiB; the limit is ${imageLimits.memoryPages} (${imageLimits.memoryPages / 16} MiB)`,
    );
  }
}

function checkTable(item: Expression, parts: Parts): void {
  const elements = Number(limitsOf(item)[0]);
  if (elements > imageLimits.tableElements)
    parts.reasons.push(`the table is of ${elements} elements; the limit is ${imageLimits.tableElements}`);
}

/** A memory or a table may grow up to the limit and not past it. */
function boundMemory(tree: readonly Expression[]): void {
  for (const item of tree) {
    const keyword = keywordOf(item);
    if (!Array.isArray(item) || (keyword !== 'memory' && keyword !== 'table')) continue;
    const limit = keyword === 'memory' ? imageLimits.memoryPages : imageLimits.tableElements;
    const [initial, maximum] = limitsOf(item);
    const first = item.indexOf(initial ?? '');
    item.splice(first, maximum === undefined ? 1 : 2, initial ?? '0', String(Math.min(Number(maximum ?? limit), limit)));
  }
}

function limitsOf(item: Expression): string[] {
  return Array.isArray(item) ? item.filter((part): part is string => typeof part === 'string' && /^\d+$/.test(part)) : [];
}

function typeOf(item: Expression): FunctionType {
  const parameters: ValueType[] = [];
  const results: ValueType[] = [];
  for (const part of Array.isArray(item) ? item : []) {
    const into = keywordOf(part) === 'param' ? parameters : keywordOf(part) === 'result' ? results : null;
    if (into === null || !Array.isArray(part)) continue;
    for (const value of part.slice(1)) if (typeof value !== 'string' || !value.startsWith('$')) into.push(ValueType.parse(value));
  }
  return { parameters, results };
}

function sameType(left: FunctionType, right: FunctionType): boolean {
  return left.parameters.join() === right.parameters.join() && left.results.join() === right.results.join();
}

const typeText = (type: FunctionType) => `(${type.parameters.join(', ')}) → (${type.results.join(', ')})`;

/** The head of an import (two strings) or an export (one), unquoted, and what follows. */
function stringsOf(item: Expression): [string, string, string, Expression];
function stringsOf(item: Expression, strings: 1): [string, string, Expression];
function stringsOf(item: Expression, strings = 2): Expression[] {
  return (Array.isArray(item) ? item : []).map((part, index) =>
    typeof part === 'string' && index >= 1 && index <= strings ? unquote(part) : part,
  );
}

/** The memory and the table of the machine, which the front end imports so that binaryen prints the names of the module's own. */
export const machineImports = { memory: 'patchbay:memory', table: 'patchbay:space' } as const;

function isMachineImport(item: Expression): boolean {
  const imported = Array.isArray(item) ? item[3] : undefined;
  const name = Array.isArray(imported) ? imported[1] : undefined;
  return name === `$${machineImports.memory}` || name === `$${machineImports.table}`;
}

/** Parts of the module's text that the image has in another form, or at another place, or not at all. */
function isReplaced(item: Expression, kind: Stamp['kind']): boolean {
  switch (keywordOf(item)) {
    case 'type':
      return true;
    case 'export':
      return kind === 'module' && keywordOf(stringsOf(item, 1)[2]) !== 'func';
    case 'import': {
      const [, module] = stringsOf(item);
      return isMachineImport(item) || !(module === kernelNamespace || (module === systemNamespace && kind === 'driver'));
    }
    default:
      return false;
  }
}

const systemImports = () =>
  expressions(`
    (import "${systemNamespace}" "memory" (memory $patchbay:memory 1))
    (import "${systemNamespace}" "space" (table $patchbay:space 0 funcref))
    (import "${systemNamespace}" "injected" (tag $patchbay:injected))
    (import "${systemNamespace}" "tick" (func $patchbay:tick (result i32)))
    (import "${systemNamespace}" "suspend" (func $patchbay:suspend))`);

/** Where the stubs find the module table's entries and the exports, one global for each. */
function entryImports(accesses: readonly Import[]): Expression[] {
  const globals = new Map<string, string>();
  for (const { module, name } of accesses) {
    globals.set(entryGlobal(module), `${quote(entryNamespace)} ${quote(module)}`);
    globals.set(offsetGlobal(module, name), `${quote(`${offsetNamespacePrefix}${module}`)} ${quote(name)}`);
  }
  return [...globals].flatMap(([name, path]) => expressions(`(import ${path} (global ${name} i32))`));
}

/** Text that the compiler wrote → bytes. What it does not use of the system's imports is left out. */
function emit(text: string, features: number, sections: Readonly<Record<string, Uint8Array>>): Uint8Array {
  let module: BinaryenModule | undefined;
  try {
    module = parseText(text);
    const errors = findErrors(module, features);
    if (errors.length > 0) throw new Error(`the instrumented module is not valid: ${errors.join('; ')}`);
    module.runPasses(['remove-unused-module-elements']);
    for (const [name, content] of Object.entries(sections)) module.addCustomSection(name, content);
    return module.emitBinary();
  } finally {
    module?.dispose();
  }
}
