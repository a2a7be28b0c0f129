// A device's executable memory: pages with flags and owners, and the WebAssembly table whose slots back those pages.

/** Page size in bytes. */
export const pageBytes = 4_096;

/** Formats the byte address of a page, in hexadecimal. */
export function formatAddress(page: number): string {
  return `0x${(page * pageBytes).toString(16)}`;
}

/** A range of pages with one owner. */
export type MemoryRange = {
  readonly firstPage: number;
  readonly pages: number;
  /** Table slots, one for each export; an access fetches from a slot. */
  readonly firstSlot: number;
  readonly slots: number;
  readonly owner: { readonly module: string; readonly version: string };
  /** False: the pages were deleted. Their addresses are not reused while a program holds them. */
  present: boolean;
  valid: boolean;
  /** No execute: a fetch from these pages faults. */
  nx: boolean;
};

/** Maximum table slots of a device; V8 allows ten million. */
const slotLimit = 1_000_000;

/**
 * Executable memory. A range of pages has a range of table slots, through which its exports are called. Clearing the slots implements the NX flag: a
 * call then traps in the engine. Page 0 and slot 0 are never allocated, so that address zero means none.
 */
export class RandomAccessMemory {
  readonly pages: number;
  /** Grows when slots are first used, so that a large empty memory costs nothing. */
  readonly table: WebAssembly.Table;
  /** Sorted by first page. */
  readonly #ranges: MemoryRange[] = [];
  /** End of the last allocation. The search continues there, so that a freed address is not reused soon. */
  #cursor = 1;
  #slotCursor = 1;

  /** @param pages Pages of 4 KiB; minimum 2. */
  constructor(pages: number) {
    this.pages = pages;
    this.table = new WebAssembly.Table({ element: 'anyfunc', initial: 1, maximum: slotLimit });
  }

  get ranges(): readonly MemoryRange[] {
    return this.#ranges;
  }

  get usedPages(): number {
    return this.#ranges.reduce((sum, range) => sum + range.pages, 0);
  }

