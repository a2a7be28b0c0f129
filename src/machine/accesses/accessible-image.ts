// The images in memory, as the processor sees them: by the records that frames name.

import type { Stamp } from '../images/stamp.ts';
import type { MemoryRange } from '../memory/random-access-memory.ts';
import type { TaintReason } from './taint.ts';

/** An image in a device's memory. */
export type AccessibleImage = {
  readonly image: { readonly stamp: { readonly module: string; readonly version: string } };
  /** The image's stamp; null once no access may enter it. */
  readonly stamp: Stamp | null;
  readonly range: MemoryRange;
  readonly referenceCount: number;
  readonly bypassCount: number;
  functionAt(index: number): WebAssembly.ExportedFunction;
  /** Records that an access exited abnormally inside the image. */
  recordTaint(reason: TaintReason): void;
};

/** The images of all devices, by the address of their record. */
export type ImagesByRecord = Map<number, AccessibleImage>;

/** Returns the name and version of a record's image, for messages. */
export function formatImageName(images: ImagesByRecord, record: number): string {
  const stamp = images.get(record)?.image.stamp;
  return stamp === undefined ? 'a removed module' : `${stamp.module}@${stamp.version}`;
}
