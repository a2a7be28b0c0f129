// The isolation workflow (US 8,689,206 B2, FIG. 2): loads a new version of a module at an unused address and swaps the module table entry. Accesses
// inside the old version exit by themselves, or get an injected error and retry in the new version.

import assert from 'node:assert/strict';
import { threadBlock } from '../abi.ts';
import type { Image } from '../images/image.ts';
import { isVerified, unverifiedMessage } from '../images/verified-image.ts';
import { formatAddress } from '../memory/random-access-memory.ts';
import { sanitizeReason } from '../reason.ts';
import { wholeThread } from '../threads/thread.ts';
import { Drain, type DrainEnding } from './drain.ts';
import { noAfterLoad, runAfterLoad } from './hooks.ts';
import { placeImage } from './image-placement.ts';
import { checkLinks } from './link-policy.ts';
import { type Invalidation, type LoadReport, type Outcome, type ReportedImage, type StepFacts, StepRecorder } from './load-report.ts';
import type { LoadRequest, LoadTarget } from './load-request.ts';
import type { LoadedImage } from './loaded-image.ts';
import type { Reclaimed } from './retired-images.ts';
import { compareVersions } from './version-policy.ts';

/** One run of the workflow. */
type Load = { readonly target: LoadTarget; readonly request: LoadRequest; readonly recorder: StepRecorder };
/** The two versions after the swap of the module table entry. */
type Swapped = { readonly previous: LoadedImage; readonly current: LoadedImage };
/** The accesses that had an error injected, and how many of them no retry caught. */
type Interruption = { readonly interrupted: number; failed: number };

const noInterruption: Interruption = { interrupted: 0, failed: 0 };
/** Maximum programs listed in one step. */
const maxListedPrograms = 1_000;
/** Maximum unresolved links listed in a step. */
const maxListedLinks = 100;
/** Maximum reclaimed images listed in a report. */
const maxListedReclaimed = 100;

/** Runs the workflow. A refused or failed load changes nothing. */
export async function runIsolationWorkflow(target: LoadTarget, { image, ...options }: LoadRequest<Image>): Promise<LoadReport> {
  const recorder = new StepRecorder(() => target.processor.clock.now());
  if (image.kind !== 'module') return refuseImage(recorder, image, options, `${image.digest} is a driver image: expected a module image`);
  // JavaScript callers bypass the type check.
  if (!isVerified(image)) return refuseImage(recorder, image, options, unverifiedMessage(image));
  const load: Load = { target, request: { image, ...options }, recorder };
  const swap = await target.processor.atSafepoint(() => swapImages(load));
  if (swap.kind === 'not-loaded') return swap.report;
  const { previous, current, interruption } = swap;
  if (previous === null) return complete(recorder, { outcome: 'installed', previous, current });
  if (!swap.isReferenced) {
    invalidate(load, previous);
    return complete(recorder, { outcome: 'replaced', previous, current });
  }
  if (interruption === null) return drain(load, { previous, current });
  return waitForExits(load, { previous, current }, interruption);
}

type Swap =
  | { readonly kind: 'not-loaded'; readonly report: LoadReport }
  | {
      readonly kind: 'swapped';
      readonly previous: LoadedImage | null;
      readonly current: LoadedImage;
      /** Whether accesses were inside the previous image at the swap. */
      readonly isReferenced: boolean;
      /** Null if the accesses may first exit by themselves (drain). */
      readonly interruption: Interruption | null;
    };

