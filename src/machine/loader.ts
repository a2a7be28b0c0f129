// The isolation workflow (US 8,689,206 B2, FIG. 2): a new version of an in-memory module is loaded at an unused address, takes over through the
// module table, and whoever is inside the old version leaves it: by itself, or driven out by an injected error to retry in the new one.

import assert from 'node:assert/strict';
import { threadBlock } from './abi.ts';
import type { ModuleImage } from './image.ts';
import {
  type Invalidation,
  type LoadReport,
  type Outcome,
  type ReportedImage,
  type SimilarityPolicy,
  type StepFacts,
  StepRecorder,
  type Strategy,
  type VersionPolicy,
} from './load-report.ts';
import { LoadedImage } from './loaded-image.ts';
import type { ModuleTable } from './module-table.ts';
import type { Processor } from './processor.ts';
import { type ImageSize, type MemoryRange, outOfMemory, pagesFor, printAddress, type RandomAccessMemory } from './random-access-memory.ts';
import { reasonOf } from './reason.ts';
import type { Reclaimed, RetiredImages } from './retired-images.ts';
import type { Stamp } from './stamp.ts';
import { StateTransfer, stateExports } from './state-transfer.ts';
import { compareVersions } from './succession.ts';
import { type Thread, threadAim } from './thread.ts';

/** The parts of a device that a load works on. */
export type LoadTarget = {
  readonly processor: Processor;
  readonly memory: RandomAccessMemory;
  readonly moduleTable: ModuleTable;
  /** Every thread of the device, with its program. */
  threads(): Iterable<DeviceThread>;
  /** An image is in memory. */
  admit(image: LoadedImage): void;
  /** Programs that keep the address of a record's image, hard-coded. */
  holders(record: number): string[];
  /** Images that the module table no longer names. */
  readonly retired: RetiredImages;
};

export type DeviceThread = {
  readonly thread: Thread;
  readonly program: string;
  /** Where an injected error is taken: by the access itself, or by the program, which retries the whole call. */
  readonly recovery: 'module' | 'percolate';
  /** An access of the thread is about to be interrupted. */
  readonly onInterrupt: () => void;
};

export type LoadRequest = {
  readonly image: ModuleImage;
  /** Identifiers of the keys whose signatures of the build whoever hands it over has verified. */
  readonly signedBy: readonly string[];
  readonly strategy: Strategy;
  /** How long `drain` and `drain-then-inject` wait for the accesses inside to leave by themselves, in milliseconds. */
  readonly drainMilliseconds: number;
  readonly invalidation: Invalidation;
  readonly versionPolicy: VersionPolicy | 'any';
  /** Why, where the policy is `downgrade`. */
  readonly downgradeReason: string | null;
  readonly similarityPolicy: SimilarityPolicy;
};

/** Programs that one step names. */
const programsNamed = 1_000;
/** The export by which a module says, before it takes over, whether it works: no parameters, an i32 that is 0 if it does. */
const selfCheckExport = 'self_check';

/** Runs the workflow; a refused or failed load changes nothing. */
export async function runIsolationWorkflow(target: LoadTarget, request: LoadRequest): Promise<LoadReport> {
  const recorder = new StepRecorder(() => target.processor.time.now());
  const swap = await target.processor.betweenSlices(() => swapImages(target, request, recorder));
  if (swap.kind === 'not-loaded') return swap.report;
  const { previous, current } = swap;
  if (previous === null) return report(recorder, { outcome: 'installed', previous, current });
  if (!swap.isReferenced) {
    invalidateAndRecord(target, request, previous, recorder);
    return report(recorder, { outcome: 'replaced', previous, current });
  }
  if (swap.interruption !== null) return whenLeft(target, request, recorder, { previous, current, interruption: swap.interruption });
  return drain(target, request, recorder, { previous, current });
}

/** An interruption's accesses, and those of them that no retry took. */
type Interruption = { readonly interrupted: number; failed: number };
const noInterruption: Interruption = { interrupted: 0, failed: 0 };

type Swap =
  | { readonly kind: 'not-loaded'; readonly report: LoadReport }
  | {
      readonly kind: 'swapped';
      readonly previous: LoadedImage | null;
      readonly current: LoadedImage;
      /** Whether accesses were inside the previous image at the swap. */
      readonly isReferenced: boolean;
      /** Null where the accesses are to leave by themselves first. */
      readonly interruption: Interruption | null;
    };

