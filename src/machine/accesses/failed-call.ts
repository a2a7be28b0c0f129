// Describes a call that failed because its module, or the export, is not in memory: who called which export.

import { accessAt } from '../images/access-sites.ts';
import { formatFunctionType, isSameFunctionType } from '../images/function-type.ts';
import type { ImportedFunction, Stamp } from '../images/stamp.ts';
import type { Frame } from '../threads/thread.ts';
import { type AccessibleImage, formatImageName, type ImagesByRecord } from './accessible-image.ts';

/** The program that a thread runs, and the imports of its driver. */
export type CallingProgram = { readonly program: string; readonly imports: readonly ImportedFunction[] };

/** The code that made a call. */
export type Caller = {
  readonly name: string;
  /** Null once no access may enter the code. */
  readonly imports: readonly ImportedFunction[] | null;
  /** Null for a driver, which imports one function. */
  readonly stamp: Stamp | null;
};

/** Maximum characters of an export's name. */
const nameLimit = 100;
/** Maximum exports that a text names if it is unknown which one was called. */
const namedExports = 3;

/** Returns the code that made the innermost access of a thread. */
export function callerOf(frames: readonly Frame[], images: ImagesByRecord, { program, imports }: CallingProgram): Caller {
  const frame = frames.at(-2);
  if (frame === undefined) return { name: `program ${program}`, imports, stamp: null };
  const stamp = images.get(frame.record)?.stamp ?? null;
  return { name: formatImageName(images, frame.record), imports: stamp?.interface.imports ?? null, stamp };
}

/**
 * Describes a failed call of a module that is not in memory.
 * @param isHardCoded Whether the caller keeps the address that it found at its first access.
 */
export function describeCallOfAbsent(error: unknown, caller: Caller, module: string, isHardCoded: boolean): string {
  const called = selectCalled(error, caller, caller.imports?.filter((imported) => imported.module === module) ?? []);
  const state = isHardCoded ? 'was not in memory at its first call' : 'is not in memory';
  return `${describeCall(caller, module, called)}, but ${module} ${state}`;
}

/**
 * Describes a failed call of an export that an image lacks or has with another type; null if the image provides everything that its caller imports,
 * so that another call must have failed.
 * @param where The image and its address, as text.
 */
export function describeCallOfMissing(error: unknown, caller: Caller, { image, stamp }: AccessibleImage, where: string): string | null {
  const { module } = image.stamp;
  const exports = new Map(stamp?.interface.exports.map((exported) => [exported.name, exported]));
  const missing = caller.imports?.filter((imported) => {
    const exported = exports.get(imported.name);
    return imported.module === module && (exported === undefined || !isSameFunctionType(imported, exported));
  });
  if (missing?.length === 0) return null;
  const called = selectCalled(error, caller, missing ?? []);
  const [imported] = called;
  const exported = called.length === 1 && imported !== undefined ? exports.get(imported.name) : undefined;
  const problem = exported === undefined ? 'does not export it' : `exports it as ${formatFunctionType(exported)}`;
  return `${describeCall(caller, module, called)}, but ${where} ${problem}`;
}

/** Returns the import that failed; all candidates if it is unknown which one. */
function selectCalled(error: unknown, { stamp }: Caller, candidates: readonly ImportedFunction[]): readonly ImportedFunction[] {
  if (candidates.length < 2 || stamp === null) return candidates;
  const accessed = accessAt(stamp, error);
  const called = candidates.filter(({ module, name }) => module === accessed?.module && name === accessed.name);
  return called.length === 0 ? candidates : called;
}

function describeCall({ name }: Caller, module: string, called: readonly ImportedFunction[]): string {
  const [imported] = called;
  if (imported === undefined) return `${name} called ${module}`;
  if (called.length === 1) return `${name} called ${module}.${imported.name.slice(0, nameLimit)} ${formatFunctionType(imported)}`;
  const names = called.slice(0, namedExports).map((candidate) => `${module}.${candidate.name.slice(0, nameLimit)}`);
  return `${name} called ${names.join(' or ')}${called.length > namedExports ? ' or another export' : ''}`;
}
