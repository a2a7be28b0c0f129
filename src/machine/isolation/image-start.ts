// Startup of a new image before the swap: instantiates it if that can fail, runs its self-check, and takes over from the previous version.

import type { ModuleImage } from '../images/image.ts';
import { StateTransfer } from '../linker/state-transfer.ts';
import type { MemoryRange } from '../memory/random-access-memory.ts';
import type { Processor } from '../processor.ts';
import { callLifecycleExport, hasLifecycleExport, runBeforeUnload, runSelfCheck } from './hooks.ts';
import type { LoadTarget } from './load-request.ts';
import { LoadedImage } from './loaded-image.ts';

export type Started = {
  readonly loaded: LoadedImage;
  readonly selfCheck: 'passed' | 'none';
  readonly beforeUnload: 'completed' | 'none';
  readonly stateWords: number | null;
};

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
    // After the self-check, so that a version that cannot take over never disturbs the old one; before the transfer, which saves what the hook leaves.
    const beforeUnload = previous === null ? 'none' : runBeforeUnload(processor, previous);
    const stateWords = previous === null ? null : transferState(processor, previous, loaded);
    return { loaded, selfCheck, beforeUnload, stateWords };
  } catch (error) {
    loaded.remove();
    loaded.release();
    throw error;
  }
}

/** Transfers the state if both versions support it. Returns the number of words; null if none was transferred. @throws {Error} if either version traps. */
function transferState(processor: Processor, previous: LoadedImage, loaded: LoadedImage): number | null {
  if (!hasLifecycleExport(previous, 'state_save') || !hasLifecycleExport(loaded, 'state_restore')) return null;
  const transfer = new StateTransfer();
  return processor.transferState(transfer, () => {
    try {
      callLifecycleExport(processor, previous, 'state_save');
    } catch (error) {
      previous.recordTaint('trap');
      throw error;
    }
    callLifecycleExport(processor, loaded, 'state_restore');
    return transfer.length;
  });
}
