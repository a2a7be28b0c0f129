// The isolation workflow (US 8,689,206 B2, FIG. 2): a new version of an in-memory module is loaded at an unused address, takes over through the
// module table, and whoever is inside the old version is driven out of it by an injected error and retries in the new one.

import { compare } from 'semver';
import type { ModuleImage } from './image.ts';
import { LimitError } from './limit.ts';
import { type LoadReport, type Outcome, type ReportedImage, StepRecorder } from './load-report.ts';
import { LoadedImage } from './loaded-image.ts';
import type { ModuleTable } from './module-table.ts';
import type { Processor } from './processor.ts';
import { pageBytes, printAddress, type RandomAccessMemory } from './random-access-memory.ts';
import { compareInterfaces } from './similarity.ts';
import { type Thread, threadAim } from './thread.ts';

/** The parts of a device that a load works on. */
export type LoadTarget = {
  readonly processor: Processor;
  readonly memory: RandomAccessMemory;
  readonly moduleTable: ModuleTable;
  /** Every thread of the device, with the identifier of its program. */
  threads(): Iterable<{ readonly thread: Thread; readonly program: string }>;
  /** Accesses of these threads of a program are about to be interrupted. */
  interrupted(program: string, accesses: number): void;
};

export type LoadRequest = {
  readonly image: ModuleImage;
  readonly strategy: 'inject';
  readonly invalidation: 'nx';
  /** Whether a module that is in memory must be the older and substantially similar; not when a device is brought back to what it had. */
  readonly comparison: 'required' | 'none';
};

/** Programs that one step names. */
const programsNamed = 1_000;

/** Runs the workflow; a refused or failed load changes nothing. */
export async function runIsolationWorkflow(target: LoadTarget, request: LoadRequest): Promise<LoadReport> {
  const recorder = new StepRecorder(target.processor.clock);
  const swap = await target.processor.betweenSlices(() => swapImages(target, request, recorder));
  if (swap.kind === 'not-loaded') return swap.report;
  const { previous, current } = swap;
  if (previous === null) return report(recorder, { outcome: 'installed', previous, current });
  if (swap.referenceCount === 0) {
    invalidate(previous, recorder);
    return report(recorder, { outcome: 'replaced', previous, current });
  }
  const { retriedBefore, interrupted } = swap;
  const outcome = interrupted > 0 ? 'replaced-interrupting' : 'replaced';
  return new Promise((resolve) => {
    target.processor.whenUnreferenced(previous.record, () => {
      const retried = Math.min(previous.retried - retriedBefore, interrupted);
      const failed = interrupted - retried;
      recorder.record('references-reset', { referenceCount: 0, retried, failed });
      invalidate(previous, recorder);
      resolve(report(recorder, { outcome, previous, current, interrupted, retried, failed }));
    });
  });
}

type Swap =
  | { readonly kind: 'not-loaded'; readonly report: LoadReport }
  | {
      readonly kind: 'swapped';
      readonly previous: LoadedImage | null;
      readonly current: LoadedImage;
      /** Accesses inside the previous image at the swap. */
      readonly referenceCount: number;
      readonly interrupted: number;
      readonly retriedBefore: number;
    };

/** Operations 200 to 260, between two slices: to every thread the swap and the injection are one moment. */
function swapImages(target: LoadTarget, request: LoadRequest, recorder: StepRecorder): Swap {
  const { image } = request;
  const { module, version } = image.stamp;
  recorder.record('received', { module, version, image: image.digest, bytes: image.bytes });
  const previous = target.moduleTable.lookUp(module);
  recorder.record('looked-up', { address: previous && addressOf(previous), version: previous?.image.stamp.version ?? null });
  if (previous !== null && request.comparison === 'required') {
    const refusal = compareVersions(previous, image, recorder);
    if (refusal !== null) return { kind: 'not-loaded', report: refusal };
  }
  const written = writeImage(target, image);
  if (!(written instanceof LoadedImage)) {
    recorder.record('failed', { during: 'loaded', reason: written.reason });
    return { kind: 'not-loaded', report: report(recorder, { outcome: 'failed', reason: written.reason, previous, current: previous }) };
  }
  recorder.record('loaded', { address: addressOf(written), pages: written.range.pages });
  target.moduleTable.update(module, written);
  recorder.record('table-updated', { from: previous && addressOf(previous), to: addressOf(written) });
  if (previous === null) return { kind: 'swapped', previous, current: written, referenceCount: 0, interrupted: 0, retriedBefore: 0 };
  const retriedBefore = previous.retried;
  const { referenceCount } = previous;
  recorder.record('checked-references', { referenceCount });
  const interrupted = referenceCount > 0 ? interruptAccesses(target, previous, recorder) : 0;
  return { kind: 'swapped', previous, current: written, referenceCount, interrupted, retriedBefore };
}

