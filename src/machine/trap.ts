// What a trap meant on the device: a fetch from a page that may not be executed is a segmentation fault, and is named as one.

import { absentAddress } from './abi.ts';
import type { Processor } from './processor.ts';
import { printAddress, type RandomAccessMemory } from './random-access-memory.ts';

/**
 * A trap's message.
 * @param records The images that the thread was inside of, outermost first.
 */
export function explainTrap(error: unknown, records: readonly number[], processor: Processor, memory: RandomAccessMemory): string {
  const message = error instanceof Error ? error.message : String(error);
  const record = records.at(-1);
  if (record === undefined) return message;
  if (record === processor.absentRecord) return `segmentation fault at ${printAddress(absentAddress)}: the module is not in memory`;
  const inside = processor.images.get(record);
  if (inside === undefined) return message;
  const { stamp } = inside.image;
  const where = `${stamp.module}@${stamp.version} at ${printAddress(inside.range.firstPage)}`;
  const isFetch = /null function|table index|signature mismatch/.test(message);
  if (!isFetch) return `${message} in ${where}`;
  const range = memory.rangeOf(inside.range.firstPage);
  if (range?.nx) return `segmentation fault: fetch from ${where}, whose pages are marked NX`;
  return `segmentation fault: fetch from ${where}, which has no such export, or one of another type, there (${message})`;
}
