// Predicts the outcome of loads without creating them: applies the rules of devices to the service's records of each device.

import { z } from 'zod';
import type { LoadPolicy } from '../../protocol/load-report.ts';
import type { Connection } from '../database/connection.ts';
import { DeviceRecords } from '../devices/repository.ts';
import type { SelectedDevice } from '../devices/selection.ts';
import type { BuildRecord } from '../modules/repository.ts';
import { resolveDemands } from '../signature-policies/signature-demands.ts';
import { MemberForecast, type MemberOnDevice } from './forecast-member.ts';
import { memoryShortage, reportedMemory } from './forecast-memory.ts';
import { findHostsWithout, unsupportedReason } from './host-support.ts';
import { forecastLinks, type LinkForecast, type ReportedTable, SharedTables } from './link-forecast.ts';

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
  // The agent of the host does not know patch sets.
  'unsupported-by-host',
] as const;

/** The predicted outcome of a load. */
export type Forecast = {
  readonly verdict: (typeof verdicts)[number];
  /** Why the load would be refused, in the words of the device, or why the forecast is incomplete; otherwise null. */
  readonly reason: string | null;
  /** The recorded version of the module on the device; null if it has none. Of a patch set: null unless the device has all its builds. */
  readonly current: string | null;
  /** What an operator should know before a load that would succeed. */
  readonly warnings: readonly string[];
};

/** Returns whether the load would not succeed although the device does not have the version. */
export function isRefused({ verdict }: Forecast): boolean {
  return verdict.startsWith('refused-') || verdict === 'out-of-memory' || verdict === 'unsupported-by-host';
}

/** What the loads install: one build, or all builds of a patch set. */
export type ForecastContent = {
  /** Null for a build. */
  readonly patchSet: { readonly version: string } | null;
  /** In the order in which devices place them. */
  readonly builds: readonly BuildRecord[];
};

/** The part of a state that the forecast needs. It is in memory for up to 10,000 devices. */
const Reported = z.object({
  moduleTable: z.array(z.object({ module: z.string(), version: z.string(), image: z.string() })),
  ...reportedMemory,
});
type Reported = Omit<z.infer<typeof Reported>, 'moduleTable'> & { readonly moduleTable: ReportedTable };

/** The reason for a device without a reported state in this boot of its host. */
const notReportedReason = 'the device has not reported its state since its host started: its free memory and its modules are unknown';

/**
 * Predicts the outcome of loads, by device identifier, as if the devices started the loads now. The forecast can be wrong: it uses the last
 * reported state of each device, ignores queued loads, and does not know the keys that the operator of a host has pinned or what the code of a
 * module does during the load (start function, self-check, state transfer).
 * @param devices Up to the maximum of one request (10,000).
 */
export async function forecastLoads(
  connection: Connection,
  content: ForecastContent,
  devices: readonly SelectedDevice[],
  policy: LoadPolicy,
): Promise<ReadonlyMap<string, Forecast>> {
  const forecaster = await readForecaster(connection, content, devices, policy);
  return new Map(devices.map((device) => [device.id, forecastDevice(forecaster, device)]));
}

/** The rules and records from which a device's forecast follows. */
type Forecaster = Awaited<ReturnType<typeof readForecaster>>;

async function readForecaster(
  connection: Connection,
  { patchSet, builds }: ForecastContent,
  devices: readonly SelectedDevice[],
  policy: LoadPolicy,
) {
  const ids = devices.map(({ id }) => id);
  const tables = new SharedTables();
  const states = await new DeviceRecords(connection).statesOf(ids, (state): Reported | null => {
    const reported = Reported.safeParse(state).data;
    return reported === undefined ? null : { ...reported, moduleTable: tables.share(reported.moduleTable) };
  });
  const members: MemberForecast[] = [];
  for (const build of builds) members.push(await MemberForecast.read(connection, build, ids, policy));
  const modules = builds.map(({ module }) => module);
  return {
    patchSet,
    states,
    members,
    linksOn: await forecastLinks(connection, { isPatchSet: patchSet !== null, builds }, tables, policy),
    demandsOn: await resolveDemands(connection, modules, ids),
    hostsWithout: patchSet === null ? new Map<string, string>() : await findHostsWithout(connection, devices, 'load-patch-set'),
  };
}

/** Applies the rules in the order of the device. */
function forecastDevice(forecaster: Forecaster, { id, hostId }: SelectedDevice): Forecast {
  const { patchSet, states, linksOn, hostsWithout } = forecaster;
  const state = states.get(id) ?? null;
  const members = forecaster.members.map((member) => ({ member, current: member.currentVersion(id, state?.moduleTable) }));
  const changed = members.filter(({ member, current }) => current !== member.build.version);
  const current = patchSet === null ? (members[0]?.current ?? null) : changed.length === 0 ? patchSet.version : null;
  const forecast = (verdict: Forecast['verdict'], reason: string | null, warnings: readonly string[] = []): Forecast => {
    return { verdict, reason, current, warnings };
  };
  if (changed.length === 0) return forecast('already-installed', null);
  const host = hostsWithout.get(hostId);
  if (host !== undefined) return forecast('unsupported-by-host', unsupportedReason(host, 'load-patch-set'));
  const refusal = findRefusal(forecaster, id, { members, changed });
  if (refusal !== null) return forecast(refusal.outcome, refusal.reason);
  const links = state && linksOn(state.moduleTable);
  if (links?.drainConflict) return forecast(links.drainConflict.outcome, links.drainConflict.reason);
  if (links?.refusal) return forecast(links.refusal.outcome, links.refusal.reason);
  const lack =
    state &&
    memoryShortage(
      changed.map(({ member }) => member.build),
      state,
    );
  if (lack !== null) return forecast('out-of-memory', lack);
  const reason = links === null ? notReportedReason : links.unknown;
  const isReplaced = changed.some((member) => member.current !== null);
  return forecast(isReplaced ? 'would-replace' : 'would-install', reason, describeWarnings(forecaster, changed, links));
}

type Refusal = { readonly outcome: Forecast['verdict']; readonly reason: string };
/** The members on a device, and those that a load would change. */
type Members = { readonly members: readonly MemberOnDevice[]; readonly changed: readonly MemberOnDevice[] };

/** Returns why a device would refuse an image or a version, or null. */
function findRefusal({ demandsOn }: Forecaster, device: string, { members, changed }: Members): Refusal | null {
  for (const { member } of members) {
    const reason = member.imageRefusal(device, demandsOn);
    if (reason !== null) return { outcome: 'refused-image', reason };
  }
  for (const { member, current } of changed) {
    const refusal = member.comparisonWith(current)?.refusal ?? null;
    if (refusal !== null) return refusal;
  }
  return null;
}

function describeWarnings({ patchSet }: Forecaster, changed: readonly MemberOnDevice[], links: LinkForecast | null): string[] {
  const stateLosses = changed.flatMap(({ member, current }) => {
    const loss = member.comparisonWith(current)?.stateLoss ?? null;
    return loss === null ? [] : [patchSet === null ? loss : `${member.build.module}: ${loss}`];
  });
  return [...stateLosses, ...(links?.warnings ?? [])];
}
