// Validates the structure of an image: it imports and exports only what its stamp lists and its kind allows. That the code uses its imports as the
// ABI demands is ensured by the compiler's signature (verified-image.ts).

import {
  fuelExport,
  kernelFunctions,
  kernelNamespace,
  offsetNamespacePrefix,
  pinnedRecordExport,
  systemNamespace,
  tableEntryNamespace,
} from '../abi.ts';
import type { BinarySections } from './binary-sections.ts';
import { describeWrongType, isLifecycleExport } from './lifecycle.ts';
import type { FunctionType, Stamp } from './stamp.ts';

type ImageKind = Stamp['kind'];
/** Import of an image's record; present in images whose entry wrapper controls which accesses may enter. */
const recordImport = 'record';

type ExternKind = WebAssembly.ModuleExportDescriptor['kind'];

type SystemImport = {
  readonly kind: ExternKind;
  /** Kinds of images that may import it. */
  readonly for: readonly ImageKind[];
  /** Images that need it: those that call other modules, or also those that control entry. Absent: all images. */
  readonly need?: 'access' | 'access or entry';
};

/** Imports that the system namespace provides, by name. */
const systemImports: ReadonlyMap<string, SystemImport> = new Map<string, SystemImport>([
  ['memory', { kind: 'memory', for: ['module', 'driver'], need: 'access or entry' }],
  ['space', { kind: 'table', for: ['module', 'driver'], need: 'access' }],
  ['injected', { kind: 'tag', for: ['module', 'driver'], need: 'access or entry' }],
  ['tick', { kind: 'function', for: ['module', 'driver'] }],
  ['suspend', { kind: 'function', for: ['module', 'driver'] }],
  [recordImport, { kind: 'global', for: ['module'] }],
  ['acquire', { kind: 'function', for: ['module'] }],
  ['release', { kind: 'function', for: ['module'] }],
  ['held', { kind: 'function', for: ['module'] }],
  ['hold', { kind: 'function', for: ['module'] }],
  ['collect', { kind: 'function', for: ['module'] }],
  ['commit', { kind: 'function', for: ['driver'] }],
  ['switched', { kind: 'function', for: ['driver'] }],
  ['pause', { kind: 'function', for: ['driver'] }],
]);

/** The only import of the lazy stubs. */
const stubImport = 'resolve';

/** Exports that an image may have besides the functions of its interface, by name. */
const systemExports: ReadonlyMap<string, { readonly kind: ExternKind; readonly for: readonly ImageKind[] }> = new Map([
  [fuelExport, { kind: 'global', for: ['module', 'driver'] }],
  [pinnedRecordExport, { kind: 'global', for: ['driver'] }],
  ['patchbay:stack-pointer', { kind: 'global', for: ['module'] }],
  ['patchbay:memory', { kind: 'memory', for: ['module'] }],
  ['patchbay:collect', { kind: 'function', for: ['module'] }],
  ['patchbay:allocation-budget', { kind: 'global', for: ['module'] }],
  ['patchbay:initialize', { kind: 'function', for: ['module'] }],
]);

/** Functions that a driver exports. */
const driverExports = ['main', 'call'];

/** Types that refer to code or to host objects, and would outlive the version that they come from. */
const referenceTypes: readonly string[] = ['funcref', 'externref'];

/** Returns why an image's imports or exports are invalid; null if they are valid. */
export function findImageError(code: WebAssembly.Module, sections: BinarySections, stamp: Stamp): string | null {
  const imports = WebAssembly.Module.imports(code);
  return (
    findReferenceError(stamp) ??
    findLifecycleError(stamp) ??
    findFirstError(imports, (imported) => findImportError(imported, stamp, imports.some(isRecordImport))) ??
    findFirstError(WebAssembly.Module.exports(code), (exported) => findExportError(exported, stamp)) ??
    findDriverError(stamp) ??
    findSystemAccessError(imports, sections) ??
    findStampError(sections, stamp)
  );
}

/** Returns why an image's lazy stubs are invalid; null if they are valid. */
export function findLazyStubError(stubs: WebAssembly.Module, stamp: Stamp): string | null {
  for (const { module, name, kind } of WebAssembly.Module.imports(stubs))
    if (module !== systemNamespace || name !== stubImport || kind !== 'function')
      return `its lazy stubs import "${module}" "${name}" (${kind}); expected only "${systemNamespace}" "${stubImport}"`;
  const exported = WebAssembly.Module.exports(stubs);
  const isComplete = stamp.interface.exports.every((_, index) =>
    exported.some(({ name, kind }) => name === String(index) && kind === 'function'),
  );
  return isComplete ? null : 'its lazy stubs do not cover its exports';
}

function findFirstError<Item>(items: readonly Item[], findError: (item: Item) => string | null): string | null {
  for (const item of items) {
    const error = findError(item);
    if (error !== null) return error;
  }
  return null;
}

