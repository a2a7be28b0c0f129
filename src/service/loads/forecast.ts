// Predicts the outcome of loads without creating them: applies the rules of devices to the service's records of each device.

import { z } from 'zod';
import { compareVersions } from '../../machine/isolation/version-policy.ts';
import { findGap, outOfMemoryMessage, pageBytes, pagesFor } from '../../machine/memory/random-access-memory.ts';
import { BuildProof, unreadableStatementMessage } from '../../proof/build-proof.ts';
import { Interface } from '../../protocol/interface.ts';
import type { LoadPolicy } from '../../protocol/load-report.ts';
import type { Connection } from '../database/connection.ts';
import { DeviceRecords } from '../devices/repository.ts';
import type { SelectedDevice } from '../devices/selection.ts';
import { missingProvenance, readBuildEnvelope } from '../modules/build-provenance.ts';
import { describePrunedImage } from '../modules/pruned-image.ts';
import type { BuildRecord } from '../modules/repository.ts';
import { BuildRecords } from '../modules/repository.ts';
import { describeStateLoss } from '../modules/state-loss.ts';
import { resolveDemands } from '../signature-policies/signature-demands.ts';
import { SigningKeyRecords } from '../signing-keys/repository.ts';
import { forecastLinks, type ReportedTable, SharedTables } from './link-forecast.ts';

export const verdicts = [
  'would-install',
  'would-replace',
  // The device has this version already.
  'already-installed',
  'refused-not-newer',
  'refused-dissimilar',
  'refused-unresolved',
  'refused-image',
  'out-of-memory',
] as const;

/** The predicted outcome of a load. */
export type Forecast = {
  readonly verdict: (typeof verdicts)[number];
  /** Why the load would be refused, in the words of the device, or why the forecast is incomplete; otherwise null. */
  readonly reason: string | null;
  /** The recorded version of the module on the device; null if it has none. */
  readonly current: string | null;
  /** What an operator should know before a load that would succeed. */
  readonly warnings: readonly string[];
};

/** The part of a state that the forecast needs. It is in memory for up to 10,000 devices. */
const Reported = z.object({
  moduleTable: z.array(z.object({ module: z.string(), version: z.string(), image: z.string() })),
  memoryMap: z.object({
    pages: z.number(),
    ranges: z.array(z.object({ address: z.string(), pages: z.number(), present: z.boolean(), reclaimable: z.boolean().optional() })),
  }),
  programs: z.array(z.object({ state: z.string() })),
});
type Reported = Omit<z.infer<typeof Reported>, 'moduleTable'> & { readonly moduleTable: ReportedTable };

/** The reason for a device without a reported state in this boot of its host. */
const notReportedReason = 'the device has not reported its state since its host started: its free memory and its modules are unknown';

/**
 * Predicts the outcome of loads of a build, by device identifier, as if the devices started the loads now. The forecast can be wrong: it uses the last
 * reported state of each device, ignores queued loads, and does not know the keys that the operator of a host has pinned or what the code of the
 * module does during the load (start function, self-check, state transfer).
 * @param devices Up to the maximum of one request (10,000).
 */
