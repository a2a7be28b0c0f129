// Placement: allocates pages for a new image and starts it there; undoes both if the image does not start.

import type { ModuleImage } from '../images/image.ts';
import type { Stamp } from '../images/stamp.ts';
import { type ImageSize, type MemoryRange, outOfMemoryMessage, pagesFor } from '../memory/random-access-memory.ts';
import { sanitizeReason } from '../reason.ts';
import { type Started, startImage } from './image-start.ts';
import type { LoadTarget } from './load-request.ts';
import type { LoadedImage } from './loaded-image.ts';
import type { Reclaimed } from './retired-images.ts';

export type Placement = ({ readonly ok: true; readonly reclaimed: Reclaimed } & Started) | { readonly ok: false; readonly reason: string };

/** Writes an image to unused pages and starts it. If the image does not start, frees its pages and restores the images that it displaced. */
export function placeImage(target: LoadTarget, image: ModuleImage, previous: LoadedImage | null): Placement {
  const { moduleTable, retired, memory } = target;
  const { module } = image.stamp;
  let place: Place | null = null;
  try {
    const { offsets, slots } = moduleTable.layOut(image.stamp);
    const pages = pagesFor(image.bytes);
    place = allocatePages(target, { pages, slots }, image.stamp);
    if (place === null) return { ok: false, reason: outOfMemoryMessage(image.stamp, pages, memoryUsageOf(target)) };
    const started = startImage(target, image, previous, { range: place.range, offsets });
    retired.release(place.reclaimed);
    return { ok: true, ...started, reclaimed: place.reclaimed };
  } catch (error) {
    if (place !== null) {
      memory.free(place.range);
      retired.restore(place.reclaimed);
    }
    if (!(error instanceof Error)) throw error;
    return { ok: false, reason: sanitizeReason(`${module}@${image.stamp.version}: ${error.message}`) };
  }
}

type Place = { readonly range: MemoryRange; readonly reclaimed: Reclaimed };

/** Allocates unused pages, or reclaims pages of images that are not in use. Returns null if both are not enough. */
function allocatePages({ memory, retired }: LoadTarget, size: ImageSize, { module, version }: Stamp): Place | null {
  retired.releaseUnused();
  const owner = { module, version };
  const unused = memory.allocate(size, owner);
  if (unused !== null) return { range: unused, reclaimed: [] };
  const reclaimed = retired.reclaim(size);
  const range = reclaimed && memory.allocate(size, owner);
  return range === null || reclaimed === null ? null : { range, reclaimed };
}

function memoryUsageOf({ memory, retired }: LoadTarget) {
  const reclaimablePages = [...retired.reclaimableRanges()].reduce((sum, { pages }) => sum + pages, 0);
  return { pages: memory.pages, usedPages: memory.usedPages, reclaimablePages };
}
