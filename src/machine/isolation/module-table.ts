// A device's module table: maps each module name to the image in memory, in entries that access stubs read at every call.

import { absentAddress, exportLimit, offsetNamespacePrefix, tableEntry, tableEntryNamespace } from '../abi.ts';
import type { Image } from '../images/image.ts';
import type { ImageInterface } from '../images/stamp.ts';
import { LimitError } from '../limit.ts';
import type { Processor } from '../processor.ts';
import type { LoadedImage } from './loaded-image.ts';

/** Maximum module names in a device's module table, loaded or only imported. */
const moduleLimit = 1_000;
/** Number of known exports from which on unused ones are evicted. */
const sweepThreshold = 32;
/** An image's slots are a multiple of this. At least one slot is spare: imports of an export that the image lacks fault there. */
const slotUnit = 8;

const noModules: ReadonlySet<string> = new Set();

/** An interface that is linked to the table. `module`: the module it provides; null if none. */
export type LinkedInterface = ImageInterface & { readonly module: string | null };

/** Layout of an image: the slot of each export, relative to its address, and the total number of slots. */
export type Layout = { readonly offsets: readonly number[]; readonly slots: number };

type ModuleEntry = {
  /** Address of the entry in kernel memory. */
  readonly address: number;
  /**
   * Slots of the exports, relative to the module's address. They are the same in every version, so callers need only the address. An export gets a
   * slot when it is first imported or exported, and keeps it while any interface uses it.
   */
  readonly offsets: Map<string, number>;
  /** Unassigned slots below the highest assigned one, smallest last. */
  unused: number[];
  /** Number of known exports at which unused ones are evicted. */
  sweepAt: number;
  current: LoadedImage | null;
  /** The previous image while a load may still restore it. */
  previous: LoadedImage | null;
};

export class ModuleTable {
  readonly #processor: Processor;
  readonly #linked: () => Iterable<LinkedInterface>;
  readonly #entries = new Map<string, ModuleEntry>();
  /** The interfaces laid out last, which may not be linked yet. */
  #lastLayouts: readonly LinkedInterface[] = [];

  /** @param linked Returns the interfaces linked to the table. */
  constructor(processor: Processor, linked: () => Iterable<LinkedInterface>) {
    this.#processor = processor;
    this.#linked = linked;
  }

  /** Returns the image in memory under a module name, or null. */
  lookUp(module: string): LoadedImage | null {
    return this.#entries.get(module)?.current ?? null;
  }