/** Operations 200 to 260, at a safepoint: threads observe swap and injection as atomic. */
function swapImages(load: Load): Swap {
  const { target, request, recorder } = load;
  recordReceived(recorder, request.image, request);
  const previous = lookUp(load);
  const refusal = (previous && compare(load, previous)) ?? link(load, previous);
  if (refusal !== null) return { kind: 'not-loaded', report: refusal };
  const placement = placeImage(target, request.image, previous);
  if (!placement.ok) return { kind: 'not-loaded', report: fail(recorder, 'loaded', placement.reason, previous) };
  const { loaded: current, selfCheck, beforeUnload, stateWords, reclaimed } = placement;
  target.addImage(current);
  recorder.record('loaded', {
    address: addressOf(current),
    pages: current.range.pages,
    selfCheck,
    beforeUnload,
    stateWords,
    ...describeReclaimed(reclaimed),
  });
  updateTable(load, previous, current);
  if (previous === null) return { kind: 'swapped', previous, current, isReferenced: false, interruption: noInterruption };
  const isReferenced = checkReferences(recorder, previous);
  const interruption = isReferenced && request.strategy !== 'inject' ? null : interruptAccesses(load, previous);
  return { kind: 'swapped', previous, current, isReferenced, interruption };
}

/** Operation 200. Digest, stamp and safepoint ABI were checked when the image was read. */
function recordReceived(recorder: StepRecorder, image: Image, { signedBy }: Pick<LoadRequest, 'signedBy'>): void {
  const { module, version } = image.stamp;
  recorder.record('received', { module, version, image: image.digest, bytes: image.bytes, signedBy: [...signedBy] });
}

/** Refuses an image that is not a verified module, at operation 200. */
function refuseImage(recorder: StepRecorder, image: Image, request: Pick<LoadRequest, 'signedBy'>, reason: string): LoadReport {
  recordReceived(recorder, image, request);
  recorder.record('refused', { reason });
  return complete(recorder, { outcome: 'refused-image', reason, previous: null, current: null });
}

/** Operation 210. Returns the version in memory, or null. */
function lookUp({ target, request, recorder }: Load): LoadedImage | null {
  const previous = target.moduleTable.lookUp(request.image.stamp.module);
  recorder.record('looked-up', { address: previous && addressOf(previous), version: previous?.image.stamp.version ?? null });
  return previous;
}

/** Operation 220 and claim 11. Returns the report if the load is refused, or null. */
function compare({ request, recorder }: Load, previous: LoadedImage): LoadReport | null {
  const { versionPolicy, similarityPolicy, downgradeReason } = request;
  if (versionPolicy === 'any') return null;
  const [next, inMemory] = [request.image.stamp, previous.stamp];
  assert(inMemory !== null, 'the image in the module table has no stamp');
  const { precedence, similarity, refusal } = compareVersions(next, inMemory, { versionPolicy, similarityPolicy });
  const facts = { version: next.version, inMemoryVersion: inMemory.version, precedence, versionPolicy, downgradeReason };
  recorder.record('compared', { ...facts, similarity, similarityPolicy });
  if (refusal === null) return null;
  recorder.record('refused', { reason: refusal.reason });
  return complete(recorder, { ...refusal, previous, current: previous });
}

/** Operation 220: checks the links of the modules in memory and the arriving one. Returns the report if the load is refused, or null. */
function link({ target, request, recorder }: Load, previous: LoadedImage | null): LoadReport | null {
  const { linkPolicy } = request;
  if (linkPolicy === 'off') return null;
  const inMemory = target.moduleTable.loaded.flatMap(({ stamp }) => stamp ?? []);
  const { unresolved, refusal } = checkLinks({ arriving: [request.image.stamp], inMemory }, linkPolicy);
  recorder.record('linked', { linkPolicy, unresolved: unresolved.slice(0, maxListedLinks), unresolvedLinks: unresolved.length });
  if (refusal === null) return null;
  recorder.record('refused', { reason: refusal.reason });
  return complete(recorder, { ...refusal, previous, current: previous });
}

/** Returns the facts of operation 230 about the reclaimed images. */
function describeReclaimed(reclaimed: Reclaimed): Pick<StepFacts['loaded'], 'reclaimed' | 'reclaimedImages'> {
  const named = reclaimed.slice(0, maxListedReclaimed).map((loaded) => {
    const { module, version } = loaded.image.stamp;
    return { module, version, address: addressOf(loaded), pages: loaded.range.pages };
  });
  return { reclaimed: named, reclaimedImages: reclaimed.length };
}

