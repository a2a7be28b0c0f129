// Placement: allocates pages for all arriving images of a load and starts them there; undoes everything if one of them does not start.

import { LimitError } from '../limit.ts';
import { type ImageSize, type MemoryRange, outOfMemoryMessage, pagesFor } from '../memory/random-access-memory.ts';
import { sanitizeReason } from '../reason.ts';
import { startImages } from './image-start.ts';
import type { ArrivingImage, LoadTarget, Member } from './load-request.ts';
import { LoadedImage } from './loaded-image.ts';
import type { Layout } from './module-table.ts';
import { type PlacedMember, PlacementError, runForMember, type StartFacts } from './placed-member.ts';
import type { Reclaimed } from './retired-images.ts';

export type Placement =
  | { readonly ok: true; readonly placed: readonly (PlacedMember & StartFacts)[] }
  | { readonly ok: false; readonly reason: string };

/** Writes the arriving images to unused pages and starts them. If one does not start, frees the pages and restores the images that gave up theirs. */
export function placeMembers(target: LoadTarget, members: readonly Member[]): Placement {
  const placed: PlacedMember[] = [];
  try {
    const layouts = layOutMembers(target, members);
    for (const member of largestFirst(members)) placed.push(placeMember(target, members, member, layouts.get(member.module)));
    const inOrder = members.flatMap(({ module }) => placed.filter((member) => member.module === module));
    const started = startImages(target, inOrder);
    for (const { reclaimed } of placed) target.retired.release(reclaimed);
    return { ok: true, placed: started };
  } catch (error) {
    for (const { current } of placed) if (current !== null) discard(current);
    for (const { reclaimed } of placed.toReversed()) target.retired.restore(reclaimed);
    if (!(error instanceof Error)) throw error;
    return { ok: false, reason: sanitizeReason(error.message) };
  }
}

/** Sorts members by the size of their images, so that small images do not split the gaps that large ones need. */
function largestFirst(members: readonly Member[]): Member[] {
  const bytesOf = ({ arriving }: Member) => arriving?.image.bytes ?? 0;
  return members.toSorted((left, right) => bytesOf(right) - bytesOf(left));
}

function discard(image: LoadedImage): void {
  image.remove();
  image.release();
}

function layOutMembers({ moduleTable }: LoadTarget, members: readonly Member[]): ReadonlyMap<string, Layout> {
  const stamps = members.flatMap(({ arriving }) => arriving?.image.stamp ?? []);
  try {
    const layouts = moduleTable.layOut(stamps);
    return new Map(stamps.flatMap(({ module }, index) => (layouts[index] === undefined ? [] : [[module, layouts[index]] as const])));
  } catch (error) {
    const [only] = stamps;
    if (!(error instanceof LimitError) || only === undefined || stamps.length > 1) throw error;
    throw new PlacementError(`${only.module}@${only.version}: ${error.message}`, { cause: error });
  }
}

function placeMember(target: LoadTarget, members: readonly Member[], member: Member, layout: Layout | undefined): PlacedMember {
  if (member.arriving === null || layout === undefined) return { ...member, current: null, reclaimed: [] };
  const place = allocatePages(target, member.arriving, layout.slots);
  try {
    const current = writeImage(target, members, member, { image: member.arriving.image, range: place.range, offsets: layout.offsets });
    return { ...member, current, reclaimed: place.reclaimed };
  } catch (error) {
    target.memory.free(place.range);
    target.retired.restore(place.reclaimed);
    throw error;
  }
}

function writeImage(
  { processor, memory, moduleTable }: LoadTarget,
  members: readonly Member[],
  member: Member,
  { image, ...place }: { readonly range: MemoryRange; readonly offsets: readonly number[] } & Pick<ArrivingImage, 'image'>,
): LoadedImage {
  const partners = new Set(members.flatMap(({ module, arriving }) => (arriving === null ? [] : module)));
  const imports = () => ({ patchbay: { space: memory.table }, ...moduleTable.importsFor(image, partners) });
  return runForMember(member, () => new LoadedImage(processor, memory, image, place, imports));
}

type Place = { readonly range: MemoryRange; readonly reclaimed: Reclaimed };

/** Allocates unused pages, or reclaims pages of images that are not in use. @throws {PlacementError} if both are not enough. */
function allocatePages(target: LoadTarget, { image }: ArrivingImage, slots: number): Place {
  const { memory, retired } = target;
  const { module, version } = image.stamp;
  const size: ImageSize = { pages: pagesFor(image.bytes), slots };
  const owner = { module, version };
  retired.releaseUnused();
  const unused = memory.allocate(size, owner);
  if (unused !== null) return { range: unused, reclaimed: [] };
  const reclaimed = retired.reclaim(size);
  const range = reclaimed && memory.allocate(size, owner);
  if (range !== null && reclaimed !== null) return { range, reclaimed };
  throw new PlacementError(outOfMemoryMessage(owner, size.pages, memoryUsageOf(target)));
}

function memoryUsageOf({ memory, retired }: LoadTarget) {
  const reclaimablePages = [...retired.reclaimableRanges()].reduce((sum, { pages }) => sum + pages, 0);
  return { pages: memory.pages, usedPages: memory.usedPages, reclaimablePages };
}
