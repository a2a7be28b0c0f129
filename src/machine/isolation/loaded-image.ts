// An image in a device's memory: its range, its record with the reference count, and, after the first access, its instance.

import assert from 'node:assert/strict';
import { entryControlImports, fuelExport, imageRecord, initializeExport, memoryExport } from '../abi.ts';
import type { AccessibleImage } from '../accesses/accessible-image.ts';
import { addTaint, type Taint, type TaintReason } from '../accesses/taint.ts';
import type { ModuleImage } from '../images/image.ts';
import { getExportedFunction } from '../images/instance-exports.ts';
import type { Stamp } from '../images/stamp.ts';
import { createStubs } from '../linker/lazy-stubs.ts';
import type { MemoryReservation } from '../memory/memory-budget.ts';
import type { MemoryRange, RandomAccessMemory } from '../memory/random-access-memory.ts';
import type { Processor } from '../processor.ts';

/** Identity of an image, which outlives its code. */
export type ImageIdentity = { readonly digest: string; readonly stamp: Pick<Stamp, 'module' | 'version' | 'hasState'> };

export class LoadedImage implements AccessibleImage {
  readonly image: ImageIdentity;
  readonly range: MemoryRange;
  /** Address of its record in kernel memory. */
  readonly record: number;
  readonly #processor: Processor;
  readonly #memory: RandomAccessMemory;
  readonly #offsets: readonly number[];
  /** The image and its imports; null once no access may enter, so that code, instance and memory can be garbage-collected. */
  #code: { readonly image: ModuleImage; readonly imports: () => WebAssembly.Imports } | null;
  #functions: readonly WebAssembly.ExportedFunction[] | null = null;
  /** Indices of the exports by name: a version gate finds an export at each access. */
  #indices: ReadonlyMap<string, number> | null = null;
  #fuel: WebAssembly.Global | null = null;
  /** Whether stubs of a version gate are in its slots. */
  #isGated = false;
  #tainted: Taint | null = null;
  readonly #memoryReservation: MemoryReservation | null;

  /**
   * Writes lazy stubs to the image's range; the first access instantiates the image and replaces them.
   * @param place The range, and the slot of each export in it.
   * @throws {LimitError} if the host has no memory for the image.
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
    this.#writeSlots(processor.lazyStubsOf(image));
  }

  /** Accesses inside the image that entered through the module table. */
  get referenceCount(): number {
    return this.#processor.referencesOf(this.record).counted;
  }

  /** Accesses inside the image that entered by a hard-coded address. */
  get bypassCount(): number {
    return this.#processor.referencesOf(this.record).bypassing;
  }

  /** Abnormal exits of accesses inside the image, if it has state. */
  get tainted(): Taint | null {
    return this.#tainted;
  }

  recordTaint(reason: TaintReason): void {
    if (this.image.stamp.hasState) this.#tainted = addTaint(this.#tainted, reason);
  }

  /** Returns the export with an index, instantiating the image if necessary. */
  functionAt(index: number): WebAssembly.ExportedFunction {
    const found = this.#exports()[index];
    if (found === undefined) throw new Error(`${this.image.stamp.module}@${this.image.stamp.version} has no export with index ${index}`);
    return found;
  }

