// Lazy stubs stand in for an image's functions. The first access through a stub instantiates the image.

import { systemNamespace } from '../abi.ts';
import type { ImagesByRecord } from '../accesses/accessible-image.ts';
import type { ModuleImage } from '../images/image.ts';
import { getExportedFunction } from '../images/instance-exports.ts';
import type { Frames } from '../threads/frames.ts';
import type { RunningThread } from '../threads/running-thread.ts';

/**
 * Creates stubs for an image, one for each export.
 * @param resolve Called at each call of a stub. Returns the function that the stub calls.
 */
export function createStubs(
  image: ModuleImage,
  resolve: (index: number) => WebAssembly.ExportedFunction,
): readonly WebAssembly.ExportedFunction[] {
  const { exports } = new WebAssembly.Instance(image.lazyStubs, { [systemNamespace]: { resolve } });
  return image.stamp.interface.exports.map((_, index) => getExportedFunction(exports, String(index)));
}

export class LazyStubs {
  readonly #images: ImagesByRecord;
  readonly #running: RunningThread;
  readonly #frames: Frames;
  readonly #stubs = new WeakMap<ModuleImage, readonly WebAssembly.ExportedFunction[]>();

  constructor(images: ImagesByRecord, running: RunningThread, frames: Frames) {
    this.#images = images;
    this.#running = running;
    this.#frames = frames;
  }

  /** Returns the stubs of an image, one for each export. */
  of(image: ModuleImage): readonly WebAssembly.ExportedFunction[] {
    const known = this.#stubs.get(image);
    if (known !== undefined) return known;
    const stubs = createStubs(image, (index) => this.#resolve(index));
    this.#stubs.set(image, stubs);
    return stubs;
  }

  /** Called by a stub: instantiates the image that the thread has just entered, and returns its function with an index. */
  #resolve(index: number): WebAssembly.ExportedFunction {
    const { record } = this.#frames.at(this.#running.stack - 4);
    const image = this.#images.get(record);
    if (image === undefined) throw new Error('a lazy stub was called outside of an access');
    return image.functionAt(index);
  }
}
