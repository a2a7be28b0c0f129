// Startup of a new image before the swap: instantiates it if that can fail, runs its self-check, and transfers the state of the previous version.

import type { ModuleImage } from '../images/image.ts';
import { StateTransfer, stateExports } from '../linker/state-transfer.ts';
import type { MemoryRange } from '../memory/random-access-memory.ts';
import type { Processor } from '../processor.ts';
import type { LoadTarget } from './load-request.ts';
import { LoadedImage } from './loaded-image.ts';

export type Started = { readonly loaded: LoadedImage; readonly selfCheck: 'passed' | 'none'; readonly stateWords: number | null };

/** Export with which a module reports whether it works: no parameters, returns an i32 that is 0 on success. */
const selfCheckExport = 'self_check';

/** Writes an image to its pages and starts it. @throws {Error} if the image does not start; nothing of it remains. */
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
    const selfCheck = runSelfCheck(processor, loaded);
    const stateWords = previous === null ? null : transferState(processor, previous, loaded);
    return { loaded, selfCheck, stateWords };
  } catch (error) {
    loaded.remove();
    loaded.release();
    throw error;
  }
}

/** Runs the self-check of an image that has one. @throws {Error} if the self-check fails. */
function runSelfCheck(processor: Processor, loaded: LoadedImage): 'passed' | 'none' {
  const check = loaded.exported(selfCheckExport);
  if (check === null) return 'none';
  const result = processor.runAtomically(() => check(), loaded.record);
  if (result !== 0) throw new Error(`its self-check returned ${String(result)}, expected 0`);
  return 'passed';
}

/** Transfers the state if both versions support it. Returns the number of words; null if none was transferred. @throws {Error} if either version traps. */
function transferState(processor: Processor, previous: LoadedImage, loaded: LoadedImage): number | null {
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
