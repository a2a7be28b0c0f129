// The linker: instantiates images with the machine's imports, and registers what the machine keeps for each instance.

import { kernelNamespace, systemNamespace } from '../abi.ts';
import type { AtomicCalls } from '../accesses/atomic-calls.ts';
import type { CStacks } from '../accesses/c-stacks.ts';
import type { GarbageCollectors } from '../accesses/garbage-collectors.ts';
import type { Ownership } from '../accesses/ownership.ts';
import type { Image, ModuleImage } from '../images/image.ts';

type Imports = Readonly<Record<string, WebAssembly.ImportValue>>;

type Dependencies = {
  readonly systemCalls: Imports;
  readonly kernelCalls: Imports;
  readonly atomicCalls: AtomicCalls;
  readonly cStacks: CStacks;
  readonly ownership: Ownership;
  readonly garbageCollectors: GarbageCollectors;
};

export class Linker {
  readonly #dependencies: Dependencies;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  /**
   * Instantiates an image and runs its start function, if any.
   * @throws {LimitError} if the start function runs too long.
   */
  instantiate(image: Image, deviceImports: WebAssembly.Imports): WebAssembly.Instance {
    const { systemCalls, kernelCalls, atomicCalls } = this.#dependencies;
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
   * Registers an instance: its C stack is switched with the threads inside, its owner is tracked if it is exclusive, and its garbage collector runs
   * while no access is inside.
   * @throws {Error} if the instance does not export what its stamp says.
   */
  registerInstance(record: number, { stamp }: ModuleImage, exports: WebAssembly.Instance['exports']): void {
    const { cStacks, ownership, garbageCollectors } = this.#dependencies;
    if (stamp.stack !== null) cStacks.add(record, stamp, exports);
    if (stamp.concurrency === 'exclusive') ownership.add(record);
    garbageCollectors.add(record, exports);
  }

  /** Undoes `registerInstance`; no access may be inside the image. */
  unregisterInstance(record: number): void {
    const { cStacks, ownership, garbageCollectors } = this.#dependencies;
    cStacks.remove(record);
    ownership.remove(record);
    garbageCollectors.remove(record);
  }
}
