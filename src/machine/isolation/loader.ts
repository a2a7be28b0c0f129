// The isolation workflow (US 8,689,206 B2, FIG. 2): loads new versions of modules at unused addresses and swaps their module table entries. Accesses
// inside the old versions exit by themselves, or get an injected error and retry in the new ones. A patch set swaps all its entries at one safepoint.

import assert from 'node:assert/strict';
import type { Image } from '../images/image.ts';
import { isVerified, unverifiedMessage } from '../images/verified-image.ts';
import { formatAddress } from '../memory/random-access-memory.ts';
import { sanitizeReason } from '../reason.ts';
import { Drain, type DrainEnding } from './drain.ts';
import { findDrainConflict } from './drain-conflict.ts';
import { noAfterLoad, runAfterLoad } from './hooks.ts';
import { placeMembers } from './image-placement.ts';
import {
  type Interruption,
  interruptAccesses,
  type LeftVersion,
  maxListedPrograms,
  noInterruption,
  revokeExecute,
} from './interruption.ts';
import { checkLinks, checkUnload, type LinkedModules } from './link-policy.ts';
import { complete, fail, type MemberVersions, unchanged } from './load-ending.ts';
import { type LoadReport, type Outcome, type StepFacts, StepRecorder } from './load-report.ts';
import {
  type ArrivingImage,
  type LoadRequest,
  type LoadTarget,
  type Member,
  type MemberRequest,
  moduleOf,
  type SwappedMember,
} from './load-request.ts';
import type { LoadedImage } from './loaded-image.ts';
import type { PlacedMember, StartFacts } from './placed-member.ts';
import type { Reclaimed } from './retired-images.ts';
import { openVersionGates } from './version-gate.ts';
import { compareVersions } from './version-policy.ts';

/** One run of the workflow. */
type Load = { readonly target: LoadTarget; readonly request: LoadRequest; readonly recorder: StepRecorder };

/** Maximum unresolved links listed in a step. */
const maxListedLinks = 100;
/** Maximum reclaimed images listed in a report. */
const maxListedReclaimed = 100;

/** Runs the workflow. A refused or failed load changes nothing. */
export async function runIsolationWorkflow(target: LoadTarget, request: LoadRequest<Image>): Promise<LoadReport> {
  const recorder = new StepRecorder(() => target.processor.clock.now());
  const members: MemberRequest[] = [];
  for (const member of request.members) {
    if ('unload' in member) members.push(member);
    // JavaScript callers bypass the type check.
    else if (member.image.kind === 'module' && isVerified(member.image)) members.push({ ...member, image: member.image });
    else return refuseImage(recorder, request, member);
  }
  const load: Load = { target, request: { ...request, members }, recorder };
  const swap = await target.processor.atSafepoint(() => target.processor.runLoad(() => swapImages(load)));
  const report = await finish(load, swap);
  for (const { module } of swap.members) target.moduleTable.settle(module);
  return report;
}

/** Refuses an image that is not a verified module, at operation 200. */
function refuseImage(recorder: StepRecorder, request: LoadRequest<Image>, { image, ...signatures }: ArrivingImage<Image>): LoadReport {
  const { module } = image.stamp;
  const reason = image.kind === 'module' ? unverifiedMessage(image) : `${image.digest} is a driver image: expected a module image`;
  recordReceived(recorder, request, { image, ...signatures });
  recorder.record('refused', { reason }, memberOf(request, module));
  return complete(recorder, request.kind, { outcome: 'refused-image', reason, members: [{ module, previous: null, current: null }] });
}

/** Returns the module that a step of one member names; null if the load is not of a patch set. */
function memberOf({ kind }: Pick<LoadRequest, 'kind'>, module: string): string | null {
  return kind === 'patch-set' ? module : null;
}

type Swap =
  | { readonly kind: 'not-loaded'; readonly report: LoadReport; readonly members: readonly Member[] }
  | {
      readonly kind: 'swapped';
      readonly members: readonly SwappedMember[];
      /** Members that a patch set leaves as they are. */
      readonly kept: readonly Member[];
      /** Whether accesses were inside previous images at the swap. */
      readonly isReferenced: boolean;
      /** Null if the accesses may first exit by themselves (drain). */
      readonly interruption: Interruption | null;
      /** Called when a drain ends. */
      readonly closeGates: () => void;
    };
