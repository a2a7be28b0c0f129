// Gates: functions that stand in for an image's own until its first access, which instantiates the image.

import { systemNamespace } from '../abi.ts';
import type { ImagesByRecord } from '../accesses/accessible-image.ts';
import type { ModuleImage } from '../images/image.ts';
import { getExportedFunction } from '../images/instance-exports.ts';
import type { Frames } from '../threads/frames.ts';
import type { RunningThread } from '../threads/running-thread.ts';

export class LazyStubs {
  readonly #images: ImagesByRecord;
  readonly #running: RunningThread;
  readonly #frames: Frames;
  readonly #gates = new WeakMap<ModuleImage, readonly WebAssembly.ExportedFunction[]>();

  constructor(images: ImagesByRecord, running: RunningThread, frames: Frames) {
    this.#images = images;
    this.#running = running;
    this.#frames = frames;
  }

  /** Returns the functions that stand in for an image's own, one for each export. */
  of(image: ModuleImage): readonly WebAssembly.ExportedFunction[] {
    const known = this.#gates.get(image);
    if (known !== undefined) return known;
    const resolve = (index: number) => this.#resolve(index);
    const { exports } = new WebAssembly.Instance(image.lazyStubs, { [systemNamespace]: { resolve } });
    const gate = image.stamp.interface.exports.map((_, index) => getExportedFunction(exports, String(index)));
    this.#gates.set(image, gate);
    return gate;
  }

  /** A gate was entered: the image that the thread has just entered is instantiated, and its function number `index` is called instead. */
  #resolve(index: number): WebAssembly.ExportedFunction {
    const { record } = this.#frames.at(this.#running.stack - 4);
    const image = this.#images.get(record);
    if (image === undefined) throw new Error('a gate was entered by no access');
    return image.functionAt(index);
  }
}
