// A device's module table: module name → the image that is in memory now, in entries that the access stubs read at every call.

import { absentAddress, exportLimit, offsetNamespacePrefix, tableEntry, tableEntryNamespace } from '../abi.ts';
import type { Image } from '../images/image.ts';
import type { ImageInterface } from '../images/stamp.ts';
import { LimitError } from '../limit.ts';
import type { Processor } from '../processor.ts';
import type { LoadedImage } from './loaded-image.ts';

/** Names that a device's module table can hold, loaded or only imported. */
const entryLimit = 1_000;
/** Known exports of a module from which on those that nothing uses any more are looked for. */
const sweepThreshold = 32;
/** Slots of an image are a multiple of this, and at least one is spare: an import of an export that it lacks faults there. */
const slotUnit = 8;

/** Something that is linked to the table. `module`: what it provides; null where it provides nothing. */
export type LinkedInterface = ImageInterface & { readonly module: string | null };

/** Where the exports of an image lie, in slots from its address, and how many slots it takes. */
export type Layout = { readonly offsets: readonly number[]; readonly slots: number };

type Entry = {
  /** Where the entry is in the kernel's memory. */
  readonly place: number;
  /**
   * An export's distance from the module's address, in slots. It is the same in every version, so that callers need only the address: an export
   * gets a distance when it is first imported or exported, and keeps it as long as anything does so.
   */
  readonly offsets: Map<string, number>;
  /** Distances below the largest that no export has, the smallest last. */
  unused: number[];
  /** So many known exports make a sweep due. */
  sweepAt: number;
  current: LoadedImage | null;
  /** The image before, which is the current one again if a drain is in vain. */
  previous: LoadedImage | null;
};

export class ModuleTable {
  readonly #processor: Processor;
  readonly #linked: () => Iterable<LinkedInterface>;
  readonly #entries = new Map<string, Entry>();
  /** The image that was laid out last, which may not be linked yet. */
  #placed: LinkedInterface | null = null;

  /** @param linked All that is linked to the table now. */
  constructor(processor: Processor, linked: () => Iterable<LinkedInterface>) {
    this.#processor = processor;
    this.#linked = linked;
  }

  /** The image in memory under that name. */
  lookUp(module: string): LoadedImage | null {
    return this.#entries.get(module)?.current ?? null;
  }

