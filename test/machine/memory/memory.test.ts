// Kernel memory and a device's RAM: for any order of requests, nothing is allocated twice and nothing is lost.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { LimitError } from '../../../src/machine/limit.ts';
import { KernelMemory } from '../../../src/machine/memory/kernel-memory.ts';
import { type MemoryRange, RandomAccessMemory } from '../../../src/machine/memory/random-access-memory.ts';

const owner = { module: 'm', version: '1.0.0' };

test('allocates cells that do not overlap, are aligned to their size, and are zeroed', () => {
  const step = fc.record({ bytes: fc.constantFrom(8, 16, 512), release: fc.boolean(), which: fc.nat() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const memory = new KernelMemory(2);
      const cells: { address: number; bytes: number }[] = [];
      for (const { bytes, release, which } of steps) {
        if (release && cells.length > 0) {
          const [cell] = cells.splice(which % cells.length, 1);
          if (cell !== undefined) memory.release(cell.address, cell.bytes);
          continue;
        }
        const address = memory.allocate(bytes);
        expect(address % bytes).toBe(0);
        expect(address).toBeGreaterThan(0);
        const words = memory.words.subarray(address / 4, (address + bytes) / 4);
        expect(words.every((word) => word === 0)).toBe(true);
        words.fill(-1);
        for (const cell of cells) expect(address >= cell.address + cell.bytes || address + bytes <= cell.address).toBe(true);
        cells.push({ address, bytes });
      }
    }),
    { numRuns: 50 },
  );
});

test('throws when kernel memory is full, and allocates again after a release', () => {
  const memory = new KernelMemory(1);
  const cells: number[] = [];
  expect(() => {
    for (;;) cells.push(memory.allocate(512));
  }).toThrow(LimitError);
  expect(cells.length).toBe((65_536 - 4_096) / 512);
  memory.release(cells[3] ?? 0, 512);
  expect(memory.allocate(512)).toBe(cells[3]);
});

test('allocates ranges that do not overlap and lie within memory, whenever a gap is large enough', () => {
  const step = fc.record({
    pages: fc.integer({ min: 1, max: 6 }),
    slots: fc.integer({ min: 1, max: 20 }),
    free: fc.boolean(),
    which: fc.nat(),
  });
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 24 }), fc.array(step, { maxLength: 100 }), (pages, steps) => {
      const memory = new RandomAccessMemory(pages);
      const taken: MemoryRange[] = [];
      for (const { pages: wanted, slots, free, which } of steps) {
        if (free) {
          const [range] = taken.splice(which % Math.max(taken.length, 1), 1);
          if (range !== undefined) memory.free(range);
        } else {
          const gap = longestGap(pages, taken);
          const range = memory.allocate({ pages: wanted, slots }, owner);
          expect(range !== null).toBe(gap >= wanted);
          if (range !== null) taken.push(range);
        }
        const ordered = taken.toSorted((left, right) => left.firstPage - right.firstPage);
        expect(memory.ranges).toEqual(ordered);
        expect(memory.usedPages).toBe(ordered.reduce((sum, range) => sum + range.pages, 0));
        let end = 1;
        for (const range of ordered) {
          expect(range.firstPage).toBeGreaterThanOrEqual(end);
          end = range.firstPage + range.pages;
        }
        expect(end).toBeLessThanOrEqual(pages);
        expectSeparateSlots(memory, taken);
      }
    }),
  );
});

function expectSeparateSlots(memory: RandomAccessMemory, taken: readonly MemoryRange[]): void {
  let end = 1;
  for (const { firstSlot, slots } of taken.toSorted((left, right) => left.firstSlot - right.firstSlot)) {
    expect(firstSlot).toBeGreaterThanOrEqual(end);
    end = firstSlot + slots;
  }
  expect(end).toBeLessThanOrEqual(memory.table.length);
}

function longestGap(pages: number, taken: readonly MemoryRange[]): number {
  const used = new Set(taken.flatMap((range) => Array.from({ length: range.pages }, (_, index) => range.firstPage + index)));
  let longest = 0;
  let length = 0;
  for (let page = 1; page < pages; page += 1) {
    length = used.has(page) ? 0 : length + 1;
    longest = Math.max(longest, length);
  }
  return longest;
}

test('does not reuse a freed address while others are unused', () => {
  const memory = new RandomAccessMemory(16);
  const size = { pages: 1, slots: 8 };
  const first = memory.allocate(size, owner);
  if (first === null) throw new Error('no memory');
  memory.free(first);
  expect(memory.allocate(size, owner)?.firstPage).not.toBe(first.firstPage);
});

test('keeps the table of an endlessly patched device as short as its concurrent images need', () => {
  const memory = new RandomAccessMemory(256);
  const size = { pages: 1, slots: 8 };
  let previous = memory.allocate(size, owner);
  for (let round = 0; round < 2_000; round += 1) {
    const next = memory.allocate(size, owner);
    if (next === null || previous === null) throw new Error('no memory');
    memory.free(previous);
    previous = next;
  }
  expect(memory.table.length).toBeLessThanOrEqual(1 + 3 * size.slots);
});
