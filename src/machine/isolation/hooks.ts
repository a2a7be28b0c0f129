// Calls of lifecycle exports during a load. Each runs at a safepoint, without being suspended, for up to `lifecycleMilliseconds`; its effects are
// dropped.

import type { LifecycleExport } from '../abi.ts';
import { isLifecycleExport } from '../images/lifecycle.ts';
import type { Processor } from '../processor.ts';
import { sanitizeReason } from '../reason.ts';
import type { StepFacts } from './load-report.ts';
import type { LoadedImage } from './loaded-image.ts';

type AfterLoad = Pick<StepFacts['table-updated'], 'afterLoad' | 'afterLoadFailure'>;

/** The facts of a load that does not run the hook, or whose new version has none. */
export const noAfterLoad: AfterLoad = { afterLoad: 'none', afterLoadFailure: null };

/** Returns whether a load calls the export of an image; false if the image has none, or if no access may enter the image any more. */
export function hasLifecycleExport({ stamp }: LoadedImage, name: LifecycleExport): boolean {
  return stamp !== null && isLifecycleExport(name, stamp) && stamp.interface.exports.some((exported) => exported.name === name);
}

/** Calls a lifecycle export, instantiating the image if necessary. Returns its result. @throws {Error} if it traps or runs too long. */
export function callLifecycleExport(processor: Processor, loaded: LoadedImage, name: LifecycleExport): unknown {
  return processor.runAtomically(() => loaded.exported(name)?.(), loaded.record);
}

/** Runs the self-check of an image that has one. @throws {Error} if the self-check fails. */
export function runSelfCheck(processor: Processor, loaded: LoadedImage): 'passed' | 'none' {
  if (!hasLifecycleExport(loaded, 'self_check')) return 'none';
  const result = callLifecycleExport(processor, loaded, 'self_check');
  if (result !== 0) throw new Error(`its self-check returned ${String(result)}, expected 0`);
  return 'passed';
}

/**
 * Runs `before_unload` in the version that is about to leave the module table. A failure taints that version.
 * @throws {Error} if the hook traps or runs too long: the version must stay in the table.
 */
export function runBeforeUnload(processor: Processor, loaded: LoadedImage): 'completed' | 'none' {
  if (!hasLifecycleExport(loaded, 'before_unload')) return 'none';
  try {
    callLifecycleExport(processor, loaded, 'before_unload');
  } catch (error) {
    loaded.recordTaint('trap');
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`before_unload of ${loaded.image.stamp.version} failed: ${reason}`, { cause: error });
  }
  return 'completed';
}

/** Runs `after_load` in the version that the module table names now. A failure taints that version and leaves it in the table. */
export function runAfterLoad(processor: Processor, loaded: LoadedImage): AfterLoad {
  if (!hasLifecycleExport(loaded, 'after_load')) return noAfterLoad;
  try {
    callLifecycleExport(processor, loaded, 'after_load');
  } catch (error) {
    loaded.recordTaint('trap');
    return { afterLoad: 'failed', afterLoadFailure: sanitizeReason(error instanceof Error ? error.message : String(error)) };
  }
  return { afterLoad: 'completed', afterLoadFailure: null };
}
