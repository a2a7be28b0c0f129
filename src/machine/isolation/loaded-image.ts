// An image in a device's memory: its range, its record with the reference count, and its instance once it has been accessed.

import assert from 'node:assert/strict';
import { entryControlImports, fuelExport, imageRecord, initializeExport, memoryExport } from '../abi.ts';
import type { AccessibleImage } from '../accesses/accessible-image.ts';
import { addTaint, type Taint, type TaintReason } from '../accesses/taint.ts';
import type { ModuleImage } from '../images/image.ts';
import { getExportedFunction } from '../images/instance-exports.ts';
import type { Stamp } from '../images/stamp.ts';
import type { MemoryReservation } from '../memory/memory-budget.ts';
import type { MemoryRange, RandomAccessMemory } from '../memory/random-access-memory.ts';
import type { Processor } from '../processor.ts';

/** What a device still knows of an image whose code is gone. */
export type ImageIdentity = { readonly digest: string; readonly stamp: Pick<Stamp, 'module' | 'version' | 'hasState'> };

export class LoadedImage implements AccessibleImage {
  readonly image: ImageIdentity;
  readonly range: MemoryRange;
  /** Address of its record in the kernel's memory. */
  readonly record: number;
  readonly #processor: Processor;
  readonly #memory: RandomAccessMemory;
  readonly #offsets: readonly number[];
  /** How to instantiate it; null once nothing may enter it any more: its code, its instance and its memory are collected then. */
  #code: { readonly image: ModuleImage; readonly imports: () => WebAssembly.Imports } | null;
  #functions: readonly WebAssembly.ExportedFunction[] | null = null;
  #fuel: WebAssembly.Global | null = null;
  #tainted: Taint | null = null;
  readonly #memoryReservation: MemoryReservation | null;

  /**
   * Writes the image to its range: the gate's functions, until the first access instantiates the image itself.
   * @param offsets For each export, its slot in the range.
   * @throws {LimitError} when the host has no memory for the image.
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
    this.image = identityOf(image);
    this.range = place.range;
    this.#offsets = place.offsets;
    this.#code = { image, imports };
    const { tableElements } = image;
    const { memory: size } = image.stamp;
    this.record = processor.kernelMemory.allocate(imageRecord.bytes);
    try {
      this.#memoryReservation = size === null && tableElements === 0 ? null : processor.memoryBudget.reserve(size, tableElements);
    } catch (error) {
      processor.kernelMemory.release(this.record, imageRecord.bytes);
      throw error;
    }
    processor.images.set(this.record, this);
    this.#write(processor.lazyStubsOf(image));
  }

  /** Accesses inside the image now. */
  get referenceCount(): number {
    return this.#processor.referencesOf(this.record).counted;
  }

  /** Accesses inside the image now that entered it by a hard-coded address. */
  get bypassCount(): number {
    return this.#processor.referencesOf(this.record).bypassing;
  }

  /** Abnormal ends of accesses inside the image, if it has state. */
  get tainted(): Taint | null {
    return this.#tainted;
  }

  recordTaint(reason: TaintReason): void {
    if (this.image.stamp.hasState) this.#tainted = addTaint(this.#tainted, reason);
  }

  /** Export number `index`, of the image's instance, which is made now if it has none. */
  functionAt(index: number): WebAssembly.ExportedFunction {
    const found = this.#exports()[index];
    if (found === undefined) throw new Error(`${this.image.stamp.module}@${this.image.stamp.version} has no export number ${index}`);
    return found;
  }

  /** Its exported function of that name, or null where it has none. */
  exported(name: string): WebAssembly.ExportedFunction | null {
    const index = this.#code?.image.stamp.interface.exports.findIndex((exported) => exported.name === name) ?? -1;
    return index < 0 ? null : this.functionAt(index);
  }

  /** What the image exports and imports; null once nothing may enter it any more. */
  get stamp(): Stamp | null {
    return this.#code?.image.stamp ?? null;
  }

  /** Whoever runs in it asks the processor at its next safepoint whether to go on. */
  exhaustFuel(): void {
    if (this.#fuel !== null) this.#fuel.value = 0;
  }

  /** Its pages fault from now on, and its instance is given up. */
  revokeExecute(): void {
    this.#memory.revokeExecute(this.range);
    this.#dropCode();
  }

  /** Takes it out of memory. Its record and its addresses stay, for whoever still holds them: so a stale address is found out. */
  remove(): void {
    this.#memory.remove(this.range);
    this.#dropCode();
  }

  /** Takes its pages away for another image, until `remap` or `release`; nothing may hold its address. */
  unmap(): void {
    this.#memory.revokeExecute(this.range);
    this.#memory.free(this.range);
  }

  /** Takes its pages again, which are as they were before `unmap`. */
  remap(): void {
    this.#memory.insert(this.range);
  }

  /** Lets its instance be collected if nothing may enter the image any more; no access may be inside. */
  releaseInstance(): void {
    if (this.#code !== null) return;
    this.#processor.unregisterInstance(this.record);
    this.#memoryReservation?.release();
  }

  /** Gives its record and its addresses back; nothing may hold them. */
  release(): void {
    assert(this.referenceCount === 0 && this.bypassCount === 0, 'an image whose record goes has nobody inside');
    this.#dropCode();
    this.#memory.free(this.range);
    this.#processor.images.delete(this.record);
    this.releaseInstance();
    this.#processor.kernelMemory.release(this.record, imageRecord.bytes);
  }

  #dropCode(): void {
    this.#code = null;
    this.#functions = null;
    this.#fuel = null;
  }

  #exports(): readonly WebAssembly.ExportedFunction[] {
    if (this.#functions !== null) return this.#functions;
    const { module, version } = this.image.stamp;
    if (this.#code === null) throw new Error(`${module}@${version} has left memory`);
    const { image } = this.#code;
    const imports = this.#code.imports();
    const system = { ...imports['patchbay'], [entryControlImports.record]: this.record };
    const { exports } = this.#processor.instantiate(image, { ...imports, patchbay: system });
    this.#processor.registerInstance(this.record, image, exports);
    const memory = exports[memoryExport];
    if (memory instanceof WebAssembly.Memory) this.#memoryReservation?.attach(memory);
    const fuel = exports[fuelExport];
    this.#fuel = fuel instanceof WebAssembly.Global ? fuel : null;
    // Throws where the fuel is a constant: here it fails the load or the access, in the processor it would end the host.
    this.exhaustFuel();
    const functions = image.stamp.interface.exports.map(({ name }) => getExportedFunction(exports, name));
    this.#functions = functions;
    this.#write(functions);
    if (image.stamp.initialize) this.initialize(getExportedFunction(exports, initializeExport));
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
      this.#memory.table.set(this.range.firstSlot + (this.#offsets[index] ?? 0), exported);
    });
  }
}

function identityOf({ digest, stamp: { module, version, hasState } }: ModuleImage): ImageIdentity {
  return { digest, stamp: { module, version, hasState } };
}
