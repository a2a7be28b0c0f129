// A checked module → an image: refuses what devices do not run, adds safepoints and access stubs, and stamps the image.

import { abiVersion, initializeExport, lazyStubSection, memoryExport, stampSection, systemNamespace } from '../machine/abi.ts';
import type { ExportedFunction, FunctionType, ImageInterface, Stamp } from '../machine/images/stamp.ts';
import type { StubOptions } from './access-stub.ts';
import { functionTypeOf, importsOf, type Limits, type Module } from './binary/module.ts';
import { encodeModule } from './binary/writer.ts';
import { addEntryWrappers } from './entry-wrapper.ts';
import { FunctionTooLargeError, type InstrumentationOptions, instrument } from './instrumentation.ts';
import { createLazyStubs } from './lazy-stub.ts';
import { limitExceededMessage, compilerLimits as limits } from './limits.ts';
import { link } from './linker.ts';
import { checkMergedLocals } from './merged-locals.ts';
import { mayFailToInstantiate } from './segments.ts';
import { type Collector, reachableFrom, runtimeExports, runtimeFunctions } from './toolchain.ts';

export type AssembleRequest = Omit<
  Stamp,
  'abi' | 'interface' | 'ownMemory' | 'memory' | 'hasStart' | 'mayFailToInstantiate' | 'hasState' | 'initialize'
> & {
  /** The module, optimized. */
  readonly source: Module;
  /** How the module's accesses of others are made. */
  readonly stubs: StubOptions;
  /** The functions of its garbage collector. */
  readonly collector: Collector | null;
};

export type AssembleResult =
  | { readonly ok: true; readonly image: Uint8Array; readonly interface: ImageInterface; readonly warnings: readonly string[] }
  | { readonly ok: false; readonly reasons: readonly string[] };

/** Makes the image of a valid module; the same request makes the same bytes. */
export function assemble(request: AssembleRequest): AssembleResult {
  const { source: code, kind } = request;
  const read = readParts(request);
  const interfaceOf: ImageInterface = {
    exports: read.exports,
    imports: read.imports.filter(({ module }) => module !== systemNamespace).map(({ module, name, type }) => ({ module, name, ...type })),
  };
  const interfaceBytes = Buffer.byteLength(JSON.stringify(interfaceOf));
  if (interfaceBytes > limits.interfaceBytes.value) return { ok: false, reasons: [tooLargeInterface(interfaceBytes)] };
  // The allocator is made for one thread: no other may run in the midst of it.
  const unsuspendable = request.collector === null ? new Set<number>() : reachableFrom(code, runtimeFunctions(code));
  const instrumented = tryInstrument(code, { uninterruptible: unsuspendable, isDriver: request.kind === 'driver' });
  if (typeof instrumented === 'string') return { ok: false, reasons: [instrumented] };
  const controlled = addEntryWrappers(withoutRuntime(instrumented, request.collector), {
    isExclusive: request.concurrency === 'exclusive',
    collector: request.collector,
  });
  const sizes = { memoryPages: limits.memoryPages.value, tableElements: limits.grownTableElements.value };
  const linked = link(withMemoryExport(controlled), { kind, stubs: request.stubs, ...sizes });
  const faults = kind === 'driver' ? [] : checkMergedLocals(linked);
  if (faults.length > 0) return { ok: false, reasons: faults };
  const image = encodeModule({ ...linked, customSections: sectionsOf(request, interfaceOf, linked.memories[0]) });
  if (image.length > limits.imageBytes.value)
    return { ok: false, reasons: [limitExceededMessage('the image has', image.length, limits.imageBytes, 'make the module smaller')] };
  // Throws if the compiler has made an invalid image.
  new WebAssembly.Module(image);
  return { ok: true, image, interface: interfaceOf, warnings: read.warnings };
}

/** Exports that are for the machine, and no part of the module's interface. */
function isMachines({ name }: Module['exports'][number], { collector }: Pick<AssembleRequest, 'collector'>): boolean {
  return name.startsWith(`${systemNamespace}:`) || (collector !== null && runtimeExports.has(name));
}

/** Whether linkers export a memory, table or global of this name from every module, so that its author has not asked for it. */
const isLinkers = (name: string) => name === 'memory' || name.startsWith('__');

function withoutRuntime(code: Module, collector: Collector | null): Module {
  return collector === null ? code : { ...code, exports: code.exports.filter(({ name }) => !runtimeExports.has(name)) };
}

/** Exports the module's memory to the machine, which counts what it grows to. After the optimizer, which would have to keep all of it. */
function withMemoryExport(code: Module): Module {
  if (code.memories.length === 0 || code.exports.some(({ name }) => name === memoryExport)) return code;
  return { ...code, exports: [...code.exports, { name: memoryExport, kind: 'memory', index: 0 }] };
}

/** Returns the module with safepoints, or why it cannot have them. */
function tryInstrument(code: Module, options: InstrumentationOptions): Module | string {
  try {
    return instrument(code, options);
  } catch (error) {
    if (error instanceof FunctionTooLargeError) return error.message;
    throw error;
  }
}

/** The stamp, and the gate of a module. @param memory The module's own, as it is in the image. */
function sectionsOf(request: AssembleRequest, interfaceOf: ImageInterface, memory: Limits | undefined): Module['customSections'] {
  const { source: code, kind, module, version, compiler, sourceDigest, stack, concurrency } = request;
  const stamp: Stamp = {
    abi: abiVersion,
    kind,
    module,
    version,
    ownMemory: memory !== undefined,
    memory: memory === undefined ? null : { initialPages: memory.initial, maximumPages: memory.maximum ?? limits.memoryPages.value },
    hasStart: code.start !== null,
    mayFailToInstantiate: mayFailToInstantiate(code),
    hasState: code.memories.length > 0 || code.globals.some(({ type }) => type.mutable),
    stack,
    concurrency,
    initialize: code.exports.some(({ name }) => name === initializeExport),
    compiler,
    sourceDigest,
    interface: interfaceOf,
  };
  const stampOf = { name: stampSection, content: new TextEncoder().encode(JSON.stringify(stamp)) };
  return kind === 'driver' ? [stampOf] : [stampOf, { name: lazyStubSection, content: createLazyStubs(interfaceOf.exports) }];
}

type ImportedFunction = { readonly module: string; readonly name: string; readonly type: FunctionType };
type Parts = {
  readonly imports: readonly ImportedFunction[];
  readonly exports: readonly ExportedFunction[];
  readonly warnings: readonly string[];
};

/** Reads imports and exports, which module-rules.ts has checked. */
function readParts(request: AssembleRequest): Parts {
  const { source: code, kind } = request;
  const imports = importsOf(code, 'function').map(({ module, name, type }) => ({
    module,
    name,
    type: code.types[type] ?? { parameters: [], results: [] },
  }));
  const offered = code.exports.filter((item) => !isMachines(item, request));
  const exports = offered.flatMap(({ name, kind: what, index }) => {
    const type = what === 'function' ? functionTypeOf(code, index) : undefined;
    return type === undefined ? [] : [{ name, ...type }];
  });
  const others = kind === 'module' ? offered.filter((item) => item.kind !== 'function' && !isLinkers(item.name)) : [];
  const warnings = others.map(
    ({ name, kind: what }) => `the export "${name}" is a ${what} and is left out: modules can only call each other's functions`,
  );
  return { imports, exports, warnings };
}

function tooLargeInterface(bytes: number): string {
  const what = 'the names and types of the exports and imports have';
  return limitExceededMessage(what, bytes, limits.interfaceBytes, 'export fewer functions, or give them shorter names');
}
