// Assembles the image of a checked module: adds safepoints, entry wrappers and access stubs, enforces the image limits, and stamps the image.

import {
  abiVersion,
  initializeExport,
  type LifecycleExport,
  lazyStubSection,
  memoryExport,
  stampSection,
  systemNamespace,
} from '../machine/abi.ts';
import { hooksAmong } from '../machine/images/lifecycle.ts';
import type { ExportedFunction, FunctionType, ImageInterface, Stamp, StampContent } from '../machine/images/stamp.ts';
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
  'abi' | 'interface' | 'ownMemory' | 'memory' | 'hasStart' | 'mayFailToInstantiate' | 'hasState' | 'initialize' | 'hooks'
> & {
  /** The optimized module. */
  readonly source: Module;
  /** Options of the stubs by which the module accesses other modules. */
  readonly stubs: StubOptions;
  /** The functions of the module's garbage collector; null: it has none. */
  readonly collector: Collector | null;
};

export type AssembleResult =
  | {
      readonly ok: true;
      readonly image: Uint8Array;
      readonly interface: ImageInterface;
      /** Whether accesses can leave state in the image. */
      readonly hasState: boolean;
      readonly warnings: readonly string[];
    }
  | { readonly ok: false; readonly reasons: readonly string[] };

/** Assembles the image of a valid module. The same request produces the same bytes. */
export function assemble(request: AssembleRequest): AssembleResult {
  const { source: code, kind } = request;
  const parts = readParts(request);
  const imageInterface: ImageInterface = {
    exports: parts.exports,
    imports: parts.imports.filter(({ module }) => module !== systemNamespace).map(({ module, name, type }) => ({ module, name, ...type })),
  };
  const interfaceBytes = Buffer.byteLength(JSON.stringify(imageInterface));
  if (interfaceBytes > limits.interfaceBytes.value) return { ok: false, reasons: [interfaceTooLargeMessage(interfaceBytes)] };
  // The allocator is not re-entrant: no other thread may run while a call of it is under way.
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
  const image = encodeModule({ ...linked, customSections: createSections(request, imageInterface, linked.memories[0]) });
  if (image.length > limits.imageBytes.value)
    return { ok: false, reasons: [limitExceededMessage('the image has', image.length, limits.imageBytes, 'make the module smaller')] };
  // Throws if the image is invalid, which is a bug of this compiler.
  new WebAssembly.Module(image);
  const hasState = leavesState(code);
  const warnings = [...parts.warnings, ...(hasState ? warnOfMissingSave(parts.exports) : [])];
  return { ok: true, image, interface: imageInterface, hasState, warnings };
}

/** Returns whether accesses can leave state in the module: a memory or a mutable global. */
function leavesState({ memories, globals }: Module): boolean {
  return memories.length > 0 || globals.some(({ type }) => type.mutable);
}

/** Returns whether an export is for the machine and not part of the module's interface. */
function isMachineExport({ name }: Module['exports'][number], { collector }: Pick<AssembleRequest, 'collector'>): boolean {
  return name.startsWith(`${systemNamespace}:`) || (collector !== null && runtimeExports.has(name));
}

/** Returns whether linkers export a memory, table or global of this name by default, so that its author did not ask for the export. */
const isLinkerExport = (name: string) => name === 'memory' || name.startsWith('__');

function withoutRuntime(code: Module, collector: Collector | null): Module {
  return collector === null ? code : { ...code, exports: code.exports.filter(({ name }) => !runtimeExports.has(name)) };
}

/** Exports the module's memory to the machine, which accounts for its growth. Runs after the optimizer, which would have to preserve an exported memory. */
function withMemoryExport(code: Module): Module {
  if (code.memories.length === 0 || code.exports.some(({ name }) => name === memoryExport)) return code;
  return { ...code, exports: [...code.exports, { name: memoryExport, kind: 'memory', index: 0 }] };
}

/** Returns the module with safepoints, or the reason why they do not fit. */
function tryInstrument(code: Module, options: InstrumentationOptions): Module | string {
  try {
    return instrument(code, options);
  } catch (error) {
    if (error instanceof FunctionTooLargeError) return error.message;
    throw error;
  }
}

/**
 * Returns the custom sections of the image: the stamp and, for a module, the lazy stubs.
 * @param memory The module's own memory, as declared in the image.
 */
function createSections(request: AssembleRequest, imageInterface: ImageInterface, memory: Limits | undefined): Module['customSections'] {
  const { source: code, kind, module, version, compiler, sourceDigest, stack, concurrency, dependencies } = request;
  const hooks = hooksAmong(imageInterface.exports);
  // Without hooks and dependencies, the image keeps the bytes that earlier compilers produced.
  const stamp: StampContent = {
    abi: abiVersion,
    kind,
    module,
    version,
    ownMemory: memory !== undefined,
    memory: memory === undefined ? null : { initialPages: memory.initial, maximumPages: memory.maximum ?? limits.memoryPages.value },
    hasStart: code.start !== null,
    mayFailToInstantiate: mayFailToInstantiate(code),
    hasState: leavesState(code),
    stack,
    concurrency,
    initialize: code.exports.some(({ name }) => name === initializeExport),
    compiler,
    sourceDigest,
    ...(kind === 'module' && hooks.length > 0 ? { hooks } : {}),
    ...(Object.keys(dependencies).length > 0 ? { dependencies } : {}),
    interface: imageInterface,
  };
  const stampContent = { name: stampSection, content: new TextEncoder().encode(JSON.stringify(stamp)) };
  return kind === 'driver' ? [stampContent] : [stampContent, { name: lazyStubSection, content: createLazyStubs(imageInterface.exports) }];
}

type ImportedFunction = { readonly module: string; readonly name: string; readonly type: FunctionType };
type Parts = {
  readonly imports: readonly ImportedFunction[];
  readonly exports: readonly ExportedFunction[];
  readonly warnings: readonly string[];
};

/** Reads the imports and exports, which module-rules.ts has checked. */
function readParts(request: AssembleRequest): Parts {
  const { source: code, kind } = request;
  const imports = importsOf(code, 'function').map(({ module, name, type }) => ({
    module,
    name,
    type: code.types[type] ?? { parameters: [], results: [] },
  }));
  const offered = code.exports.filter((item) => !isMachineExport(item, request));
  const exports = offered.flatMap(({ name, kind: what, index }) => {
    const type = what === 'function' ? functionTypeOf(code, index) : undefined;
    return type === undefined ? [] : [{ name, ...type }];
  });
  const others = kind === 'module' ? offered.filter((item) => item.kind !== 'function' && !isLinkerExport(item.name)) : [];
  const warnings = others.map(
    ({ name, kind: what }) => `the export "${name}" is a ${what} and is omitted: modules can only call each other's functions`,
  );
  return { imports, exports, warnings };
}

/** Warns of a module that takes over state and does not pass it on. The reverse is right for the first version of a module that saves state. */
function warnOfMissingSave(exports: readonly ExportedFunction[]): string[] {
  const has = (wanted: LifecycleExport) => exports.some(({ name }) => name === wanted);
  if (!has('state_restore') || has('state_save')) return [];
  return ['the module exports state_restore but not state_save: the next version will start with fresh state; export both'];
}

function interfaceTooLargeMessage(bytes: number): string {
  const what = 'the names and types of the exports and imports have';
  return limitExceededMessage(what, bytes, limits.interfaceBytes, 'export fewer functions, or give them shorter names');
}