/** Operations 200 to 260, between two slices: to every thread the swap and the injection are one moment. */
function swapImages(target: LoadTarget, request: LoadRequest, recorder: StepRecorder): Swap {
  const { image, signedBy } = request;
  const { module, version } = image.stamp;
  recorder.record('received', { module, version, image: image.digest, bytes: image.bytes, signedBy: [...signedBy] });
  const previous = target.moduleTable.lookUp(module);
  recorder.record('looked-up', { address: previous && addressOf(previous), version: previous?.image.stamp.version ?? null });
  if (previous !== null && request.versionPolicy !== 'any') {
    const refusal = refuseVersion(previous, request, request.versionPolicy, recorder);
    if (refusal !== null) return { kind: 'not-loaded', report: refusal };
  }
  const written = writeImage(target, image, previous);
  if (!written.ok) {
    recorder.record('failed', { during: 'loaded', reason: written.reason });
    return { kind: 'not-loaded', report: report(recorder, { outcome: 'failed', reason: written.reason, previous, current: previous }) };
  }
  const { loaded, selfCheck, stateWords, reclaimed } = written;
  target.admit(loaded);
  recorder.record('loaded', { address: addressOf(loaded), pages: loaded.range.pages, selfCheck, stateWords, ...factsOf(reclaimed) });
  target.moduleTable.update(module, loaded);
  recorder.record('table-updated', { from: previous && addressOf(previous), to: addressOf(loaded) });
  if (previous === null) return { kind: 'swapped', previous, current: loaded, isReferenced: false, interruption: noInterruption };
  const { referenceCount } = previous;
  recorder.record('checked-references', { referenceCount });
  const isReferenced = referenceCount + previous.bypassing > 0;
  const interruption = isReferenced && request.strategy !== 'inject' ? null : interruptAccesses(target, request, previous, recorder);
  return { kind: 'swapped', previous, current: loaded, isReferenced, interruption };
}

/** Operation 220, and claim 11. Answers the report of a refusal, or null. */
function refuseVersion(
  previous: LoadedImage,
  request: LoadRequest,
  versionPolicy: VersionPolicy,
  recorder: StepRecorder,
): LoadReport | null {
  const { similarityPolicy, downgradeReason } = request;
  const [next, inMemory] = [request.image.stamp, previous.stamp];
  assert(inMemory !== null, 'an image that the module table names may be entered');
  const { precedence, similarity, refusal } = compareVersions(next, inMemory, { versionPolicy, similarityPolicy });
  const facts = { version: next.version, inMemoryVersion: inMemory.version, precedence, versionPolicy, downgradeReason };
  recorder.record('compared', { ...facts, similarity, similarityPolicy });
  if (refusal === null) return null;
  recorder.record('refused', { reason: refusal.reason });
  return report(recorder, { ...refusal, previous, current: previous });
}

type Written =
  | {
      readonly ok: true;
      readonly loaded: LoadedImage;
      readonly selfCheck: 'passed' | 'none';
      readonly stateWords: number | null;
      readonly reclaimed: Reclaimed;
    }
  | { readonly ok: false; readonly reason: string };

/** Operation 230. An image that does not pass is taken out of memory again, and what it took the place of is back. */
function writeImage(target: LoadTarget, image: ModuleImage, previous: LoadedImage | null): Written {
  const { moduleTable, retired, memory } = target;
  const { module } = image.stamp;
  let place: Place | null = null;
  try {
    const { offsets, slots } = moduleTable.layOut(image.stamp);
    const pages = pagesFor(image.bytes);
    place = takePages(target, { pages, slots }, image.stamp);
    if (place === null) return { ok: false, reason: outOfMemory(image.stamp, pages, usageOf(target)) };
    const started = startImage(target, image, previous, { range: place.range, offsets });
    retired.release(place.reclaimed);
    return { ok: true, ...started, reclaimed: place.reclaimed };
  } catch (error) {
    if (place !== null) {
      memory.free(place.range);
      retired.restore(place.reclaimed);
    }
    if (!(error instanceof Error)) throw error;
    return { ok: false, reason: reasonOf(`${module}@${image.stamp.version}: ${error.message}`) };
  }
}

type Place = { readonly range: MemoryRange; readonly reclaimed: Reclaimed };