  /** All modules in memory. */
  get loaded(): LoadedImage[] {
    return [...this.#entries.values()].flatMap(({ current }) => current ?? []);
  }

  /**
   * Assigns slots to the exports of the next versions of modules. A layout also has slots for imported exports that its version lacks, and for those
   * that the other versions import.
   * @returns The layouts, in the order of the stamps.
   * @throws {LimitError} if images and programs use more exports of a module than a layout holds.
   */
  layOut(stamps: readonly Image['stamp'][]): Layout[] {
    this.#lastLayouts = stamps.map(({ module, interface: content }) => ({ module, ...content }));
    const offsetsOf = stamps.map(({ module, interface: { exports } }) => {
      const entry = this.#entryOf(module);
      return exports.map(({ name }) => this.#offsetOf(entry, module, name));
    });
    const modules = new Set(stamps.map(({ module }) => module));
    for (const { interface: content } of stamps)
      for (const { module, name } of content.imports) if (modules.has(module)) this.#offsetOf(this.#entryOf(module), module, name);
    return stamps.map(({ module }, index) => ({ offsets: offsetsOf[index] ?? [], slots: slotsFor(this.#entryOf(module)) }));
  }

  /** Returns the slot of an export relative to its module's address; null if nothing exports or imports it. */
  offsetOf(module: string, name: string): number | null {
    return this.#entries.get(module)?.offsets.get(name) ?? null;
  }

  /** Makes a module's entry name an image, or none. Only at a safepoint, and until `update` or another call of it. */
  point(module: string, image: LoadedImage | null): void {
    const entry = this.#entryOf(module);
    entry.current = image;
    this.#writeEntry(entry.address, image);
  }

  /** Swaps the module's entry: from now on, every access enters the new address, or faults without an image. `settle` must follow. */
  update(module: string, image: LoadedImage | null): void {
    const entry = this.#entryOf(module);
    entry.previous = entry.current;
    this.point(module, image);
  }

  /**
   * Makes accesses of a module without an image reach the slots of its old version, where stubs decide what to do. A program that keeps the address
   * hard-coded keeps the record of the old version with it.
   */
  leadToOldVersion(module: string, old: LoadedImage): void {
    this.#writeEntry(this.#entryOf(module).address, old);
  }

  /** Returns the record of the module's accesses while no image is loaded. */
  absentRecordOf(module: string): number {
    return this.#entryOf(module).address;
  }

  /** Ends a load: its module's previous image is not restored any more. */
  settle(module: string): void {
    const entry = this.#entries.get(module);
    if (entry !== undefined) entry.previous = null;
  }

  /**
   * Returns the imports with which an image's stubs find the modules that it calls.
   * @param partners Modules that are only called while they have the version that arrived with the image.
   * @throws {LimitError} if the image imports an export that the version in memory lacks and has no slot for.
   */
  importsFor({ kind, stamp }: Image, partners: ReadonlySet<string> = noModules): WebAssembly.Imports {
    const entries: Record<string, number> = {};
    const imports: Record<string, Record<string, number>> = { [tableEntryNamespace]: entries };
    const offsets: LinkedInterface = { module: null, exports: [], imports: stamp.interface.imports };
    const importer = kind === 'driver' ? 'the driver' : `${stamp.module}@${stamp.version}`;
    for (const { module, name } of stamp.interface.imports) {
      const entry = this.#entryOf(module, offsets);
      entries[module] = entry.address;
      const namespace = `${offsetNamespacePrefix}${module}`;
      const offset = this.#importedOffset(entry, { importer, module, name }, offsets, partners.has(module));
      imports[namespace] = { ...imports[namespace], [name]: offset };
    }
    return imports;
  }

  /** Returns the module whose entry has an address in kernel memory, or null. */
  moduleAt(address: number): string | null {
    for (const [module, entry] of this.#entries) if (entry.address === address) return module;
    return null;
  }

  /** Frees the entries; no access may use the table any more. */
  close(): void {
    for (const { address } of this.#entries.values()) this.#processor.kernelMemory.release(address, tableEntry.bytes);
    this.#entries.clear();
  }

  /** Writes an entry. Without an image, every fetch is past the end of every table, and the frame of the access names the entry. */
  #writeEntry(address: number, image: LoadedImage | null): void {
    const { kernelMemory } = this.#processor;
    kernelMemory.words[(address + tableEntry.address) >> 2] = image?.range.firstSlot ?? absentAddress;
    kernelMemory.words[(address + tableEntry.record) >> 2] = image?.record ?? address;
  }

  /** @param pending An interface that is being linked. */
  #entryOf(module: string, pending: LinkedInterface | null = null): ModuleEntry {
    const known = this.#entries.get(module);
    if (known !== undefined) return known;
    if (this.#entries.size >= moduleLimit) this.#evictUnusedModules(pending);
    if (this.#entries.size >= moduleLimit) throw new LimitError(`limit reached (${moduleLimit} modules per device, loaded or imported)`);
    const address = this.#processor.kernelMemory.allocate(tableEntry.bytes);
    this.#writeEntry(address, null);
    const entry: ModuleEntry = { address, offsets: new Map(), unused: [], sweepAt: sweepThreshold, current: null, previous: null };
    this.#entries.set(module, entry);
    return entry;
  }

  #importedOffset(
    entry: ModuleEntry,
    { importer, module, name }: { readonly importer: string; readonly module: string; readonly name: string },
    pending: LinkedInterface,
    isPartner: boolean,
  ): number {
    const isKnown = entry.offsets.has(name);
    const offset = this.#offsetOf(entry, module, name, pending);
    // Past the slots of a version that is or may be in the table again are those of another module.
    const versions = isPartner ? [entry.current] : [entry.current, entry.previous];
    const lacking = versions.find((image) => image !== null && offset >= image.range.slots);
    if (!lacking) return offset;
    if (!isKnown) {
      entry.offsets.delete(name);
      entry.unused.push(offset);
    }
    throw new LimitError(
      `${importer} imports ${module}.${name.slice(0, 100)}, but ${module}@${lacking.image.stamp.version} does not export it: load a version that exports it first`,
    );
  }

  #offsetOf(entry: ModuleEntry, module: string, name: string, pending: LinkedInterface | null = null): number {
    const known = entry.offsets.get(name);
    if (known !== undefined) return known;
    if (entry.offsets.size >= entry.sweepAt || entry.offsets.size >= exportLimit) this.#evictUnusedExports(entry, module, pending);
    if (entry.offsets.size >= exportLimit)
      throw new LimitError(`limit reached (${exportLimit} exports of ${module} in use by images and programs on the device)`);
    const offset = entry.unused.pop() ?? entry.offsets.size;
    entry.offsets.set(name, offset);
    return offset;
  }

  /** Evicts the exports of a module that no linked interface exports or imports. */
  #evictUnusedExports(entry: ModuleEntry, module: string, pending: LinkedInterface | null): void {
    const used = new Set<string>();
    for (const linked of this.#allLinked(pending)) {
      if (linked.module === module) for (const { name } of linked.exports) used.add(name);
      for (const imported of linked.imports) if (imported.module === module) used.add(imported.name);
    }
    for (const name of entry.offsets.keys()) if (!used.has(name)) entry.offsets.delete(name);
    const taken = new Set(entry.offsets.values());
    entry.unused = Array.from({ length: highestOf(entry) + 1 }, (_, offset) => offset)
      .filter((offset) => !taken.has(offset))
      .toReversed();
    entry.sweepAt = Math.max(sweepThreshold, 2 * entry.offsets.size);
  }

  /** Evicts the modules that are not in memory and that no linked interface imports. */
  #evictUnusedModules(pending: LinkedInterface | null): void {
    const used = new Set<string | null>();
    for (const { module, imports } of this.#allLinked(pending)) {
      used.add(module);
      for (const imported of imports) used.add(imported.module);
    }
    for (const [module, { address, current }] of this.#entries) {
      if (current !== null || used.has(module)) continue;
      this.#processor.kernelMemory.release(address, tableEntry.bytes);
      this.#entries.delete(module);
    }
  }

  *#allLinked(pending: LinkedInterface | null): Iterable<LinkedInterface> {
    yield* this.#linked();
    yield* this.#lastLayouts;
    if (pending !== null) yield pending;
  }
}

function highestOf({ offsets }: ModuleEntry): number {
  let highest = -1;
  for (const offset of offsets.values()) highest = Math.max(highest, offset);
  return highest;
}

function slotsFor(entry: ModuleEntry): number {
  return (Math.floor((highestOf(entry) + 1) / slotUnit) + 1) * slotUnit;
}
