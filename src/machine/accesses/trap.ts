// What a trap meant on the device: a fetch from a page that may not be executed is a segmentation fault, and names address, page and flag.

import { absentAddress, frameLimit } from '../abi.ts';
import type { FunctionType, ImportedFunction } from '../images/stamp.ts';
import { formatAddress, type MemoryRange } from '../memory/random-access-memory.ts';
import type { Frame } from '../threads/thread.ts';
import type { AccessibleImage, ImagesByRecord } from './accessible-image.ts';

/** An access by a hard-coded address that the address's owner no longer answers: the finding of the ABI test. */
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
  /** Whether it was a segmentation fault, and not a mistake of the code that ran. */
  readonly isSegmentationFault: boolean;
  readonly violation: Omit<Violation, 'program'> | null;
};

/**
 * A trap in words.
 * @param frames The images that the thread was inside of, outermost first.
 * @param program What the program's driver imports.
 */
export function explainTrap(
  error: unknown,
  frames: readonly Frame[],
  { absentRecord, images }: { readonly absentRecord: number; readonly images: ImagesByRecord },
  program: readonly ImportedFunction[],
): Trap {
  const message = error instanceof Error ? error.message : String(error);
  const frame = frames.at(-1);
  if (frame === undefined) return mistake(message);
  if (frame.record === absentRecord) return fault(` at ${formatAddress(absentAddress)}: the module is not in memory`);
  const inside = images.get(frame.record);
  if (inside === undefined) return mistake(message);
  const { module, version } = inside.image.stamp;
  const page = inside.range.firstPage;
  const address = formatAddress(page);
  const where = `${module}@${version} at ${address}`;
  // The stub of the next access found no place for its frame.
  if (message === 'unreachable' && frames.length >= frameLimit)
    return mistake(`limit reached (${frameLimit} nested accesses per thread) in ${where}`);
  if (!isFetchError(message)) return mistake(`${message} in ${where}`);
  const flag = flagOf(inside.range);
  if (flag === null) {
    const caller = frames.at(-2);
    const imports = caller === undefined ? program : (images.get(caller.record)?.stamp?.interface.imports ?? null);
    // An access to an image that provides all that its caller imports does not fault: the call that failed was one of the image itself.
    if (isLinked(imports, inside)) return mistake(`${message} in ${where}: a call_indirect of the module itself failed`);
    return fault(`: fetch from ${where}, which has no such export, or one of another type, there (${message})`);
  }
  const violation = frame.isBypass ? { module, version, address, page, flag } : null;
  return fault(`: fetch from ${where} (page ${page}), which is ${flagTexts[flag]}`, violation);
}

/** Whether an image provides all that is imported from its module, with the same types. */
function isLinked(imports: readonly ImportedFunction[] | null, { stamp }: AccessibleImage): boolean {
  if (imports === null || stamp === null) return false;
  const exports = new Map(stamp.interface.exports.map((exported) => [exported.name, typeKey(exported)]));
  return imports.every((imported) => imported.module !== stamp.module || exports.get(imported.name) === typeKey(imported));
}

const typeKey = ({ parameters, results }: FunctionType) => `${parameters.join()} ${results.join()}`;

const isFetchError = (message: string) => /null function|table index|signature mismatch/.test(message);

/** Whether an error is a fetch from a page that may not be executed, so that the access of the innermost frame has not entered its image. */
export function isFetchFault(error: unknown, { record }: Frame, images: ImagesByRecord): boolean {
  if (!(error instanceof Error) || !isFetchError(error.message)) return false;
  const inside = images.get(record);
  return inside === undefined || flagOf(inside.range) !== null;
}

const mistake = (message: string): Trap => ({ message, isSegmentationFault: false, violation: null });
const fault = (text: string, violation: Trap['violation'] = null): Trap => ({
  message: `segmentation fault${text}`,
  isSegmentationFault: true,
  violation,
});

const flagTexts = { 'not-present': 'not present', invalid: 'marked invalid', nx: 'marked NX' } as const;

/** The flag by which a fetch from a range faults, or null. */
function flagOf({ present, valid, nx }: MemoryRange): Violation['flag'] | null {
  if (!present) return 'not-present';
  if (!valid) return 'invalid';
  return nx ? 'nx' : null;
}