/** An unused location; where there is none, pages of images that nothing holds are reclaimed. Null where that is not enough. */
function takePages({ memory, retired }: LoadTarget, size: ImageSize, { module, version }: Stamp): Place | null {
  retired.releaseUnused();
  const owner = { module, version };
  const unused = memory.allocate(size, owner);
  if (unused !== null) return { range: unused, reclaimed: [] };
  const reclaimed = retired.reclaim(size);
  const range = reclaimed && memory.allocate(size, owner);
  return range === null || reclaimed === null ? null : { range, reclaimed };
}

function usageOf({ memory, retired }: LoadTarget) {
  const reclaimablePages = [...retired.reclaimableRanges()].reduce((sum, { pages }) => sum + pages, 0);
  return { pages: memory.pages, usedPages: memory.usedPages, reclaimablePages };
}

type Started = { readonly loaded: LoadedImage; readonly selfCheck: 'passed' | 'none'; readonly stateWords: number | null };

/** Writes an image to its pages and has it check itself and take over the state. @throws {Error} when it does not; nothing is left of it then. */
function startImage(
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

/** Reclaimed images that a report names. */
const reclaimedNamed = 100;

function factsOf(reclaimed: Reclaimed): Pick<StepFacts['loaded'], 'reclaimed' | 'reclaimedImages'> {
  const named = reclaimed.slice(0, reclaimedNamed).map(({ image, range }) => {
    const { module, version } = image.stamp;
    return { module, version, address: printAddress(range.firstPage), pages: range.pages };
  });
  return { reclaimed: named, reclaimedImages: reclaimed.length };
}

/** Runs the self-check of an image that has one. @throws {Error} when it does not pass. */
function checkItself(processor: Processor, loaded: LoadedImage): 'passed' | 'none' {
  const check = loaded.exported(selfCheckExport);
  if (check === null) return 'none';
  const result = processor.runAtomically(() => check(), loaded.record);
  if (result !== 0) throw new Error(`its self-check answered ${String(result)}, not 0`);
  return 'passed';
}

/** Carries the state over where both versions have opted in; answers how many words. @throws {Error} when either traps. */
function carryState(processor: Processor, previous: LoadedImage, loaded: LoadedImage): number | null {
  const hasBoth = [previous, loaded].every(({ stamp }, index) => {
    const name = index === 0 ? stateExports.save : stateExports.restore;
    return stamp?.interface.exports.some((exported) => exported.name === name) ?? false;
  });
  if (!hasBoth) return null;
  const transfer = new StateTransfer();
  return processor.transferState(transfer, () => {
    try {
      processor.runAtomically(() => previous.exported(stateExports.save)?.(), previous.record);
    } catch (error) {
      previous.taint('trap');
      throw error;
    }
    processor.runAtomically(() => loaded.exported(stateExports.restore)?.(), loaded.record);
    return transfer.length;
  });
}

/** Operation 260: an error is injected into every access inside the old image, aimed at each thread's outermost, or at its program's. */
function interruptAccesses(target: LoadTarget, request: LoadRequest, previous: LoadedImage, recorder: StepRecorder): Interruption {
  // From now on nobody gets in, also by a hard-coded address: whoever is driven out cannot come back.
  withdraw(previous, request.invalidation);
  const retryIn = target.moduleTable.lookUp(previous.image.stamp.module);
  const threadsOf = new Map<string, number>();
  let accesses = 0;
  const interruption: { interrupted: number; failed: number } = { interrupted: 0, failed: 0 };
  const onLost = () => {
    interruption.failed += 1;
  };
  const how = { onLost, retryIn };
  for (const { thread, program, recovery, onInterrupt } of target.threads()) {
    const { count, outermost } = target.processor.accessesInside(thread, previous.record);
    if (count === 0) continue;
    accesses += count;
    // A thread that is being stopped leaves the image anyway.
    if (thread.injection?.aim === threadAim) continue;
    target.processor.inject(thread, recovery === 'percolate' ? thread.block + threadBlock.frames : outermost, how);
    onInterrupt();
    interruption.interrupted += 1;
    threadsOf.set(program, (threadsOf.get(program) ?? 0) + 1);
  }
  if (accesses > 0) {
    const programs = [...threadsOf].slice(0, programsNamed).map(([program, threads]) => ({ program, threads }));
    recorder.record('interrupted', { accesses, threads: interruption.interrupted, programs });
  }
  return interruption;
}

type Swapped = { readonly previous: LoadedImage; readonly current: LoadedImage };

/** Waits until the interrupted accesses have left. */
function whenLeft(
  target: LoadTarget,
  request: LoadRequest,
  recorder: StepRecorder,
  swapped: Swapped & { readonly interruption: Interruption },
): Promise<LoadReport> {
  return new Promise((resolve) => {
    const bypasses = request.invalidation === 'none' ? 'ignored' : 'counted';
    target.processor.whenUnreferenced(swapped.previous.record, bypasses, () => resolve(conclude(target, request, recorder, swapped)));
  });
}

/** Waits until the accesses inside have left by themselves; at the deadline they are driven out, or the table entry goes back. */
function drain(target: LoadTarget, request: LoadRequest, recorder: StepRecorder, swapped: Swapped): Promise<LoadReport> {
  const { processor } = target;
  const { previous } = swapped;
  return new Promise((resolve) => {
    const cancelDeadline = processor.time.after(request.drainMilliseconds, () => {
      cancelWait();
      processor.betweenSlices(() => {
        if (previous.referenceCount === 0)
          return resolve(conclude(target, request, recorder, { ...swapped, interruption: noInterruption }));
        if (request.strategy === 'drain') return resolve(giveUp(target, request, recorder, swapped));
        const interruption = interruptAccesses(target, request, previous, recorder);
        resolve(whenLeft(target, request, recorder, { ...swapped, interruption }));
      });
    });
    const cancelWait = processor.whenUnreferenced(previous.record, 'ignored', () => {
      cancelDeadline();
      resolve(conclude(target, request, recorder, { ...swapped, interruption: noInterruption }));
    });
  });
}

/** The old version was not left in time: it is the one in the table again, and the new one goes when whoever entered it meanwhile has left. */
function giveUp(target: LoadTarget, request: LoadRequest, recorder: StepRecorder, { previous, current }: Swapped): LoadReport {
  const { processor, moduleTable } = target;
  moduleTable.update(current.image.stamp.module, previous);
  withdraw(current, 'mark-invalid');
  processor.whenUnreferenced(current.record, 'counted', () => {
    current.remove();
    target.retired.add(current);
  });
  const reason = `${previous.referenceCount} accesses were inside ${previous.image.stamp.version} after ${request.drainMilliseconds} ms: allow more time, or inject`;
  recorder.record('failed', { during: 'references-reset', reason });
  return report(recorder, { outcome: 'failed', reason, previous, current: previous });
}

/** Operations 270 to 280, once nobody is inside the old version. */
function conclude(
  target: LoadTarget,
  request: LoadRequest,
  recorder: StepRecorder,
  { previous, current, interruption }: Swapped & { readonly interruption: Interruption },
): LoadReport {
  const { interrupted, failed } = interruption;
  const retried = interrupted - failed;
  recorder.record('references-reset', { referenceCount: 0, retried, failed });
  invalidateAndRecord(target, request, previous, recorder);
  const outcome = interrupted > 0 ? 'replaced-interrupting' : 'replaced';
  return report(recorder, { outcome, previous, current, interrupted, retried, failed });
}

function invalidateAndRecord(target: LoadTarget, { invalidation }: LoadRequest, previous: LoadedImage, recorder: StepRecorder): void {
  invalidate(target, previous, invalidation);
  const heldBy = target.holders(previous.record).slice(0, programsNamed);
  recorder.record('invalidated', { invalidation, address: addressOf(previous), pages: previous.range.pages, heldBy });
}

/** Operation 275. */
function invalidate(target: LoadTarget, previous: LoadedImage, invalidation: Invalidation): void {
  withdraw(previous, invalidation);
  if (invalidation === 'delete') previous.remove();
  target.retired.add(previous);
}

/** Nobody gets into an image any more, and its pages say why. */
function withdraw(image: LoadedImage, invalidation: Invalidation): void {
  if (invalidation === 'none') return;
  image.forbidFetches();
  if (invalidation === 'nx') image.range.nx = true;
  else image.range.valid = false;
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
function report(recorder: StepRecorder, ending: Ending): LoadReport {
  const { outcome, reason = null, interrupted = 0, retried = 0, failed = 0, previous, current } = ending;
  const microseconds = recorder.elapsed;
  recorder.record('completed', { outcome, microseconds });
  return {
    outcome,
    reason,
    previous: previous && reported(previous),
    current: current && reported(current),
    interrupted,
    retried,
    failed,
    microseconds,
    steps: recorder.steps,
  };
}

const addressOf = (loaded: LoadedImage) => printAddress(loaded.range.firstPage);

function reported({ image, range, tainted }: LoadedImage): ReportedImage {
  return { version: image.stamp.version, image: image.digest, address: printAddress(range.firstPage), pages: range.pages, tainted };
}
