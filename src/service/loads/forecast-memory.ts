// Predicts whether images fit into the memory that a device last reported.

import { z } from 'zod';
import { findGap, outOfMemoryMessage, pageBytes, pagesFor } from '../../machine/memory/random-access-memory.ts';
import type { BuildRecord } from '../modules/repository.ts';

/** The part of a state that decides about free memory. */
export const reportedMemory = {
  memoryMap: z.object({
    pages: z.number(),
    ranges: z.array(z.object({ address: z.string(), pages: z.number(), present: z.boolean(), reclaimable: z.boolean().optional() })),
  }),
  programs: z.array(z.object({ state: z.string() })),
};
export type ReportedMemory = z.infer<z.ZodObject<typeof reportedMemory>>;

/**
 * Returns the reason of a device without contiguous free pages for each of the builds, or null. The device needs all of them at once.
 * @param builds In the order in which the device places them.
 */
export function memoryShortage(builds: readonly BuildRecord[], { memoryMap, programs }: ReportedMemory): string | null {
  // Removed pages stay reserved while a program runs, which may have their addresses. Without a running program, the next load frees them.
  const isHeld = programs.some(({ state }) => state === 'running');
  const ranges = memoryMap.ranges.map((range) => ({ ...range, firstPage: Number(range.address) / pageBytes }));
  let used: Range[] = ranges.filter(({ present, reclaimable }) => reclaimable !== true && (present || isHeld));
  let reclaimable: Range[] = ranges.filter((range) => range.reclaimable === true);
  const findPlace = (occupied: readonly Range[], pages: number) => findGap(occupied.toSorted(byFirstPage), pages, 1, memoryMap.pages);
  for (const build of builds) {
    const pages = pagesFor(build.imageBytes);
    const firstPage = findPlace([...used, ...reclaimable], pages) ?? findPlace(used, pages);
    if (firstPage === null) {
      const reclaimablePages = sumOfPages(reclaimable);
      return outOfMemoryMessage(build, pages, {
        pages: memoryMap.pages,
        usedPages: sumOfPages(used) + reclaimablePages,
        reclaimablePages,
      });
    }
    used = [...used, { firstPage, pages }];
    reclaimable = reclaimable.filter((range) => range.firstPage >= firstPage + pages || range.firstPage + range.pages <= firstPage);
  }
  return null;
}

type Range = { readonly firstPage: number; readonly pages: number };

const byFirstPage = (left: Range, right: Range) => left.firstPage - right.firstPage;

function sumOfPages(ranges: readonly { readonly pages: number }[]): number {
  return ranges.reduce((sum, { pages }) => sum + pages, 0);
}
