// A device's module table: module name → the image that is in memory now, in entries that the access stubs read at every call.

import { entryNamespace, exportLimit, offsetNamespacePrefix, tableEntry } from './abi.ts';
import type { Image } from './image.ts';
import { LimitError } from './limit.ts';
import type { LoadedImage } from './loaded-image.ts';
import type { Processor } from './processor.ts';

/** Names that a device's module table can hold, loaded or only imported. */
const entryLimit = 1_000;

type Entry = {
  /** Where the entry is in the kernel's memory. */
  readonly place: number;
  /**
   * An export's distance from the module's address, in pages. It is the same in every version, so that callers need only the address: an export
   * gets the next distance when it is first heard of and keeps it.
   */
  readonly offsets: Map<string, number>;
  current: LoadedImage | null;
};

export class ModuleTable {
  readonly #processor: Processor;
  readonly #entries = new Map<string, Entry>();

  constructor(processor: Processor) {
    this.#processor = processor;
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
   * Where the exports of a module's next version go, in pages from its address.
   * @throws {LimitError} when the module has had more exports than a layout holds.
   */
  layOut(module: string, exports: readonly string[]): number[] {
    const entry = this.#entryOf(module);
    return exports.map((name) => this.#offsetOf(entry, module, name));
  }

  /** One swap: every access from now on enters the new address; null: the module is not in memory any more. */
  update(module: string, image: LoadedImage | null): void {
    const entry = this.#entryOf(module);
    entry.current = image;
    this.#processor.writeEntry(entry.place, image && { address: image.range.firstPage, record: image.record });
  }

  /** The imports by which an image's stubs find the modules that it accesses. */
  importsFor(image: Image): WebAssembly.Imports {
    const entries: Record<string, number> = {};
    const imports: Record<string, Record<string, number>> = { [entryNamespace]: entries };
    for (const { module, name } of image.stamp.interface.imports) {
      const entry = this.#entryOf(module);
      entries[module] = entry.place;
      const namespace = `${offsetNamespacePrefix}${module}`;
      imports[namespace] = { ...imports[namespace], [name]: this.#offsetOf(entry, module, name) };
    }
    return imports;
  }

  /** Gives the entries' cells back; nothing may access the table any more. */
  close(): void {
    for (const { place } of this.#entries.values()) this.#processor.kernelMemory.release(place, tableEntry.bytes);
    this.#entries.clear();
  }

  #entryOf(module: string): Entry {
    const known = this.#entries.get(module);
    if (known !== undefined) return known;
    if (this.#entries.size >= entryLimit) throw new LimitError(`the module table is full: it holds ${entryLimit} names`);
    const place = this.#processor.kernelMemory.allocate(tableEntry.bytes);
    this.#processor.writeEntry(place, null);
    const entry: Entry = { place, offsets: new Map(), current: null };
    this.#entries.set(module, entry);
    return entry;
  }

  #offsetOf(entry: Entry, module: string, name: string): number {
    const known = entry.offsets.get(name);
    if (known !== undefined) return known;
    if (entry.offsets.size >= exportLimit) throw new LimitError(`${module} has had ${exportLimit} exports, as many as a module may have`);
    const offset = entry.offsets.size;
    entry.offsets.set(name, offset);
    return offset;
  }
}