/** Operation 240. The hook of the new version runs at the same safepoint, except when the module is restored: then no version takes over from another. */
function updateTable({ target, request, recorder }: Load, previous: LoadedImage | null, current: LoadedImage): void {
  target.moduleTable.update(request.image.stamp.module, current);
  const hook = request.versionPolicy === 'any' ? noAfterLoad : runAfterLoad(target.processor, current);
  recorder.record('table-updated', { from: previous && addressOf(previous), to: addressOf(current), ...hook });
}

/** Operation 250. Returns whether an access is inside the old version, by the module table or by a hard-coded address. */
function checkReferences(recorder: StepRecorder, previous: LoadedImage): boolean {
  const { referenceCount, bypassCount: bypassing } = previous;
  recorder.record('checked-references', { referenceCount });
  return referenceCount + bypassing > 0;
}

/** Operation 260. Injects an error into every thread inside the old version, targeting its outermost access there or, if it percolates, its whole call. */
function interruptAccesses({ target, request, recorder }: Load, previous: LoadedImage): Interruption {
  // Revoke execution first, so that no interrupted access can enter again, not even by a hard-coded address.
  revokeExecute(previous, request.invalidation);
  const retryIn = target.moduleTable.lookUp(previous.image.stamp.module);
  const threadsOf = new Map<string, number>();
  let accesses = 0;
  const interruption: { interrupted: number; failed: number } = { interrupted: 0, failed: 0 };
  const onUncaught = () => {
    interruption.failed += 1;
  };
  const options = { onUncaught, retryIn };
  for (const { thread, program, recovery, onInterrupt } of target.threads()) {
    const { count, outermost } = target.processor.accessesInside(thread, previous.record);
    if (count === 0) continue;
    accesses += count;
    // A thread that is being stopped exits anyway.
    if (thread.injection?.target === wholeThread) continue;
    target.processor.inject(thread, recovery === 'percolate' ? thread.block + threadBlock.frames : outermost, options);
    onInterrupt();
    interruption.interrupted += 1;
    threadsOf.set(program, (threadsOf.get(program) ?? 0) + 1);
  }
  if (accesses > 0) {
    const programs = [...threadsOf].slice(0, maxListedPrograms).map(([program, threads]) => ({ program, threads }));
    recorder.record('interrupted', { accesses, threads: interruption.interrupted, programs });
  }
  return interruption;
}

/** Waits until the accesses inside have exited. At the deadline or on request, interrupts them or reverts the swap. */
function drain(load: Load, swapped: Swapped): Promise<LoadReport> {
  const { target, request } = load;
  const { previous } = swapped;
  return new Promise((resolve) => {
    const onEnd = (ending: DrainEnding) => {
      target.setDrain(null);
      if (ending.kind === 'unreferenced') return resolve(resetReferences(load, swapped, noInterruption));
      if (ending.kind === 'cancelled') return resolve(cancelDrain(load, swapped, ending.reason));
      if (ending.kind === 'timed-out' && request.strategy === 'drain') return resolve(failDrain(load, swapped));
      resolve(waitForExits(load, swapped, interruptAccesses(load, previous)));
    };
    target.setDrain(new Drain(target, previous, request.drainMilliseconds, onEnd));
  });
}

/** Reverts the swap: the table names the old version again. The new version is removed once the accesses that entered it have exited. */
function revertSwap({ target }: Load, { previous, current }: Swapped): void {
  const { processor, moduleTable } = target;
  moduleTable.update(current.image.stamp.module, previous);
  revokeExecute(current, 'mark-invalid');
  processor.onUnreferenced(current.record, 'counted', () => {
    current.remove();
    target.retired.add(current);
  });
}

