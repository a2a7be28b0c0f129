// The start of a new image, before it takes over: it is instantiated if that can fail, checks itself, and takes over the state of the version before.

import type { ModuleImage } from '../images/image.ts';
import { StateTransfer, stateExports } from '../linker/state-transfer.ts';
import type { MemoryRange } from '../memory/random-access-memory.ts';
import type { Processor } from '../processor.ts';
import type { LoadTarget } from './load-request.ts';
import { LoadedImage } from './loaded-image.ts';

export type Started = { readonly loaded: LoadedImage; readonly selfCheck: 'passed' | 'none'; readonly stateWords: number | null };

/** The export by which a module says, before it takes over, whether it works: no parameters, an i32 that is 0 if it does. */
const selfCheckExport = 'self_check';

/** Writes an image to its pages and starts it. @throws {Error} when it does not start; nothing is left of it then. */
export function startImage(
  { processor, memory, moduleTable }: LoadTarget,
  image: ModuleImage,
  previous: LoadedImage | null,
  place: { readonly range: MemoryRange; readonly offsets: readonly number[] },
): Started {
  const loaded = new LoadedImage(processor, memory, image, place, () => ({
    patchbay: { space: memory.table },
    ...moduleTable.importsFor(image),
  }));
  try {
    if (image.stamp.mayFailToInstantiate || image.stamp.initialize) loaded.functionAt(0);
    const selfCheck = checkItself(processor, loaded);
    const stateWords = previous === null ? null : carryState(processor, previous, loaded);
    return { loaded, selfCheck, stateWords };
  } catch (error) {
    loaded.remove();
    loaded.release();
    throw error;
  }
}

/** Runs the self-check of an image that has one. @throws {Error} when it does not pass. */
function checkItself(processor: Processor, loaded: LoadedImage): 'passed' | 'none' {
  const check = loaded.exported(selfCheckExport);
  if (check === null) return 'none';
  const result = processor.runAtomically(() => check(), loaded.record);
  if (result !== 0) throw new Error(`its self-check answered ${String(result)}, not 0`);
  return 'passed';
}

/** Carries the state over where both versions have opted in; returns how many words. @throws {Error} when either traps. */
function carryState(processor: Processor, previous: LoadedImage, loaded: LoadedImage): number | null {
  if (!hasExport(previous, stateExports.save) || !hasExport(loaded, stateExports.restore)) return null;
  const transfer = new StateTransfer();
  return processor.transferState(transfer, () => {
    try {
      processor.runAtomically(() => previous.exported(stateExports.save)?.(), previous.record);
    } catch (error) {
      previous.recordTaint('trap');
      throw error;
    }
    processor.runAtomically(() => loaded.exported(stateExports.restore)?.(), loaded.record);
    return transfer.length;
  });
}

function hasExport({ stamp }: LoadedImage, name: string): boolean {
  return stamp?.interface.exports.some((exported) => exported.name === name) ?? false;
}