type Swapped = Extract<Swap, { kind: 'swapped' }>;

/** Operations 200 to 260, at a safepoint: threads observe swap and injection as atomic. */
function swapImages(load: Load): Swap {
  const { target, request, recorder } = load;
  const found = lookUp(load);
  const notLoaded = (report: LoadReport): Swap => ({ kind: 'not-loaded', report, members: found });
  const refusal = compare(load, found) ?? link(load, found);
  if (refusal !== null) return notLoaded(refusal);
  const kept = request.kind === 'patch-set' ? found.filter(isKept) : [];
  const placement = placeMembers(
    target,
    found.filter((member) => !kept.includes(member)),
  );
  if (!placement.ok) return notLoaded(fail(recorder, request.kind, { during: 'loaded', reason: placement.reason, members: found }));
  const { placed } = placement;
  for (const member of placed) {
    if (member.current === null) continue;
    target.addImage(member.current);
    recorder.record('loaded', describePlacement(member, member.current), memberOf(request, member.module));
  }
  updateTable(load, placed);
  const isReferenced = checkReferences(load, placed);
  if (!isReferenced || request.strategy === 'inject') {
    const interruption = interrupt(load, placed);
    return { kind: 'swapped', members: placed, kept, isReferenced, interruption, closeGates: () => {} };
  }
  // A module on its own has no other version that a thread could mix it with, except by recursion through other modules.
  const closeGates = request.kind === 'build' ? () => {} : openVersionGates(target, placed);
  return { kind: 'swapped', members: placed, kept, isReferenced, interruption: null, closeGates };
}

/** Operation 200. Digest, stamp and safepoint ABI were checked when the image was read. */
function recordReceived(recorder: StepRecorder, request: Pick<LoadRequest, 'kind'>, { image, signedBy }: ArrivingImage<Image>): void {
  const { module, version } = image.stamp;
  const facts = { module, version, image: image.digest, bytes: image.bytes, signedBy: [...signedBy] };
  recorder.record('received', facts, memberOf(request, module));
}

/** Operations 200 and 210. Returns the members with the versions in memory. */
function lookUp({ target, request, recorder }: Load): Member[] {
  for (const member of request.members) if (!('unload' in member)) recordReceived(recorder, request, member);
  return request.members.map((member) => {
    const arriving = 'unload' in member ? null : member;
    const module = moduleOf(member);
    const previous = target.moduleTable.lookUp(module);
    const facts = { address: previous && addressOf(previous), version: previous?.image.stamp.version ?? null };
    recorder.record('looked-up', facts, memberOf(request, module));
    return { module, arriving, previous };
  });
}

/** Returns whether a patch set leaves a member as it is: its version is in memory, or the module to unload is not. */
function isKept({ arriving, previous }: Member): boolean {
  return arriving === null ? previous === null : arriving.image.digest === previous?.image.digest;
}

/** Operation 220 and claim 11. Returns the report if the load is refused, or null. */
function compare(load: Load, members: readonly Member[]): LoadReport | null {
  const { request } = load;
  const isUnload = request.kind === 'unload';
  const [first] = members;
  if (isUnload && first?.previous === null)
    return refuse(load, members, { outcome: 'refused-not-loaded', reason: `${first.module} is not in memory` });
  if (request.kind === 'patch-set' && members.every(isKept))
    return refuse(load, members, { outcome: 'refused-not-newer', reason: 'all members of the patch set are in memory already' });
  for (const member of members) {
    const refusal = compareMember(load, member);
    if (refusal !== null) return refuse(load, members, refusal, member.module);
  }
  return refuseDrainConflict(load, members);
}

type Refusal = { readonly outcome: Outcome; readonly reason: string };