  /** Returns the exported function with a name; null if there is none. */
  exported(name: string): WebAssembly.ExportedFunction | null {
    if (this.#code === null) return null;
    const { exports } = this.#code.image.stamp.interface;
    this.#indices ??= new Map(exports.map((exported, index) => [exported.name, index]));
    const index = this.#indices.get(name);
    return index === undefined ? null : this.functionAt(index);
  }

  /** The image's stamp; null once no access may enter it. */
  get stamp(): Stamp | null {
    return this.#code?.image.stamp ?? null;
  }

  /** Creates stubs with the types of its exports. @param resolve Returns the function that a call of the stub with an index calls. */
  createStubs(resolve: (index: number) => WebAssembly.ExportedFunction): readonly WebAssembly.ExportedFunction[] {
    return this.#code === null ? [] : createStubs(this.#code.image, resolve);
  }

  /** Puts the stubs of a version gate in its slots, in which accesses find them instead of its functions. */
  openGate(stubs: ReadonlyMap<number, WebAssembly.ExportedFunction>): void {
    this.#isGated = true;
    for (const [offset, stub] of stubs) this.#memory.table.set(this.range.firstSlot + offset, stub);
  }

  /** Puts its own functions in its slots again. */
  closeGate(): void {
    if (!this.#isGated) return;
    this.#isGated = false;
    if (this.#code === null) return;
    this.#memory.revokeExecute(this.range);
    this.#writeSlots(this.#functions ?? this.#processor.lazyStubsOf(this.#code.image));
  }

  /** Makes running threads call the processor at their next safepoint in this image. */
  exhaustFuel(): void {
    if (this.#fuel !== null) this.#fuel.value = 0;
  }

  /** Makes fetches from its pages fault, and drops its instance. */
  revokeExecute(): void {
    this.#memory.revokeExecute(this.range);
    this.#dropCode();
  }

  /** Removes the image from memory. Its record and addresses remain for programs with a stale address, whose calls then fault. */
  remove(): void {
    this.#memory.remove(this.range);
    this.#dropCode();
  }

  /** Gives up its pages to another image until `remap` or `release`; no program may hold its address. */
  unmap(): void {
    this.#memory.revokeExecute(this.range);
    this.#memory.free(this.range);
  }

  /** Takes back its pages, unchanged since `unmap`. */
  remap(): void {
    this.#memory.insert(this.range);
  }

  /** Unregisters its instance if no access may enter any more; no access may be inside. */
  releaseInstance(): void {
    if (this.#code !== null) return;
    this.#processor.unregisterInstance(this.record);
    this.#memoryReservation?.release();
  }

  /** Frees its record and addresses; nothing may hold them. */
  release(): void {
    assert(this.referenceCount === 0 && this.bypassCount === 0, 'an image is released while an access is inside');
    this.#dropCode();
    this.#memory.free(this.range);
    this.#processor.images.delete(this.record);
    this.releaseInstance();
    this.#processor.kernelMemory.release(this.record, imageRecord.bytes);
  }

  #dropCode(): void {
    this.#code = null;
    this.#functions = null;
    this.#indices = null;
    this.#fuel = null;
  }

  #exports(): readonly WebAssembly.ExportedFunction[] {
    if (this.#functions !== null) return this.#functions;
    const { module, version } = this.image.stamp;
    if (this.#code === null) throw new Error(`${module}@${version} was removed from memory`);
    const { image } = this.#code;
    const imports = this.#code.imports();
    const system = { ...imports['patchbay'], [entryControlImports.record]: this.record };
    const { exports } = this.#processor.instantiate(image, { ...imports, patchbay: system });
    this.#processor.registerInstance(this.record, image, exports);
    const memory = exports[memoryExport];
    if (memory instanceof WebAssembly.Memory) this.#memoryReservation?.attach(memory);
    const fuel = exports[fuelExport];
    this.#fuel = fuel instanceof WebAssembly.Global ? fuel : null;
    // Throws if the fuel global is immutable. Here that fails the load or the access; in the processor it would end the host.
    this.exhaustFuel();
    const functions = image.stamp.interface.exports.map(({ name }) => getExportedFunction(exports, name));
    this.#functions = functions;
    if (!this.#isGated) this.#writeSlots(functions);
    if (image.stamp.initialize) this.initialize(getExportedFunction(exports, initializeExport));
    return functions;
  }

  /** Calls a reactor's initialization function. @throws {Error} if the function traps or runs too long. */
  initialize(run: WebAssembly.ExportedFunction): void {
    try {
      this.#processor.runAtomically(() => run());
    } catch (error) {
      throw new Error(`its _initialize failed: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
    }
  }

  #writeSlots(functions: readonly WebAssembly.ExportedFunction[]): void {
    functions.forEach((exported, index) => {
      this.#memory.table.set(this.range.firstSlot + (this.#offsets[index] ?? 0), exported);
    });
  }
}

function identityOf({ digest, stamp: { module, version, hasState } }: ModuleImage): ImageIdentity {
  return { digest, stamp: { module, version, hasState } };
}