/** Operation 220, and claim 11. Answers the report of a refusal, or null. */
function compareVersions(previous: LoadedImage, image: ModuleImage, recorder: StepRecorder): LoadReport | null {
  const { module, version } = image.stamp;
  const inMemoryVersion = previous.image.stamp.version;
  const order = compare(version, inMemoryVersion);
  const precedence = order > 0 ? 'newer' : order < 0 ? 'older' : 'same';
  const similarity = compareInterfaces(previous.image.stamp.interface, image.stamp.interface);
  recorder.record('compared', { version, inMemoryVersion, precedence, similarity });
  const refuse = (outcome: Outcome, reason: string) => {
    recorder.record('refused', { reason });
    return report(recorder, { outcome, reason, previous, current: previous });
  };
  if (precedence !== 'newer') {
    const how = precedence === 'same' ? 'of the same precedence as' : 'older than';
    return refuse('refused-not-newer', `${module}@${version} is ${how} ${inMemoryVersion}, which is in memory: load a newer version`);
  }
  if (!similarity.similar) {
    const lost = [
      ...similarity.removed.map((name) => `removed ${name}`),
      ...similarity.changed.map((name) => `changed the type of ${name}`),
    ];
    return refuse(
      'refused-dissimilar',
      `${module}@${version} is not substantially similar to ${inMemoryVersion}: it ${lost.join(', ')}`.slice(0, 1_000),
    );
  }
  return null;
}

/** Operation 230. */
function writeImage(target: LoadTarget, image: ModuleImage): LoadedImage | { readonly reason: string } {
  const { processor, memory, moduleTable } = target;
  const { module, version } = image.stamp;
  try {
    const offsets = moduleTable.layOut(
      module,
      image.stamp.interface.exports.map(({ name }) => name),
    );
    const pages = Math.max(Math.ceil(image.bytes / pageBytes), ...offsets.map((offset) => offset + 1));
    const range = memory.allocate(pages, { module, version });
    if (range === null)
      return {
        reason: `out of memory: ${module}@${version} needs ${pages} pages together, and ${memory.pages - 1 - memory.usedPages} of ${memory.pages} are free`,
      };
    return new LoadedImage(processor, memory, image, { range, offsets }, () => ({
      patchbay: { space: memory.table },
      ...moduleTable.importsFor(image),
    }));
  } catch (error) {
    if (error instanceof LimitError) return { reason: error.message };
    throw error;
  }
}

/** Operation 260: an error is injected into every access inside the old image, aimed at each thread's outermost. Answers how many. */
function interruptAccesses(target: LoadTarget, previous: LoadedImage, recorder: StepRecorder): number {
  const threadsOf = new Map<string, number>();
  let accesses = 0;
  let threads = 0;
  for (const { thread, program } of target.threads()) {
    const inside = target.processor.accessesInside(thread, previous.record);
    if (inside.count === 0) continue;
    accesses += inside.count;
    // A thread that is being stopped leaves the image anyway.
    if (thread.aim === threadAim) continue;
    target.processor.inject(thread, inside.outermost);
    threads += 1;
    threadsOf.set(program, (threadsOf.get(program) ?? 0) + 1);
  }
  for (const [program, count] of threadsOf) target.interrupted(program, count);
  const programs = [...threadsOf].slice(0, programsNamed).map(([program, count]) => ({ program, threads: count }));
  recorder.record('interrupted', { accesses, threads, programs });
  return threads;
}

/** Operation 275. */
function invalidate(previous: LoadedImage, recorder: StepRecorder): void {
  previous.forbidExecution();
  recorder.record('invalidated', { invalidation: 'nx', address: addressOf(previous), pages: previous.range.pages });
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
  const { outcome, reason = null, interrupted = 0, retried = 0, failed = 0 } = ending;
  const microseconds = recorder.elapsed;
  recorder.record('completed', { outcome, microseconds });
  return {
    outcome,
    reason,
    previous: ending.previous && reported(ending.previous),
    current: ending.current && reported(ending.current),
    interrupted,
    retried,
    failed,
    microseconds,
    steps: recorder.steps,
  };
}

const addressOf = (loaded: LoadedImage) => printAddress(loaded.range.firstPage);

function reported({ image, range }: LoadedImage): ReportedImage {
  return { version: image.stamp.version, image: image.digest, address: printAddress(range.firstPage), pages: range.pages };
}
