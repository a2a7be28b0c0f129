// An image in a device's memory: its range, its record with the reference count, and its instance once it has been accessed.

import assert from 'node:assert/strict';
import { entryImports, fuelExport, imageRecord, initializeExport } from './abi.ts';
import type { ModuleImage } from './image.ts';
import { type Enterable, functionOf, type Processor } from './processor.ts';
import type { MemoryRange, RandomAccessMemory } from './random-access-memory.ts';
import { type Taint, type TaintReason, taintedAgain } from './taint.ts';

export class LoadedImage implements Enterable {
  readonly image: ModuleImage;
  readonly range: MemoryRange;
  /** Address of its record in the kernel's memory. */
  readonly record: number;
  readonly #processor: Processor;
  readonly #memory: RandomAccessMemory;
  readonly #offsets: readonly number[];
  readonly #imports: () => WebAssembly.Imports;
  #functions: readonly WebAssembly.ExportedFunction[] | null = null;
  #fuel: WebAssembly.Global | null = null;
  #tainted: Taint | null = null;

  /**
   * Writes the image to its range: the gate's functions, until the first access instantiates the image itself.
   * @param offsets For each export, its page in the range.
   */
  constructor(
    processor: Processor,
    memory: RandomAccessMemory,
    image: ModuleImage,
    place: { readonly range: MemoryRange; readonly offsets: readonly number[] },
    imports: () => WebAssembly.Imports,
  ) {
    this.#processor = processor;
    this.#memory = memory;
    this.image = image;
    this.range = place.range;
    this.#offsets = place.offsets;
    this.#imports = imports;
    this.record = processor.kernelMemory.allocate(imageRecord.bytes);
    processor.images.set(this.record, this);
    this.#write(processor.gateOf(image));
  }

  /** Accesses inside the image now. */
  get referenceCount(): number {
    return this.#processor.referencesOf(this.record).counted;
  }

  /** Accesses inside the image now that entered it by a hard-coded address. */
  get bypassing(): number {
    return this.#processor.referencesOf(this.record).bypassing;
  }

  /** Abnormal ends of accesses inside the image, if it has state. */
  get tainted(): Taint | null {
    return this.#tainted;
  }

  taint(reason: TaintReason): void {
    if (this.image.stamp.hasState) this.#tainted = taintedAgain(this.#tainted, reason);
  }

  /** Export number `index`, of the image's instance, which is made now if it has none. */
  functionAt(index: number): WebAssembly.ExportedFunction {
    this.#functions ??= this.#instantiate();
    const found = this.#functions[index];
    if (found === undefined) throw new Error(`${this.image.stamp.module}@${this.image.stamp.version} has no export number ${index}`);
    return found;
  }

  /** Its exported function of that name, or null where it has none. */
  exported(name: string): WebAssembly.ExportedFunction | null {
    const index = this.image.stamp.interface.exports.findIndex((exported) => exported.name === name);
    return index < 0 ? null : this.functionAt(index);
  }

  /** Whoever runs in it asks the processor at its next safepoint whether to go on. */
  useUpFuel(): void {
    if (this.#fuel !== null) this.#fuel.value = 0;
  }

  /** Its pages fault from now on, and its instance is given up. */
  forbidFetches(): void {
    this.#memory.forbidFetches(this.range);
    this.#functions = null;
  }

  /** Takes it out of memory. Its record and its addresses stay, for whoever still holds them: so a stale address is found out. */
  remove(): void {
    this.#memory.remove(this.range);
    this.#functions = null;
  }

  /** Gives its record and its addresses back; nothing may hold them. */
  release(): void {
    assert(this.referenceCount === 0 && this.bypassing === 0, 'an image whose record goes has nobody inside');
    this.#memory.free(this.range);
    this.#processor.images.delete(this.record);
    this.#processor.forget(this.record);
    this.#processor.kernelMemory.release(this.record, imageRecord.bytes);
  }

  #instantiate(): readonly WebAssembly.ExportedFunction[] {
    const imports = this.#imports();
    const system = { ...imports['patchbay'], [entryImports.record]: this.record };
    const { exports } = this.#processor.instantiate(this.image, { ...imports, patchbay: system });
    this.#processor.prepare(this.record, this.image, exports);
    const fuel = exports[fuelExport];
    this.#fuel = fuel instanceof WebAssembly.Global ? fuel : null;
    const functions = this.image.stamp.interface.exports.map(({ name }) => functionOf(exports, name));
    this.#write(functions);
    if (this.image.stamp.initialize) this.initialize(functionOf(exports, initializeExport));
    return functions;
  }

  /** Calls the function by which a reactor initializes itself. @throws {Error} when it traps or runs too long. */
  initialize(run: WebAssembly.ExportedFunction): void {
    try {
      this.#processor.runAtomically(() => run());
    } catch (error) {
      throw new Error(`its _initialize failed: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
    }
  }

  #write(functions: readonly WebAssembly.ExportedFunction[]): void {
    functions.forEach((exported, index) => {
      this.#memory.table.set(this.range.firstPage + (this.#offsets[index] ?? 0), exported);
    });
  }
}