  /** Every module in memory. */
  get loaded(): LoadedImage[] {
    return [...this.#entries.values()].flatMap(({ current }) => current ?? []);
  }

  /**
   * Places the exports of a module's next version. It has slots for whatever is imported from the module, also for what it does not export.
   * @throws {LimitError} when images and programs use more exports of the module than a layout holds.
   */
  layOut({ module, interface: content }: Image['stamp']): Layout {
    this.#placed = { module, ...content };
    const entry = this.#entryOf(module);
    const offsets = content.exports.map(({ name }) => this.#offsetOf(entry, module, name));
    return { offsets, slots: slotsFor(entry) };
  }

  /** One swap: every access from now on enters the new address. */
  update(module: string, image: LoadedImage): void {
    const entry = this.#entryOf(module);
    entry.previous = entry.current;
    entry.current = image;
    this.#write(entry.place, image);
  }

  /**
   * The imports by which an image's stubs find the modules that it accesses.
   * @throws {LimitError} when it imports an export that the version in memory lacks, and has no slot for.
   */
  importsFor({ stamp }: Image): WebAssembly.Imports {
    const entries: Record<string, number> = {};
    const imports: Record<string, Record<string, number>> = { [tableEntryNamespace]: entries };
    const offsets: LinkedInterface = { module: null, exports: [], imports: stamp.interface.imports };
    for (const { module, name } of stamp.interface.imports) {
      const entry = this.#entryOf(module, offsets);
      entries[module] = entry.place;
      const namespace = `${offsetNamespacePrefix}${module}`;
      imports[namespace] = { ...imports[namespace], [name]: this.#importedOffset(entry, module, name, offsets) };
    }
    return imports;
  }

  /** Gives the entries' cells back; nothing may access the table any more. */
  close(): void {
    for (const { place } of this.#entries.values()) this.#processor.kernelMemory.release(place, tableEntry.bytes);
    this.#entries.clear();
  }

  /** Writes an entry: where no image is, every fetch is past the end of every table. */
  #write(place: number, image: LoadedImage | null): void {
    const { kernelMemory, absentRecord } = this.#processor;
    kernelMemory.words[(place + tableEntry.address) >> 2] = image?.range.firstSlot ?? absentAddress;
    kernelMemory.words[(place + tableEntry.record) >> 2] = image?.record ?? absentRecord;
  }

  /** @param also Images that are being linked. */
  #entryOf(module: string, also: LinkedInterface | null = null): Entry {
    const known = this.#entries.get(module);
    if (known !== undefined) return known;
    if (this.#entries.size >= entryLimit) this.#forgetModules(also);
    if (this.#entries.size >= entryLimit) throw new LimitError(`limit reached (${entryLimit} modules per device, loaded or imported)`);
    const place = this.#processor.kernelMemory.allocate(tableEntry.bytes);
    this.#write(place, null);
    const entry: Entry = { place, offsets: new Map(), unused: [], sweepAt: sweepThreshold, current: null, previous: null };
    this.#entries.set(module, entry);
    return entry;
  }

  #importedOffset(entry: Entry, module: string, name: string, also: LinkedInterface): number {
    const isKnown = entry.offsets.has(name);
    const offset = this.#offsetOf(entry, module, name, also);
    const { current, previous } = entry;
    if (isKnown || current === null || offset < Math.min(current.range.slots, previous?.range.slots ?? offset + 1)) return offset;
    entry.offsets.delete(name);
    entry.unused.push(offset);
    throw new LimitError(
      `${module}@${current.image.stamp.version} does not export ${name.slice(0, 100)}: load a version that exports it first`,
    );
  }

  #offsetOf(entry: Entry, module: string, name: string, also: LinkedInterface | null = null): number {
    const known = entry.offsets.get(name);
    if (known !== undefined) return known;
    if (entry.offsets.size >= entry.sweepAt || entry.offsets.size >= exportLimit) this.#forgetExports(entry, module, also);
    if (entry.offsets.size >= exportLimit)
      throw new LimitError(`limit reached (${exportLimit} exports of ${module} that images and programs on the device use)`);
    const offset = entry.unused.pop() ?? entry.offsets.size;
    entry.offsets.set(name, offset);
    return offset;
  }

  /** Forgets the exports of a module that nothing exports or imports any more. */
  #forgetExports(entry: Entry, module: string, also: LinkedInterface | null): void {
    const used = new Set<string>();
    for (const linked of this.#allLinked(also)) {
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

  /** Forgets the modules that are not in memory and that nothing imports any more. */
  #forgetModules(also: LinkedInterface | null): void {
    const used = new Set<string | null>();
    for (const { module, imports } of this.#allLinked(also)) {
      used.add(module);
      for (const imported of imports) used.add(imported.module);
    }
    for (const [module, { place, current }] of this.#entries) {
      if (current !== null || used.has(module)) continue;
      this.#processor.kernelMemory.release(place, tableEntry.bytes);
      this.#entries.delete(module);
    }
  }

  *#allLinked(also: LinkedInterface | null): Iterable<LinkedInterface> {
    yield* this.#linked();
    if (this.#placed !== null) yield this.#placed;
    if (also !== null) yield also;
  }
}

function highestOf({ offsets }: Entry): number {
  let highest = -1;
  for (const offset of offsets.values()) highest = Math.max(highest, offset);
  return highest;
}

function slotsFor(entry: Entry): number {
  return (Math.floor((highestOf(entry) + 1) / slotUnit) + 1) * slotUnit;
}