/** References are rejected: a function reference would outlive the patched module that it comes from. */
function findReferenceError({ interface: { exports, imports } }: Stamp): string | null {
  const findReferenceType = ({ parameters, results }: FunctionType) =>
    [...parameters, ...results].find((type) => referenceTypes.includes(type));
  for (const exported of exports) {
    const type = findReferenceType(exported);
    if (type !== undefined) return `it exports "${exported.name}" with the type ${type}: ${noReferences}`;
  }
  for (const imported of imports) {
    const type = findReferenceType(imported);
    if (type !== undefined) return `it imports "${imported.module}" "${imported.name}" with the type ${type}: ${noReferences}`;
  }
  return null;
}

/** Checks the types of the exports that a load calls: the compiler of an older image may have accepted other types. */
function findLifecycleError({ kind, hooks, interface: { exports } }: Stamp): string | null {
  if (kind !== 'module') return null;
  return findFirstError(exports, ({ name, ...type }) => {
    const fault = isLifecycleExport(name, { hooks }) ? describeWrongType(name, type) : null;
    return fault && `its export ${fault}: loads call it; give it this type or another name, and push the module under a higher version`;
  });
}

const noReferences =
  'references must not cross module boundaries, because they would outlive the version. Pass a number that identifies the function or object instead';

function findImportError({ module, name, kind }: WebAssembly.ModuleImportDescriptor, stamp: Stamp, controlsEntry: boolean): string | null {
  const subject = `it imports "${module}" "${name}" (${kind})`;
  const { imports } = stamp.interface;
  const accesses = imports.filter((access) => access.module !== kernelNamespace);
  if (module === systemNamespace) {
    const provided = systemImports.get(name);
    if (provided?.kind !== kind) return `${subject}, which no device provides`;
    if (!provided.for.includes(stamp.kind)) return `${subject}, which only drivers may import`;
    const isNeeded = provided.need === undefined || accesses.length > 0 || (provided.need === 'access or entry' && controlsEntry);
    return isNeeded ? null : `${subject}, but its stamp lists no calls to other modules`;
  }
  if (module === kernelNamespace) {
    const isKnown = kind === 'function' && Object.hasOwn(kernelFunctions, name);
    if (!isKnown) return `${subject}, which the kernel does not provide`;
    if (stamp.kind === 'driver') return `${subject}; a driver must call only its module`;
    return imports.some((listed) => listed.module === module && listed.name === name) ? null : `${subject}, which its stamp does not list`;
  }
  const isTableEntry = module === tableEntryNamespace && kind === 'global' && accesses.some((access) => access.module === name);
  const isOffset =
    kind === 'global' && accesses.some((access) => module === `${offsetNamespacePrefix}${access.module}` && access.name === name);
  return isTableEntry || isOffset ? null : `${subject}, which its stamp does not list`;
}

function findExportError({ name, kind }: WebAssembly.ModuleExportDescriptor, stamp: Stamp): string | null {
  const own = systemExports.get(name);
  if (own?.kind === kind && own.for.includes(stamp.kind)) return null;
  const isListed = kind === 'function' && stamp.interface.exports.some((exported) => exported.name === name);
  return isListed ? null : `it exports "${name}" (${kind}), which its stamp does not list`;
}

/** Checks that a driver calls exactly one export of one module. */
function findDriverError({ kind, ownMemory, hasStart, interface: { exports, imports } }: Stamp): string | null {
  if (kind !== 'driver') return null;
  if (imports.length !== 1) return `it is a driver that calls ${imports.length} functions; expected 1`;
  if (ownMemory || hasStart) return 'it is a driver with a memory or a start function; expected neither';
  const other = exports.find(({ name }) => !driverExports.includes(name));
  return other === undefined ? null : `it is a driver that exports "${other.name}"; expected only ${driverExports.join(' and ')}`;
}

/** Checks that the image does not re-export what the system provides, and does not write to it at instantiation. */
function findSystemAccessError(imports: readonly WebAssembly.ModuleImportDescriptor[], sections: BinarySections): string | null {
  const imported = (kind: ExternKind) => imports.filter((descriptor) => descriptor.kind === kind);
  for (const { name, kind, index } of sections.exports) {
    const source = imported(kind)[index];
    if (source !== undefined && isSystem(source.module))
      return `it re-exports the system's ${kind} "${source.module}" "${source.name}" as "${name}"`;
  }
  for (const index of sections.writtenMemories)
    if (imported('memory')[index] !== undefined) return 'it has a data segment that writes to kernel memory';
  for (const index of sections.writtenTables)
    if (imported('table')[index] !== undefined) return "it has an element segment that writes to the device's address space";
  return null;
}

/** Checks that the stamp declares the memory and the start function; otherwise they would evade the limits of the host. */
function findStampError(sections: BinarySections, { ownMemory, hasStart }: Stamp): string | null {
  if (sections.memories > 0 && !ownMemory) return 'it has its own memory, but its stamp says it has none';
  return sections.hasStart && !hasStart ? 'it has a start function, but its stamp says it has none' : null;
}

const isRecordImport = ({ module, name }: WebAssembly.ModuleImportDescriptor) => module === systemNamespace && name === recordImport;
const isSystem = (namespace: string) => namespace === systemNamespace || namespace.startsWith(`${systemNamespace}:`);
