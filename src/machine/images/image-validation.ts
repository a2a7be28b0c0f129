// The imports and exports that an image may have, checked in the structure of every image: the code reaches only what its stamp names. The compiler's
// signature ensures that the code uses them as the ABI demands (verified-image.ts).

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
import type { FunctionType, Stamp } from './stamp.ts';

type ImageKind = Stamp['kind'];
/** The record of an image, which its entry wrapper imports where accesses wait at the entry. */
const entryImport = 'record';

type BorderKind = WebAssembly.ModuleExportDescriptor['kind'];

type SystemImport = {
  readonly kind: BorderKind;
  /** Images that may import it. */
  readonly for: readonly ImageKind[];
  /** Images that need it: those that call other modules, or those that control who is inside, too. All, where it is not said. */
  readonly need?: 'access' | 'access or entry';
};

/** What the system namespace provides, by name. */
const systemImports: ReadonlyMap<string, SystemImport> = new Map<string, SystemImport>([
  ['memory', { kind: 'memory', for: ['module', 'driver'], need: 'access or entry' }],
  ['space', { kind: 'table', for: ['module', 'driver'], need: 'access' }],
  ['injected', { kind: 'tag', for: ['module', 'driver'], need: 'access or entry' }],
  ['tick', { kind: 'function', for: ['module', 'driver'] }],
  ['suspend', { kind: 'function', for: ['module', 'driver'] }],
  [entryImport, { kind: 'global', for: ['module'] }],
  ['acquire', { kind: 'function', for: ['module'] }],
  ['release', { kind: 'function', for: ['module'] }],
  ['held', { kind: 'function', for: ['module'] }],
  ['hold', { kind: 'function', for: ['module'] }],
  ['collect', { kind: 'function', for: ['module'] }],
  ['commit', { kind: 'function', for: ['driver'] }],
  ['switched', { kind: 'function', for: ['driver'] }],
  ['pause', { kind: 'function', for: ['driver'] }],
]);

/** The only import of a gate. */
const gateImport = 'resolve';

