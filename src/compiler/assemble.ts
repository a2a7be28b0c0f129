// A checked module → an image: what it may not have is refused, safepoints and access stubs are added, and it is stamped.

import {
  abiVersion,
  exportLimit,
  gateSection,
  initializeExport,
  kernelFunctions,
  kernelNamespace,
  nameLimit,
  stampSection,
  systemNamespace,
} from '../machine/abi.ts';
import type { ExportedFunction, ImageInterface, Stamp } from '../machine/image.ts';
import type { StubOptions } from './access-stub.ts';
import { type FunctionType, functionTypeOf, type Import, type Limits, type Module } from './binary/module.ts';
import { encodeModule } from './binary/writer.ts';
import { addEntryWrappers } from './entry-wrapper.ts';
import { gateOf } from './gate.ts';
import { instrument } from './instrumentation.ts';
import { link } from './link.ts';
import { type Collector, reachableFrom, runtimeExports, runtimeFunctions } from './toolchain.ts';

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

export type AssembleRequest = Omit<Stamp, 'abi' | 'interface' | 'ownMemory' | 'hasStart' | 'hasState' | 'initialize'> & {
  /** The module, optimized. */
  readonly code: Module;
  /** How the module's accesses of others are made. */
  readonly stubs: StubOptions;
  /** The functions of its garbage collector. */
  readonly collector: Collector | null;
};

export type Assembled =
  | { readonly ok: true; readonly image: Uint8Array; readonly interface: ImageInterface; readonly warnings: readonly string[] }
  | { readonly ok: false; readonly reasons: readonly string[] };

/** Makes the image of a valid module; the same request makes the same bytes. */
export function assemble(request: AssembleRequest): Assembled {
  const { code, kind } = request;
  const read = readParts(request);
  if (read.reasons.length > 0) return { ok: false, reasons: read.reasons };
  const interfaceOf: ImageInterface = {
    exports: read.exports,
    imports: read.imports.filter(({ module }) => module !== systemNamespace).map(({ module, name, type }) => ({ module, name, ...type })),
  };
  const interfaceBytes = Buffer.byteLength(JSON.stringify(interfaceOf));
  if (interfaceBytes > imageLimits.interfaceBytes) return { ok: false, reasons: [tooLargeInterface(interfaceBytes)] };
  // The allocator is made for one thread: no other may run in the midst of it.
  const unsuspendable = request.collector === null ? new Set<number>() : reachableFrom(code, runtimeFunctions(code));
  const controlled = addEntryWrappers(withoutRuntime(instrument(code, { unsuspendable }), request.collector), {
    isExclusive: request.concurrency === 'exclusive',
    collector: request.collector,
  });
  const linked = link(controlled, { kind, stubs: request.stubs, ...imageLimits });
  const image = encodeModule({ ...linked, customSections: sectionsOf(request, interfaceOf) });
  if (image.length > imageLimits.bytes) {
    return { ok: false, reasons: [`the image is of ${image.length} bytes; the limit is ${imageLimits.bytes}`] };
  }
  // The engine agrees that the compiler's own work is valid.
  new WebAssembly.Module(image);
  return { ok: true, image, interface: interfaceOf, warnings: read.warnings };
}

/** Exports that are for the machine, and no part of the module's interface. */
function isMachines({ name }: Module['exports'][number], { collector }: Pick<AssembleRequest, 'collector'>): boolean {
  return name.startsWith(`${systemNamespace}:`) || (collector !== null && runtimeExports.has(name));
}

function withoutRuntime(code: Module, collector: Collector | null): Module {
  return collector === null ? code : { ...code, exports: code.exports.filter(({ name }) => !runtimeExports.has(name)) };
}