function compareMember({ request, recorder }: Load, member: Member): Refusal | null {
  const { versionPolicy, similarityPolicy, downgradeReason } = request;
  const { arriving, previous, module } = member;
  if (arriving === null || previous === null || versionPolicy === 'any') return null;
  const [next, inMemory] = [arriving.image.stamp, previous.stamp];
  assert(inMemory !== null, 'the image in the module table has no stamp');
  const { precedence, similarity, refusal } = compareVersions(next, inMemory, { versionPolicy, similarityPolicy });
  const facts = { version: next.version, inMemoryVersion: inMemory.version, precedence, versionPolicy, downgradeReason };
  recorder.record('compared', { ...facts, similarity, similarityPolicy }, memberOf(request, module));
  return request.kind === 'patch-set' && isKept(member) ? null : refusal;
}

function refuseDrainConflict(load: Load, members: readonly Member[]): LoadReport | null {
  const { target, request } = load;
  if (request.kind !== 'patch-set') return null;
  const conflict = findDrainConflict(linkedModules(target, members), request.strategy);
  return conflict && refuse(load, members, conflict.refusal, conflict.module);
}

/** Returns the modules of a load, and those in the module table before it. */
function linkedModules({ moduleTable }: LoadTarget, members: readonly Member[]): Required<LinkedModules> {
  return {
    arriving: members.flatMap(({ arriving }) => arriving?.image.stamp ?? []),
    inMemory: moduleTable.loaded.flatMap(({ stamp }) => stamp ?? []),
    leaving: members.flatMap(({ arriving, module }) => (arriving === null ? module : [])),
  };
}

function refuse({ request, recorder }: Load, members: readonly Member[], refusal: Refusal, module: string | null = null): LoadReport {
  recorder.record('refused', { reason: refusal.reason }, module && memberOf(request, module));
  return complete(recorder, request.kind, { ...refusal, members: members.map(unchanged) });
}

/** Operation 220: checks the links of the modules in memory and the arriving ones. Returns the report if the load is refused, or null. */
function link(load: Load, members: readonly Member[]): LoadReport | null {
  const { target, request, recorder } = load;
  const { kind, linkPolicy, forceReason } = request;
  if (linkPolicy === 'off') return null;
  const modules = linkedModules(target, members);
  const { unresolved, refusal } =
    kind === 'unload' ? checkUnload(modules.leaving[0] ?? '', modules.inMemory, forceReason !== null) : checkLinks(modules, linkPolicy);
  recorder.record('linked', {
    linkPolicy,
    unresolved: unresolved.slice(0, maxListedLinks),
    unresolvedLinks: unresolved.length,
    ...(forceReason === null ? {} : { forceReason }),
  });
  return refusal && refuse(load, members, refusal);
}

/** Returns the facts of operation 230. */
function describePlacement(member: PlacedMember & StartFacts, current: LoadedImage): StepFacts['loaded'] {
  const { selfCheck, beforeUnload, stateWords, reclaimed } = member;
  const { pages } = current.range;
  return { address: addressOf(current), pages, selfCheck, beforeUnload, stateWords, ...describeReclaimed(reclaimed) };
}

/** Returns the facts of operation 230 about the reclaimed images. */
function describeReclaimed(reclaimed: Reclaimed): Pick<StepFacts['loaded'], 'reclaimed' | 'reclaimedImages'> {
  const named = reclaimed.slice(0, maxListedReclaimed).map((loaded) => {
    const { module, version } = loaded.image.stamp;
    return { module, version, address: addressOf(loaded), pages: loaded.range.pages };
  });
  return { reclaimed: named, reclaimedImages: reclaimed.length };
}

/**
 * Operation 240. The hooks of the new versions run at the same safepoint, except when a module is restored: then no version takes over from another.
 */
function updateTable({ target, request, recorder }: Load, placed: readonly (PlacedMember & StartFacts)[]): void {
  for (const { module, current } of placed) target.moduleTable.update(module, current);
  for (const { module, previous, current, beforeUnload } of placed) {
    const hook = current === null || request.versionPolicy === 'any' ? noAfterLoad : runAfterLoad(target.processor, current);
    const addresses = { from: previous && addressOf(previous), to: current && addressOf(current) };
    const unloaded = current === null ? { beforeUnload } : {};
    recorder.record('table-updated', { ...addresses, ...unloaded, ...hook }, memberOf(request, module));
  }
}

