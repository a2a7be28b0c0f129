// A processor that lets tests inspect the address space of its newest device and the frames of its threads.

import { bypassBit, threadBlock } from '../../src/machine/abi.ts';
import type { AccessibleImage } from '../../src/machine/accesses/accessible-image.ts';
import type { Image } from '../../src/machine/images/image.ts';
import { Processor } from '../../src/machine/index.ts';
import { LoadedImage } from '../../src/machine/isolation/loaded-image.ts';
import type { ThreadGroup } from '../../src/machine/threads/run-queue.ts';
import type { Frame, Thread, ThreadOwner } from '../../src/machine/threads/thread.ts';

export class WatchedProcessor extends Processor {
  /** Address space of the newest device, taken from the first image that imports it; before that, nothing can be fetched. */
  #space: WebAssembly.Table | null = null;
  /** The newest thread of each block. */
  readonly #threads = new Map<number, Thread>();

  override createGroup(): ThreadGroup<Thread> {
    this.#space = null;
    return super.createGroup();
  }

  override createThread(owner: ThreadOwner, group: ThreadGroup<Thread>, callDeadline: number | null): Thread {
    const thread = super.createThread(owner, group, callDeadline);
    this.#threads.set(thread.block, thread);
    return thread;
  }

  override instantiate(image: Image, deviceImports: WebAssembly.Imports): WebAssembly.Instance {
    const space = deviceImports['patchbay']?.['space'];
    if (space instanceof WebAssembly.Table) this.#space = space;
    return super.instantiate(image, deviceImports);
  }

  /** Returns, for each address at which a fetch finds code, the image that has the address; null if none has it. */
  fetchable(): (AccessibleImage | null)[] {
    const found: (AccessibleImage | null)[] = [];
    const images = [...this.images.values()];
    for (let slot = 0; slot < (this.#space?.length ?? 0); slot += 1) {
      if (this.#space?.get(slot) === null) continue;
      found.push(images.find(({ range }) => slot >= range.firstSlot && slot < range.firstSlot + range.slots) ?? null);
    }
    return found;
  }

  /** Returns the images in memory by record. */
  loadedImages(): ReadonlyMap<number, LoadedImage> {
    return new Map([...this.images].flatMap(([record, image]) => (image instanceof LoadedImage ? [[record, image] as const] : [])));
  }

  /** Returns every access of every thread, read from the threads' own frames. Only while no thread has the processor. */
  accesses(): Frame[] {
    return this.stacks().flat();
  }

  /** Returns the accesses of each thread, outermost first. Only while no thread has the processor. */
  stacks(): Frame[][] {
    return [...this.#threads.values()].map(({ block, stack }) => {
      const first = (block + threadBlock.frames) >> 2;
      return Array.from(this.kernelMemory.words.subarray(first, stack >> 2), (frame) => ({
        record: frame & ~bypassBit,
        isBypass: (frame & bypassBit) !== 0,
      }));
    });
  }
}