/** What an image may export beside the functions of its interface, by name. */
const systemExports: ReadonlyMap<string, { readonly kind: BorderKind; readonly for: readonly ImageKind[] }> = new Map([
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

/** Values that stand for code or for objects of the host, and would survive the version that they come from. */
const referenceTypes: readonly string[] = ['funcref', 'externref'];

/** Returns why an image must not come into a device's memory, by what it imports and exports; null where it may. */
export function findImageError(code: WebAssembly.Module, sections: BinarySections, stamp: Stamp): string | null {
  const imports = WebAssembly.Module.imports(code);
  return (
    referenceFault(stamp) ??
    firstFault(imports, (imported) => importFault(imported, stamp, imports.some(isEntryImport))) ??
    firstFault(WebAssembly.Module.exports(code), (exported) => exportFault(exported, stamp)) ??
    driverFault(stamp) ??
    reachFault(imports, sections) ??
    stampFault(sections, stamp)
  );
}

/** Returns why a gate is none; null where it is. */
export function findLazyStubError(gate: WebAssembly.Module, stamp: Stamp): string | null {
  for (const { module, name, kind } of WebAssembly.Module.imports(gate))
    if (module !== systemNamespace || name !== gateImport || kind !== 'function')
      return `its gate imports "${module}" "${name}" (${kind}); a gate imports "${systemNamespace}" "${gateImport}" alone`;
  const exported = WebAssembly.Module.exports(gate);
  const isWhole = stamp.interface.exports.every((_, index) =>
    exported.some(({ name, kind }) => name === String(index) && kind === 'function'),
  );
  return isWhole ? null : 'its gate lacks functions of its exports';
}

function firstFault<Item>(items: readonly Item[], faultOf: (item: Item) => string | null): string | null {
  for (const item of items) {
    const fault = faultOf(item);
    if (fault !== null) return fault;
  }
  return null;
}

/** A function reference would survive the patch of the module that it comes from. */
function referenceFault({ interface: { exports, imports } }: Stamp): string | null {
  const has = ({ parameters, results }: FunctionType) => [...parameters, ...results].find((type) => referenceTypes.includes(type));
  for (const one of exports) {
    const type = has(one);
    if (type !== undefined) return `it exports "${one.name}" with the type ${type}: ${noReferences}`;
  }
  for (const one of imports) {
    const type = has(one);
    if (type !== undefined) return `it imports "${one.module}" "${one.name}" with the type ${type}: ${noReferences}`;
  }
  return null;
}

const noReferences =
  'references do not cross the border of a module, because they would outlive its version. Pass a number that stands for the function or object instead';

function importFault({ module, name, kind }: WebAssembly.ModuleImportDescriptor, stamp: Stamp, controlsEntry: boolean): string | null {
  const what = `it imports "${module}" "${name}" (${kind})`;
  const { imports } = stamp.interface;
  const accesses = imports.filter((access) => access.module !== kernelNamespace);
  if (module === systemNamespace) {
    const provided = systemImports.get(name);
    if (provided?.kind !== kind) return `${what}, which no device provides`;
    if (!provided.for.includes(stamp.kind)) return `${what}, which is for drivers of programs only`;
    const isNeeded = provided.need === undefined || accesses.length > 0 || (provided.need === 'access or entry' && controlsEntry);
    return isNeeded ? null : `${what}, and calls no other module by its stamp`;
  }
  if (module === kernelNamespace) {
    const isKnown = kind === 'function' && Object.hasOwn(kernelFunctions, name);
    if (!isKnown) return `${what}, which the kernel does not provide`;
    if (stamp.kind === 'driver') return `${what}; a driver calls its module and nothing else`;
    return imports.some((one) => one.module === module && one.name === name) ? null : `${what}, which its stamp does not list`;
  }
  const isEntry = module === tableEntryNamespace && kind === 'global' && accesses.some((access) => access.module === name);
  const isOffset =
    kind === 'global' && accesses.some((access) => module === `${offsetNamespacePrefix}${access.module}` && access.name === name);
  return isEntry || isOffset ? null : `${what}, which its stamp does not list`;
}

function exportFault({ name, kind }: WebAssembly.ModuleExportDescriptor, stamp: Stamp): string | null {
  const own = systemExports.get(name);
  if (own?.kind === kind && own.for.includes(stamp.kind)) return null;
  const isListed = kind === 'function' && stamp.interface.exports.some((exported) => exported.name === name);
  return isListed ? null : `it exports "${name}" (${kind}), which its stamp does not list`;
}

/** A driver calls one export of one module. */
function driverFault({ kind, ownMemory, hasStart, interface: { exports, imports } }: Stamp): string | null {
  if (kind !== 'driver') return null;
  if (imports.length !== 1) return `it is a driver that calls ${imports.length} functions; a driver calls one`;
  if (ownMemory || hasStart) return 'it is a driver with a memory or a start function of its own';
  const other = exports.find(({ name }) => !driverExports.includes(name));
  return other === undefined ? null : `it is a driver that exports "${other.name}"; a driver exports ${driverExports.join(' and ')}`;
}

/** What belongs to the system is neither handed on nor written to when the image is instantiated. */
function reachFault(imports: readonly WebAssembly.ModuleImportDescriptor[], sections: BinarySections): string | null {
  const imported = (kind: BorderKind) => imports.filter((one) => one.kind === kind);
  for (const { name, kind, index } of sections.exports) {
    const source = imported(kind)[index];
    if (source !== undefined && isSystem(source.module))
      return `it exports "${name}", which is the ${kind} "${source.module}" "${source.name}" of the system`;
  }
  for (const index of sections.writtenMemories)
    if (imported('memory')[index] !== undefined) return 'it has a data segment that writes to the memory of the kernel';
  for (const index of sections.writtenTables)
    if (imported('table')[index] !== undefined) return 'it has an element segment that writes to the address space of the device';
  return null;
}

/** A stamp that hides a memory or a start function would pass by the limits of the host. */
function stampFault(sections: BinarySections, { ownMemory, hasStart }: Stamp): string | null {
  if (sections.memories > 0 && !ownMemory) return 'it has a memory of its own, and its stamp says that it has none';
  return sections.hasStart && !hasStart ? 'it has a start function, and its stamp says that it has none' : null;
}

const isEntryImport = ({ module, name }: WebAssembly.ModuleImportDescriptor) => module === systemNamespace && name === entryImport;
const isSystem = (namespace: string) => namespace === systemNamespace || namespace.startsWith(`${systemNamespace}:`);