/** Operation 250. Returns whether an access is inside an old version, by the module table or by a hard-coded address. */
function checkReferences({ recorder }: Load, members: readonly SwappedMember[]): boolean {
  const old = members.flatMap(({ previous }) => previous ?? []);
  if (old.length === 0) return false;
  const referenceCount = countReferences(old);
  recorder.record('checked-references', { referenceCount });
  return referenceCount + old.reduce((sum, { bypassCount }) => sum + bypassCount, 0) > 0;
}

const countReferences = (images: readonly LoadedImage[]) => images.reduce((sum, { referenceCount }) => sum + referenceCount, 0);

/** Operation 260. */
function interrupt({ target, request, recorder }: Load, members: readonly SwappedMember[]): Interruption {
  const versions = members.flatMap(({ previous, current }): LeftVersion[] =>
    previous === null ? [] : [{ left: previous, retryIn: current }],
  );
  if (versions.length === 0) return noInterruption;
  const { interruption, facts } = interruptAccesses(target, versions, request.invalidation);
  if (facts.accesses > 0) recorder.record('interrupted', facts);
  return interruption;
}

/** Operations 250 to 280 of a load whose entries were swapped. */
function finish(load: Load, swap: Swap): LoadReport | Promise<LoadReport> {
  if (swap.kind === 'not-loaded') return swap.report;
  if (!swap.isReferenced) {
    invalidateAll(load, swap);
    return succeed(load, swap, noInterruption);
  }
  return swap.interruption === null ? drain(load, swap) : waitForExits(load, swap, swap.interruption);
}

/** Waits until the accesses inside have exited. At the deadline or on request, interrupts them or reverts the swap. */
function drain(load: Load, swapped: Swapped): Promise<LoadReport> {
  const { target, request } = load;
  const { promise, resolve } = Promise.withResolvers<LoadReport>();
  const onEnd = (ending: DrainEnding) => {
    target.setDrain(null);
    if (ending.kind === 'cancelled') return resolve(revertSwap(load, swapped, () => cancelDrain(load, swapped, ending.reason)));
    if (ending.kind === 'timed-out' && request.strategy === 'drain') return resolve(revertSwap(load, swapped, failDrain(load, swapped)));
    swapped.closeGates();
    if (ending.kind === 'unreferenced' && !isBypassedSet(load, swapped)) return resolve(resetReferences(load, swapped, noInterruption));
    resolve(waitForExits(load, swapped, interrupt(load, swapped.members)));
  };
  target.setDrain(new Drain(target, previousOf(swapped), request.drainMilliseconds, onEnd));
  return promise;
}

const previousOf = ({ members }: Swapped): LoadedImage[] => members.flatMap(({ previous }) => previous ?? []);

/** Returns whether programs with hard-coded addresses are inside old versions of a patch set, where they would soon call new ones. */
function isBypassedSet({ request }: Load, swapped: Swapped): boolean {
  return request.kind === 'patch-set' && previousOf(swapped).some(({ bypassCount }) => bypassCount > 0);
}

/**
 * Reverts the swap: the table names the old versions again. The new version of a build is removed once the accesses that entered it have exited. Those
 * inside versions that call each other, or themselves, are interrupted and retry in the old versions: they would call old versions, which may lack the
 * slots of what they call.
 * @param report Called once the swap is reverted.
 */
function revertSwap({ target, request }: Load, swapped: Swapped, report: () => LoadReport): LoadReport | Promise<LoadReport> {
  const { processor, moduleTable, retired } = target;
  for (const { module, previous } of swapped.members) moduleTable.update(module, previous);
  swapped.closeGates();
  const left = swapped.members.flatMap(({ previous, current }) => (current === null ? [] : [{ left: current, retryIn: previous }]));
  const remove = () => {
    for (const { left: image } of left) {
      image.remove();
      retired.add(image);
    }
  };
  const records = left.map(({ left: { record } }) => record);
  if (request.kind !== 'patch-set' && !left.some(({ left: image }) => callsItself(image))) {
    for (const { left: image } of left) revokeExecute(image, 'mark-invalid');
    if (left.length > 0) processor.onUnreferenced(records, 'counted', remove);
    return report();
  }
  interruptAccesses(target, left, 'mark-invalid');
  return new Promise((resolve) => {
    processor.onUnreferenced(records, 'counted', () => {
      remove();
      resolve(report());
    });
  });
}

