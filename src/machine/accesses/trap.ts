// Explains traps in terms of the device: a fetch from a page that must not be executed is a segmentation segmentationFault with an address, a page and a flag.

import { absentAddress, frameLimit } from '../abi.ts';
import type { FunctionType, ImportedFunction } from '../images/stamp.ts';
import { formatAddress, type MemoryRange } from '../memory/random-access-memory.ts';
import type { Frame } from '../threads/thread.ts';
import type { AccessibleImage, ImagesByRecord } from './accessible-image.ts';

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
  /** True for a segmentation segmentationFault, false for an error of the running code. */
  readonly isSegmentationFault: boolean;
  readonly violation: Omit<Violation, 'program'> | null;
};

/**
 * Explains a trap.
 * @param frames The images that the thread was inside, outermost first.
 * @param program The imports of the program's driver.
 */
export function explainTrap(
  error: unknown,
  frames: readonly Frame[],
  { absentRecord, images }: { readonly absentRecord: number; readonly images: ImagesByRecord },
  program: readonly ImportedFunction[],
): Trap {
  const message = error instanceof Error ? error.message : String(error);
  const frame = frames.at(-1);
  if (frame === undefined) return codeError(message);
  if (frame.record === absentRecord) return segmentationFault(` at ${formatAddress(absentAddress)}: the module is not in memory`);
  const inside = images.get(frame.record);
  if (inside === undefined) return codeError(message);
  const { module, version } = inside.image.stamp;
  const page = inside.range.firstPage;
  const address = formatAddress(page);
  const where = `${module}@${version} at ${address}`;
  // The stub of the next access found no room for its frame.
  if (message === 'unreachable' && frames.length >= frameLimit)
    return codeError(`limit reached (${frameLimit} nested accesses per thread) in ${where}`);
  if (!isFetchError(message)) return codeError(`${message} in ${where}`);
  const flag = faultFlag(inside.range);
  if (flag === null) {
    const caller = frames.at(-2);
    const imports = caller === undefined ? program : (images.get(caller.record)?.stamp?.interface.imports ?? null);
    // The image provides everything its caller imports, so the access itself did not segmentationFault: the module's own call_indirect did.
    if (isLinked(imports, inside)) return codeError(`${message} in ${where}: a call_indirect inside the module failed`);
    return segmentationFault(`: fetch from ${where}: no such export, or an export of another type (${message})`);
  }
  const violation = frame.isBypass ? { module, version, address, page, flag } : null;
  return segmentationFault(`: fetch from ${where} (page ${page}), which is ${flagTexts[flag]}`, violation);
}

/** Returns whether an image provides every import from its module with the same type. */
function isLinked(imports: readonly ImportedFunction[] | null, { stamp }: AccessibleImage): boolean {
  if (imports === null || stamp === null) return false;
  const exports = new Map(stamp.interface.exports.map((exported) => [exported.name, typeKey(exported)]));
  return imports.every((imported) => imported.module !== stamp.module || exports.get(imported.name) === typeKey(imported));
}

const typeKey = ({ parameters, results }: FunctionType) => `${parameters.join()} ${results.join()}`;

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

/** Returns the flag that makes a fetch from a range segmentationFault; null if a fetch succeeds. */
function faultFlag({ present, valid, nx }: MemoryRange): Violation['flag'] | null {
  if (!present) return 'not-present';
  if (!valid) return 'invalid';
  return nx ? 'nx' : null;
}
