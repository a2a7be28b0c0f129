// Interruption (operation 260 of FIG. 2): injects an error into every thread inside the versions that a load takes out of the module table.

import { threadBlock } from '../abi.ts';
import type { Invalidation, StepFacts } from './load-report.ts';
import type { LoadTarget } from './load-request.ts';
import type { LoadedImage } from './loaded-image.ts';

/** The threads that had an error injected, and how many of them no retry caught. */
export type Interruption = { readonly interrupted: number; readonly failed: number };

export const noInterruption: Interruption = { interrupted: 0, failed: 0 };

/** A version that accesses leave, and the version in which they retry; null if the module has none any more, so that the retry faults. */
export type LeftVersion = { readonly left: LoadedImage; readonly retryIn: LoadedImage | null };

/** Maximum programs listed in one step. */
export const maxListedPrograms = 1_000;

type Interrupted = { readonly interruption: Interruption; readonly facts: StepFacts['interrupted'] };

/**
 * Injects an error into each thread inside one of the versions. The error targets the thread's outermost access inside any of them, or, if it
 * percolates, the whole call: nothing of an old version is left on the stack when the access retries.
 */
export function interruptAccesses(target: LoadTarget, versions: readonly LeftVersion[], invalidation: Invalidation): Interrupted {
  // Revoke execution first, so that no interrupted access can enter again, not even by a hard-coded address.
  for (const { left } of versions) revokeExecute(left, invalidation);
  const retryInOf = new Map(versions.map(({ left, retryIn }) => [left.record, retryIn]));
  const records = new Set(retryInOf.keys());
  const threadsOf = new Map<string, number>();
  let accesses = 0;
  const interruption = { interrupted: 0, failed: 0 };
  const onUncaught = () => {
    interruption.failed += 1;
  };
  for (const { thread, program, recovery, onInterrupt } of target.threads()) {
    const { count, outermost, record } = target.processor.accessesInside(thread, records);
    if (count === 0) continue;
    accesses += count;
    // A thread that is being stopped exits anyway. So does one that a load with the invalidation `none` has interrupted further out, without waiting.
    if (thread.injection !== null && thread.injection.target <= outermost) continue;
    const retryIn = retryInOf.get(record) ?? null;
    // There is nothing to retry in: the retry faults.
    if (retryIn === null) interruption.failed += 1;
    const injected = recovery === 'percolate' ? thread.block + threadBlock.frames : outermost;
    target.processor.inject(thread, injected, { onUncaught: retryIn === null ? () => {} : onUncaught, retryIn });
    onInterrupt();
    interruption.interrupted += 1;
    threadsOf.set(program, (threadsOf.get(program) ?? 0) + 1);
  }
  const programs = [...threadsOf].slice(0, maxListedPrograms).map(([program, threads]) => ({ program, threads }));
  return { interruption, facts: { accesses, threads: interruption.interrupted, programs } };
}

/** Prevents further accesses to an image, and sets the page flag that explains why. */
export function revokeExecute(image: LoadedImage, invalidation: Invalidation): void {
  if (invalidation === 'none') return;
  image.revokeExecute();
  if (invalidation === 'nx') image.range.nx = true;
  else image.range.valid = false;
}