/** The stamp, and the gate of a module. */
function sectionsOf(request: AssembleRequest, interfaceOf: ImageInterface): Module['customSections'] {
  const { code, kind, module, version, compiler, sourceDigest, stack, concurrency } = request;
  const stamp: Stamp = {
    abi: abiVersion,
    kind,
    module,
    version,
    ownMemory: code.memories.length > 0,
    hasStart: code.start !== null,
    hasState: code.memories.length > 0 || code.globals.some(({ type }) => type.mutable),
    stack,
    concurrency,
    initialize: code.exports.some(({ name }) => name === initializeExport),
    compiler,
    sourceDigest,
    interface: interfaceOf,
  };
  const stampOf = { name: stampSection, content: new TextEncoder().encode(JSON.stringify(stamp)) };
  return kind === 'driver' ? [stampOf] : [stampOf, { name: gateSection, content: gateOf(interfaceOf.exports) }];
}

type ImportedFunction = { readonly module: string; readonly name: string; readonly type: FunctionType };
type Parts = { imports: ImportedFunction[]; exports: ExportedFunction[]; reasons: string[]; warnings: string[] };

/** Reads imports and exports, with the reasons why a device could not run the module. */
function readParts(request: AssembleRequest): Parts {
  const { code, kind } = request;
  const parts: Parts = { imports: [], exports: [], reasons: [], warnings: [] };
  for (const item of code.imports) readImport(item, code, kind, parts);
  for (const memory of code.memories) checkMemory(memory, parts);
  for (const { limits } of code.tables) checkTable(limits, parts);
  for (const item of code.exports) if (!isMachines(item, request)) readExport(item, code, kind, parts);
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

function readImport(item: Import, code: Module, kind: Stamp['kind'], parts: Parts): void {
  const { module, name } = item;
  if (module === systemNamespace && kind === 'driver') return;
  const what = `the import "${module}" "${name}"`;
  if (item.kind !== 'function') {
    parts.reasons.push(`${what} is a ${item.kind}: a module may import functions only`);
    return;
  }
  const type = code.types[item.type] ?? { parameters: [], results: [] };
  parts.imports.push({ module, name, type });
  if (module === kernelNamespace) {
    const kernel = Object.entries(kernelFunctions).find(([known]) => known === name)?.[1];
    if (kernel === undefined) parts.reasons.push(`${what} is unknown: the kernel has ${Object.keys(kernelFunctions).join(' and ')}`);
    else if (!sameType(type, kernel)) parts.reasons.push(`${what} has the type ${typeText(type)}; the kernel's has ${typeText(kernel)}`);
  } else if (!/^[a-z][a-z0-9_-]{0,62}$/.test(module) || module === systemNamespace || module === 'env' || module.startsWith('wasi_')) {
    parts.reasons.push(`${what} is unknown: import from "${kernelNamespace}", or from another module by its name`);
  }
}

function readExport({ name, kind: what, index }: Module['exports'][number], code: Module, kind: Stamp['kind'], parts: Parts): void {
  if (what !== 'function') {
    if (kind === 'module') parts.warnings.push(`the export "${name}" is a ${what} and is left out: a device offers functions only`);
    return;
  }
  if (name.startsWith(`${systemNamespace}:`))
    parts.reasons.push(`the export "${name}" has a name that the system keeps for itself: choose another`);
  const type = functionTypeOf(code, index);
  if (type !== undefined) parts.exports.push({ name, ...type });
}

function checkMemory({ initial }: Limits, parts: Parts): void {
  if (initial <= imageLimits.memoryPages) return;
  parts.reasons.push(
    `the memory is of ${initial} pages of 64 KiB; the limit is ${imageLimits.memoryPages} (${imageLimits.memoryPages / 16} MiB)`,
  );
}

function checkTable({ initial }: Limits, parts: Parts): void {
  if (initial > imageLimits.tableElements)
    parts.reasons.push(`the table is of ${initial} elements; the limit is ${imageLimits.tableElements}`);
}

function sameType(left: FunctionType, right: FunctionType): boolean {
  return left.parameters.join() === right.parameters.join() && left.results.join() === right.results.join();
}

const typeText = (type: FunctionType) => `(${type.parameters.join(', ')}) → (${type.results.join(', ')})`;