/** Returns whether a version that may be entered imports its own module. */
function callsItself({ stamp }: LoadedImage): boolean {
  return stamp?.interface.imports.some(({ module }) => module === stamp.module) ?? false;
}

/** Returns the report of a drain that timed out, with the accesses that are inside now. */
function failDrain({ request, recorder }: Load, swapped: Swapped): () => LoadReport {
  const old = previousOf(swapped);
  const referenceCount = countReferences(old);
  const accesses = referenceCount === 1 ? '1 access was' : `${referenceCount} accesses were`;
  const versions = request.kind === 'patch-set' ? old.map(nameOf).join(', ') : (old[0]?.image.stamp.version ?? '');
  const reason = sanitizeReason(
    `${accesses} still inside ${versions} after ${request.drainMilliseconds} ms: drain longer, or use strategy inject`,
  );
  return () => fail(recorder, request.kind, { during: 'references-reset', reason, members: versionsOf(request, swapped) });
}

/** The drain was cancelled. */
function cancelDrain({ request, recorder }: Load, swapped: Swapped, cause: string): LoadReport {
  const reason = sanitizeReason(cause);
  recorder.record('cancelled', { during: 'checked-references', reason });
  return complete(recorder, request.kind, { outcome: 'cancelled', reason, members: versionsOf(request, swapped).map(unchanged) });
}

/** Waits until the interrupted accesses have exited. */
function waitForExits(load: Load, swapped: Swapped, interruption: Interruption): Promise<LoadReport> {
  return new Promise((resolve) => {
    const bypasses = load.request.invalidation === 'none' ? 'ignored' : 'counted';
    const records = previousOf(swapped).map(({ record }) => record);
    load.target.processor.onUnreferenced(records, bypasses, () => resolve(resetReferences(load, swapped, interruption)));
  });
}

/** Operations 270 to 280, once no access is inside the old versions. */
function resetReferences(load: Load, swapped: Swapped, interruption: Interruption): LoadReport {
  const { interrupted, failed } = interruption;
  load.recorder.record('references-reset', { referenceCount: 0, retried: interrupted - failed, failed });
  invalidateAll(load, swapped);
  return succeed(load, swapped, interruption);
}

/** Operation 275. */
function invalidateAll({ target, request, recorder }: Load, { members }: Swapped): void {
  const { invalidation } = request;
  for (const { module, previous } of members) {
    if (previous === null) continue;
    revokeExecute(previous, invalidation);
    if (invalidation === 'delete') previous.remove();
    target.retired.add(previous);
    const heldBy = target.programsHolding(previous.record).slice(0, maxListedPrograms);
    const facts = { invalidation, address: addressOf(previous), pages: previous.range.pages, heldBy };
    recorder.record('invalidated', facts, memberOf(request, module));
  }
}

/** Operation 280. */
function succeed({ request, recorder }: Load, swapped: Swapped, { interrupted, failed }: Interruption): LoadReport {
  const outcome = outcomeOf(request, swapped, interrupted);
  const members = versionsOf(request, swapped);
  return complete(recorder, request.kind, { outcome, members, interrupted, retried: interrupted - failed, failed });
}

function outcomeOf({ kind }: LoadRequest, swapped: Swapped, interrupted: number): Outcome {
  if (kind === 'unload') return interrupted > 0 ? 'unloaded-interrupting' : 'unloaded';
  if (previousOf(swapped).length === 0) return 'installed';
  return interrupted > 0 ? 'replaced-interrupting' : 'replaced';
}

/** Returns the versions of all members, in the order of the request. */
function versionsOf({ members: requested }: LoadRequest, { members, kept }: Swapped): MemberVersions[] {
  const byModule = new Map([...members, ...kept.map(unchanged)].map((member) => [member.module, member]));
  return requested.flatMap((member) => byModule.get(moduleOf(member)) ?? []);
}

const addressOf = (loaded: LoadedImage) => formatAddress(loaded.range.firstPage);
const nameOf = ({ image: { stamp } }: LoadedImage) => `${stamp.module}@${stamp.version}`;
