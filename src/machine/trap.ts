// What a trap meant on the device: a fetch from a page that may not be executed is a segmentation fault, and names address, page and flag.

import { absentAddress } from './abi.ts';
import type { Processor } from './processor.ts';
import { type MemoryRange, printAddress } from './random-access-memory.ts';
import type { Frame } from './thread.ts';

/** An access by a hard-coded address that the address's owner no longer answers: the finding of the ABI test. */
export type Violation = {
  readonly program: string;
  readonly module: string;
  /** The version whose address the program holds. */
  readonly version: string;
  readonly address: string;
  /** Why the fetch faulted. */
  readonly flag: 'not-present' | 'invalid' | 'nx';
};

export type Trap = { readonly message: string; readonly violation: Omit<Violation, 'program'> | null };

/**
 * A trap in words.
 * @param frames The images that the thread was inside of, outermost first.
 */
export function explainTrap(error: unknown, frames: readonly Frame[], processor: Processor): Trap {
  const message = error instanceof Error ? error.message : String(error);
  const frame = frames.at(-1);
  if (frame === undefined) return { message, violation: null };
  if (frame.record === processor.absentRecord) {
    return { message: `segmentation fault at ${printAddress(absentAddress)}: the module is not in memory`, violation: null };
  }
  const inside = processor.images.get(frame.record);
  if (inside === undefined) return { message, violation: null };
  const { module, version } = inside.image.stamp;
  const address = printAddress(inside.range.firstPage);
  const where = `${module}@${version} at ${address}`;
  if (!/null function|table index|signature mismatch/.test(message)) return { message: `${message} in ${where}`, violation: null };
  const flag = flagOf(inside.range);
  if (flag === null) {
    return {
      message: `segmentation fault: fetch from ${where}, which has no such export, or one of another type, there (${message})`,
      violation: null,
    };
  }
  const violation = frame.isBypass ? { module, version, address, flag } : null;
  return { message: `segmentation fault: fetch from ${where} (page ${inside.range.firstPage}), which is ${flagTexts[flag]}`, violation };
}

const flagTexts = { 'not-present': 'not present', invalid: 'marked invalid', nx: 'marked NX' } as const;

/** The flag by which a fetch from a range faults, or null. */
function flagOf({ present, valid, nx }: MemoryRange): Violation['flag'] | null {
  if (!present) return 'not-present';
  if (!valid) return 'invalid';
  return nx ? 'nx' : null;
}
