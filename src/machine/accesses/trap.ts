// Explains traps in terms of the device: a fetch from a page that must not be executed is a segmentation fault with an address, a page and a flag.

import { frameLimit } from '../abi.ts';
import { formatAddress, type MemoryRange } from '../memory/random-access-memory.ts';
import type { Frame } from '../threads/thread.ts';
import type { ImagesByRecord } from './accessible-image.ts';
import { type CallingProgram, callerOf, describeCallOfAbsent, describeCallOfMissing } from './failed-call.ts';

/** A violation of the ABI: an access by a hard-coded address whose code was removed. */
export type Violation = {
  readonly program: string;
  readonly module: string;
  /** The version whose address the program holds. */
  readonly version: string;
  readonly address: string;
  readonly page: number;
  /** Why the fetch faulted. */
  readonly flag: 'not-present' | 'invalid' | 'nx';
};

export type Trap = {
  readonly message: string;
  /** True for a segmentation fault, false for an error of the running code. */
  readonly isSegmentationFault: boolean;
  readonly violation: Omit<Violation, 'program'> | null;
};

type Memory = {
  readonly images: ImagesByRecord;
  /** Returns the module that is not in memory and whose table entry stands for a record; null if there is none. */
  absentModuleAt(record: number): string | null;
};

/**
 * Explains a trap.
 * @param frames The images that the thread was inside, outermost first.
 */
export function explainTrap(error: unknown, frames: readonly Frame[], { images, absentModuleAt }: Memory, program: CallingProgram): Trap {
  const message = error instanceof Error ? error.message : String(error);
  const frame = frames.at(-1);
  if (frame === undefined) return codeError(message);
  const caller = callerOf(frames, images, program);
  const inside = images.get(frame.record);
  if (inside === undefined) {
    const absent = absentModuleAt(frame.record);
    return absent === null ? codeError(message) : segmentationFault(`: ${describeCallOfAbsent(error, caller, absent, frame.isBypass)}`);
  }
  const { module, version } = inside.image.stamp;
  const page = inside.range.firstPage;
  const address = formatAddress(page);
  const where = `${module}@${version} at ${address}`;
  // The stub of the next access found no room for its frame.
  if (message === 'unreachable' && frames.length >= frameLimit)
    return codeError(`limit reached (${frameLimit} nested accesses per thread) in ${where}`);
  if (!isFetchError(message)) return codeError(`${message} in ${where}`);
  const flag = faultFlag(inside.range);
  if (flag !== null) {
    const violation = frame.isBypass ? { module, version, address, page, flag } : null;
    return segmentationFault(`: fetch from ${where} (page ${page}), which is ${flagTexts[flag]}`, violation);
  }
  const call = describeCallOfMissing(error, caller, inside, where);
  // The access itself did not fault: the module's own call_indirect did.
  if (call === null) return codeError(`${message} in ${where}: a call_indirect inside the module failed`);
  return segmentationFault(`: ${call}`);
}

const isFetchError = (message: string) => /null function|table index|signature mismatch/.test(message);

/** Returns whether the error is a fetch from a page that must not be executed: the innermost access never entered its image. */
export function isFetchFault(error: unknown, { record }: Frame, images: ImagesByRecord): boolean {
  if (!(error instanceof Error) || !isFetchError(error.message)) return false;
  const inside = images.get(record);
  return inside === undefined || faultFlag(inside.range) !== null;
}

const codeError = (message: string): Trap => ({ message, isSegmentationFault: false, violation: null });
const segmentationFault = (text: string, violation: Trap['violation'] = null): Trap => ({
  message: `segmentation fault${text}`,
  isSegmentationFault: true,
  violation,
});

const flagTexts = { 'not-present': 'not present', invalid: 'marked invalid', nx: 'marked NX' } as const;

/** Returns the flag that makes a fetch from a range fault; null if a fetch succeeds. */
function faultFlag({ present, valid, nx }: MemoryRange): Violation['flag'] | null {
  if (!present) return 'not-present';
  if (!valid) return 'invalid';
  return nx ? 'nx' : null;
}