  /** Allocates unused pages and slots; returns null if there is no large enough gap. */
  allocate({ pages, slots }: ImageSize, owner: MemoryRange['owner']): MemoryRange | null {
    const firstPage = findGap(this.#ranges, pages, this.#cursor, this.pages) ?? findGap(this.#ranges, pages, 1, this.pages);
    if (firstPage === null) return null;
    const firstSlot = this.#findSlots(slots);
    if (firstSlot === null) return null;
    const range: MemoryRange = { firstPage, pages, firstSlot, slots, owner, present: true, valid: true, nx: false };
    this.insert(range);
    this.#cursor = firstPage + pages;
    this.#slotCursor = firstSlot + slots;
    if (this.#slotCursor > this.table.length) this.table.grow(this.#slotCursor - this.table.length);
    return range;
  }

  /** Uses slots that were never used only if no others suffice, so that the table stays short. */
  #findSlots(slots: number): number | null {
    const taken = slotRanges(this.#ranges);
    return (
      findGap(taken, slots, this.#slotCursor, this.table.length) ??
      findGap(taken, slots, 1, this.table.length) ??
      findGap(taken, slots, 1, slotLimit)
    );
  }

  /** Inserts a range that was freed; its pages must be unused. */
  insert(range: MemoryRange): void {
    const place = this.#ranges.findIndex((other) => other.firstPage > range.firstPage);
    this.#ranges.splice(place < 0 ? this.#ranges.length : place, 0, range);
  }

  /** Makes fetches from the range trap. The flags, which the caller sets, explain why. */
  revokeExecute(range: MemoryRange): void {
    for (let slot = range.firstSlot; slot < range.firstSlot + range.slots; slot += 1) this.table.set(slot, null);
  }

  /** Deletes the pages. Their addresses are not reused until the range is freed. */
  remove(range: MemoryRange): void {
    this.revokeExecute(range);
    range.present = false;
  }

  /** Makes the addresses of a range available again. */
  free(range: MemoryRange): void {
    const place = this.#ranges.indexOf(range);
    if (place >= 0) this.#ranges.splice(place, 1);
  }
}

/** Pages and slots of an image. */
export type ImageSize = { readonly pages: number; readonly slots: number };

/** Returns the pages that an image of a size in bytes needs. */
export function pagesFor(bytes: number): number {
  return Math.ceil(bytes / pageBytes);
}

/** Returns the slots of ranges in the form and order in which `findGap` and `planReclamation` take pages. */
function slotRanges(ranges: readonly MemoryRange[]): { readonly firstPage: number; readonly pages: number; readonly range: MemoryRange }[] {
  return ranges
    .map((range) => ({ firstPage: range.firstSlot, pages: range.slots, range }))
    .toSorted((left, right) => left.firstPage - right.firstPage);
}

/** Returns the ranges to reclaim for an image, for its pages and for its slots; null if reclaiming all would not suffice. */
export function planImageReclamation(
  { ranges, pages: memoryPages }: Pick<RandomAccessMemory, 'ranges' | 'pages'>,
  reclaimable: readonly MemoryRange[],
  { pages, slots }: ImageSize,
): ReadonlySet<MemoryRange> | null {
  const forPages = planReclamation(ranges, reclaimable, pages, memoryPages);
  const taken = slotRanges(ranges);
  const places = new Map(taken.map((place) => [place.range, place]));
  const reclaimablePlaces = reclaimable.flatMap((range) => places.get(range) ?? []);
  const forSlots = planReclamation(taken, reclaimablePlaces, slots, slotLimit);
  return forPages && forSlots && new Set([...forPages, ...[...forSlots].map(({ range }) => range)]);
}

/**
 * Returns the first page of a gap of a number of pages, searching from a page up to, but excluding, another; null if there is none.
 * @param ranges Used ranges, sorted by first page.
 */
export function findGap(
  ranges: readonly Pick<MemoryRange, 'firstPage' | 'pages'>[],
  pages: number,
  from: number,
  to: number,
): number | null {
  let candidate = from;
  for (const range of ranges) {
    if (range.firstPage + range.pages <= candidate) continue;
    if (range.firstPage >= candidate + pages) break;
    candidate = range.firstPage + range.pages;
  }
  return candidate + pages <= to ? candidate : null;
}

/**
 * Returns the ranges to reclaim for a gap of a number of pages: those in the gap that needs the fewest of the oldest. Null if reclaiming all would not
 * suffice. Ranges never move, because programs hold addresses: a gap lies between two used ranges.
 * @param ranges Used ranges, sorted by first page.
 * @param reclaimable Oldest first.
 */
export function planReclamation<Range extends Pick<MemoryRange, 'firstPage' | 'pages'>>(
  ranges: readonly Range[],
  reclaimable: readonly Range[],
  pages: number,
  memoryPages: number,
): ReadonlySet<Range> | null {
  const gapWithout = (count: number) => {
    const without = new Set(reclaimable.slice(0, count));
    return findGap(
      ranges.filter((range) => !without.has(range)),
      pages,
      1,
      memoryPages,
    );
  };
  if (gapWithout(reclaimable.length) === null) return null;
  let [tooFew, enough] = [-1, reclaimable.length];
  while (enough - tooFew > 1) {
    const middle = Math.floor((tooFew + enough) / 2);
    if (gapWithout(middle) === null) tooFew = middle;
    else enough = middle;
  }
  const firstPage = gapWithout(enough) ?? 0;
  return new Set(reclaimable.filter((range) => range.firstPage < firstPage + pages && range.firstPage + range.pages > firstPage));
}

/**
 * Returns the failure reason of a load that finds no gap.
 * @param memory Total, used and reclaimable pages; reclaimable pages are also used.
 */
export function outOfMemoryMessage(
  { module, version }: MemoryRange['owner'],
  pages: number,
  memory: { readonly pages: number; readonly usedPages: number; readonly reclaimablePages: number },
): string {
  const free = memory.pages - 1 - memory.usedPages;
  const reclaimable = memory.reclaimablePages > 0 ? `, ${memory.reclaimablePages} more are reclaimable` : '';
  return `out of memory: ${module}@${version} needs ${pages} contiguous pages; ${free} of ${memory.pages} are free${reclaimable}`;
}