export async function forecastLoads(
  connection: Connection,
  build: BuildRecord,
  devices: readonly SelectedDevice[],
  policy: LoadPolicy,
): Promise<ReadonlyMap<string, Forecast>> {
  const ids = devices.map(({ id }) => id);
  const lastVersions = await new DeviceRecords(connection).versionsOf(ids, build.module);
  const tables = new SharedTables();
  const states = await new DeviceRecords(connection).statesOf(ids, (state) => {
    const reported = Reported.safeParse(state).data;
    return reported === undefined ? null : { ...reported, moduleTable: tables.share(reported.moduleTable) };
  });
  const linksOn = await forecastLinks(connection, build, tables, policy);
  const comparisons = await compareInstalled(connection, build, new Set(lastVersions.values()), policy);
  const proof = await proofOf(connection, build);
  const demandsOn = await resolveDemands(connection, [build.module], ids);
  const pages = pagesFor(build.imageBytes);
  const forecast = (id: string): Forecast => {
    const state = states.get(id) ?? null;
    const current = currentVersion(build.module, lastVersions.get(id) ?? null, state);
    const none: readonly string[] = [];
    if (current === build.version) return { verdict: 'already-installed', reason: null, current, warnings: none };
    const imageRefusal = proof instanceof BuildProof ? proof.unmetRequirement(demandsOn(build.module, id)) : proof.refusal;
    if (imageRefusal !== null)
      return { verdict: 'refused-image', reason: imageRefusal.slice(0, 1_000).toWellFormed(), current, warnings: none };
    const comparison = current === null ? undefined : comparisons.get(current);
    const refusal = comparison?.refusal ?? null;
    if (refusal !== null) return { verdict: refusal.outcome, reason: refusal.reason, current, warnings: none };
    const links = state && linksOn(state.moduleTable);
    if (links?.refusal) return { verdict: links.refusal.outcome, reason: links.refusal.reason, current, warnings: none };
    const lack = state && memoryShortage(build, pages, state);
    if (lack !== null) return { verdict: 'out-of-memory', reason: lack, current, warnings: none };
    const reason = links === null ? notReportedReason : links.unknown;
    const warnings = [...(comparison?.warnings ?? []), ...(links?.warnings ?? [])];
    return { verdict: current === null ? 'would-install' : 'would-replace', reason, current, warnings };
  };
  return new Map(ids.map((id) => [id, forecast(id)]));
}

/** Returns the recorded version, or null if the reported module table lacks the module. */
function currentVersion(module: string, last: string | null, state: Reported | null): string | null {
  const isMissing = state !== null && !state.moduleTable.some((entry) => entry.module === module);
  return isMissing ? null : last;
}

/** Compares the build with installed versions: why devices with a version would refuse it (null: they would not), and what it loses. By version. */
async function compareInstalled(connection: Connection, build: BuildRecord, versions: ReadonlySet<string>, policy: LoadPolicy) {
  const next = { module: build.module, version: build.version, interface: Interface.parse(build.interface) };
  const inMemory = await new BuildRecords(connection).findMany(build.module, [...versions]);
  return new Map(
    inMemory.map((installed) => {
      const { refusal } = compareVersions(next, { version: installed.version, interface: Interface.parse(installed.interface) }, policy);
      const stateLoss = describeStateLoss(installed, build);
      return [installed.version, { refusal, warnings: stateLoss === null ? [] : [stateLoss] }];
    }),
  );
}

/** Returns the proof of the build, or why every host would refuse it. */
async function proofOf(connection: Connection, build: BuildRecord): Promise<BuildProof | { readonly refusal: string }> {
  const refusal = describePrunedImage(build);
  if (refusal !== null) return { refusal };
  const envelope = readBuildEnvelope(build);
  if (envelope === null) return { refusal: missingProvenance(build).message };
  const proof = BuildProof.parse(envelope);
  if (proof === null) return { refusal: unreadableStatementMessage(build.imageDigest) };
  const keys = (await new SigningKeyRecords(connection).all()).map(({ keyId, publicKey }) => ({ keyId, pem: publicKey }));
  if (proof.signersAmong(keys).length === 0) return { refusal: proof.untrustedMessage() };
  const misstatement = proof.mismatchMessage(build);
  return misstatement === null ? proof : { refusal: misstatement };
}

/** Returns the reason of a device without that many contiguous free pages, or null. */
function memoryShortage(build: BuildRecord, pages: number, { memoryMap, programs }: Reported): string | null {
  // Removed pages stay reserved while a program runs, which may have their addresses. Without a running program, the next load frees them.
  const isHeld = programs.some(({ state }) => state === 'running');
  const used = memoryMap.ranges
    .filter(({ present, reclaimable }) => reclaimable !== true && (present || isHeld))
    .map((range) => ({ firstPage: Number(range.address) / pageBytes, pages: range.pages }))
    .toSorted((left, right) => left.firstPage - right.firstPage);
  if (findGap(used, pages, 1, memoryMap.pages) !== null) return null;
  const reclaimable = memoryMap.ranges.filter((range) => range.reclaimable === true);
  return outOfMemoryMessage(build, pages, {
    pages: memoryMap.pages,
    usedPages: sumOfPages(used) + sumOfPages(reclaimable),
    reclaimablePages: sumOfPages(reclaimable),
  });
}

function sumOfPages(ranges: readonly { readonly pages: number }[]): number {
  return ranges.reduce((sum, { pages }) => sum + pages, 0);
}
