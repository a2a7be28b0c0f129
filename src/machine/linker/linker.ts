// The linker: instantiates images with what they import of the machine, and prepares what the machine keeps of each instance.

import { kernelNamespace, systemNamespace } from '../abi.ts';
import type { AtomicCalls } from '../accesses/atomic-calls.ts';
import type { CStacks } from '../accesses/c-stacks.ts';
import type { GarbageCollectors } from '../accesses/garbage-collectors.ts';
import type { Ownership } from '../accesses/ownership.ts';
import type { Image, ModuleImage } from '../images/image.ts';

type Imports = Readonly<Record<string, WebAssembly.ImportValue>>;

type Surroundings = {
  readonly systemCalls: Imports;
  readonly kernelCalls: Imports;
  readonly atomicCalls: AtomicCalls;
  readonly imageStacks: CStacks;
  readonly ownership: Ownership;
  readonly collections: GarbageCollectors;
};

export class Linker {
  readonly #surroundings: Surroundings;

  constructor(surroundings: Surroundings) {
    this.#surroundings = surroundings;
  }

  /**
   * Instantiates an image; its start function, if any, runs now.
   * @throws {LimitError} when the start function runs too long.
   */
  instantiate(image: Image, deviceImports: WebAssembly.Imports): WebAssembly.Instance {
    const { systemCalls, kernelCalls, atomicCalls } = this.#surroundings;
    return atomicCalls.run(
      () =>
        new WebAssembly.Instance(image.code, {
          ...deviceImports,
          [systemNamespace]: { ...systemCalls, ...deviceImports[systemNamespace] },
          [kernelNamespace]: kernelCalls,
        }),
    );
  }

  /**
   * Prepares what an instance of an image needs of the processor: its C stack is switched with the threads inside, its owner is kept if it is
   * exclusive, and its collector runs while no access is inside.
   * @throws {Error} when the instance does not export what its stamp says.
   */
  registerInstance(record: number, { stamp }: ModuleImage, exports: WebAssembly.Instance['exports']): void {
    const { imageStacks, ownership, collections } = this.#surroundings;
    if (stamp.stack !== null) imageStacks.add(record, stamp, exports);
    if (stamp.concurrency === 'exclusive') ownership.add(record);
    collections.add(record, exports);
  }

  /** Forgets what is kept of an image that no access is inside of. */
  unregisterInstance(record: number): void {
    const { imageStacks, ownership, collections } = this.#surroundings;
    imageStacks.remove(record);
    ownership.remove(record);
    collections.remove(record);
  }
}