/** The drain timed out. */
function failDrain(load: Load, swapped: Swapped): LoadReport {
  revertSwap(load, swapped);
  const { referenceCount, image } = swapped.previous;
  const accesses = referenceCount === 1 ? '1 access was' : `${referenceCount} accesses were`;
  const reason = `${accesses} still inside ${image.stamp.version} after ${load.request.drainMilliseconds} ms: drain longer, or use strategy inject`;
  return fail(load.recorder, 'references-reset', reason, swapped.previous);
}

/** The drain was cancelled. */
function cancelDrain(load: Load, swapped: Swapped, cause: string): LoadReport {
  const { previous } = swapped;
  const reason = sanitizeReason(cause);
  revertSwap(load, swapped);
  load.recorder.record('cancelled', { during: 'checked-references', reason });
  return complete(load.recorder, { outcome: 'cancelled', reason, previous, current: previous });
}

/** Waits until the interrupted accesses have exited. */
function waitForExits(load: Load, swapped: Swapped, interruption: Interruption): Promise<LoadReport> {
  return new Promise((resolve) => {
    const bypasses = load.request.invalidation === 'none' ? 'ignored' : 'counted';
    load.target.processor.onUnreferenced(swapped.previous.record, bypasses, () => resolve(resetReferences(load, swapped, interruption)));
  });
}

/** Operations 270 to 280, once no access is inside the old version. */
function resetReferences(load: Load, { previous, current }: Swapped, { interrupted, failed }: Interruption): LoadReport {
  const retried = interrupted - failed;
  load.recorder.record('references-reset', { referenceCount: 0, retried, failed });
  invalidate(load, previous);
  const outcome = interrupted > 0 ? 'replaced-interrupting' : 'replaced';
  return complete(load.recorder, { outcome, previous, current, interrupted, retried, failed });
}

/** Operation 275. */
function invalidate({ target, request, recorder }: Load, previous: LoadedImage): void {
  const { invalidation } = request;
  revokeExecute(previous, invalidation);
  if (invalidation === 'delete') previous.remove();
  target.retired.add(previous);
  const heldBy = target.programsHolding(previous.record).slice(0, maxListedPrograms);
  recorder.record('invalidated', { invalidation, address: addressOf(previous), pages: previous.range.pages, heldBy });
}

/** Prevents further accesses to an image, and sets the page flag that explains why. */
function revokeExecute(image: LoadedImage, invalidation: Invalidation): void {
  if (invalidation === 'none') return;
  image.revokeExecute();
  if (invalidation === 'nx') image.range.nx = true;
  else image.range.valid = false;
}

/** Reports a failed load: the old version, if any, is in the table. */
function fail(recorder: StepRecorder, during: string, reason: string, previous: LoadedImage | null): LoadReport {
  recorder.record('failed', { during, reason });
  return complete(recorder, { outcome: 'failed', reason, previous, current: previous });
}

type Ending = {
  readonly outcome: Outcome;
  readonly reason?: string;
  readonly previous: LoadedImage | null;
  readonly current: LoadedImage | null;
  readonly interrupted?: number;
  readonly retried?: number;
  readonly failed?: number;
};

/** Operation 280. */
function complete(recorder: StepRecorder, ending: Ending): LoadReport {
  const { outcome, reason = null, interrupted = 0, retried = 0, failed = 0, previous, current } = ending;
  const microseconds = recorder.elapsed;
  recorder.record('completed', { outcome, microseconds });
  return {
    outcome,
    reason,
    previous: previous && describeImage(previous),
    current: current && describeImage(current),
    interrupted,
    retried,
    failed,
    microseconds,
    steps: recorder.steps,
  };
}

const addressOf = (loaded: LoadedImage) => formatAddress(loaded.range.firstPage);

function describeImage({ image, range, tainted }: LoadedImage): ReportedImage {
  return { version: image.stamp.version, image: image.digest, address: formatAddress(range.firstPage), pages: range.pages, tainted };
}
