// A device's executable memory: pages with flags and owners, and the WebAssembly table whose slots are those pages.

/** Bytes of a page. */
export const pageBytes = 4_096;

/** A byte address as it is printed. */
export function formatAddress(page: number): string {
  return `0x${(page * pageBytes).toString(16)}`;
}

/** A run of pages with one owner. */
export type MemoryRange = {
  readonly firstPage: number;
  readonly pages: number;
  /** Slots of the table, one for each export: an access fetches from a slot. */
  readonly firstSlot: number;
  readonly slots: number;
  readonly owner: { readonly module: string; readonly version: string };
  /** False: the pages are gone, and their addresses wait until nobody holds them any more. */
  present: boolean;
  valid: boolean;
  /** No execute: a fetch from these pages faults. */
  nx: boolean;
};

/** Slots of a device's table; V8 allows ten million. */
const slotLimit = 1_000_000;

/**
 * Executable memory. A range of pages has a range of slots in the table, through which its exports are called. Clearing the slots is what the NX flag
 * does: a call traps in the engine. Page 0 and slot 0 are never given out, so that address zero means none.
 */
export class RandomAccessMemory {
  readonly pages: number;
  /** Grown as slots are first used, so that a large empty memory costs nothing. */
  readonly table: WebAssembly.Table;
  /** By first page. */
  readonly #ranges: MemoryRange[] = [];
  /** Where the last search ended: memory is used round and round, so that a freed address is not soon another module's. */
  #cursor = 1;
  #slotCursor = 1;

  /** @param pages Pages of 4 KiB, from 2. */
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

  /** Takes an unused location for that many pages and slots; null where there is none. */
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

  /** Slots that were never used are taken only where no others suffice: the table is as long as it has ever had to be. */
  #findSlots(slots: number): number | null {
    const taken = slotRanges(this.#ranges);
    return (
      findGap(taken, slots, this.#slotCursor, this.table.length) ??
      findGap(taken, slots, 1, this.table.length) ??
      findGap(taken, slots, 1, slotLimit)
    );
  }

  /** Takes a range that was freed; its pages must be unused. */
  insert(range: MemoryRange): void {
    const place = this.#ranges.findIndex((other) => other.firstPage > range.firstPage);
    this.#ranges.splice(place < 0 ? this.#ranges.length : place, 0, range);
  }

  /** Lets no fetch from the range succeed any more: calls to it trap. The flags say why, once they are set. */
  revokeExecute(range: MemoryRange): void {
    for (let slot = range.firstSlot; slot < range.firstSlot + range.slots; slot += 1) this.table.set(slot, null);
  }

  /** Takes the pages away. Their addresses are not given out again before they are free. */
  remove(range: MemoryRange): void {
    this.revokeExecute(range);
    range.present = false;
  }

  /** Lets the addresses of pages that were taken away be given out again. */
  free(range: MemoryRange): void {
    const place = this.#ranges.indexOf(range);
    if (place >= 0) this.#ranges.splice(place, 1);
  }
}

/** What an image takes. */
export type ImageSize = { readonly pages: number; readonly slots: number };

/** Pages that an image of that many bytes takes. */
export function pagesFor(bytes: number): number {
  return Math.ceil(bytes / pageBytes);
}

/** Slots of ranges, in the form and order in which `findUnused` and `planReclamation` take pages. */
function slotRanges(ranges: readonly MemoryRange[]): { readonly firstPage: number; readonly pages: number; readonly range: MemoryRange }[] {
  return ranges
    .map((range) => ({ firstPage: range.firstSlot, pages: range.slots, range }))
    .toSorted((left, right) => left.firstPage - right.firstPage);
}

/** Ranges to reclaim for an image of that size: those that its pages need and those that its slots need. Null where reclaiming all would not suffice. */
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
 * First page of a gap of that many pages from one page to before another; null where there is none.
 * @param ranges Used ranges, by first page.
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
 * Ranges to reclaim so that a gap of that many pages comes into being: those in the gap that needs the fewest of the oldest. Null where reclaiming all
 * of them would not make one. Ranges are never moved, as addresses are kept: pages in use divide memory, and a gap lies between two of them.
 * @param ranges What is used, by first page.
 * @param reclaimable The oldest first.
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
 * What a load says that finds no such gap.
 * @param memory Its pages, those that are used, and of those the ones that can be reclaimed.
 */
export function outOfMemoryMessage(
  { module, version }: MemoryRange['owner'],
  pages: number,
  memory: { readonly pages: number; readonly usedPages: number; readonly reclaimablePages: number },
): string {
  const free = memory.pages - 1 - memory.usedPages;
  const reclaimable = memory.reclaimablePages > 0 ? `, ${memory.reclaimablePages} more can be reclaimed` : '';
  return `out of memory: ${module}@${version} needs ${pages} adjacent pages, and ${free} of ${memory.pages} are free${reclaimable}`;
}
