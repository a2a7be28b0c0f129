// Records the end of a load in its rollout, in the transaction that ends the load.

import type { OrderOf } from '../../protocol/agent.ts';
import { DeviceState } from '../../protocol/device-state.ts';
import type { LoadReport } from '../../protocol/load-report.ts';
import type { Connection } from '../database/connection.ts';
import { DeviceRecords } from '../devices/repository.ts';
import { changesOf, isApplied, isLoaded, type ReportedChange } from '../history/load-changes.ts';
import type { LoadEnd } from '../loads/repository.ts';
import { findCallers, noCallers } from './callers.ts';
import { captureBaseline, type SwappedVersions } from './measurement.ts';
import { RolloutRecords } from './repository.ts';

/** The orders of rollouts. */
type RolloutOrder = OrderOf<'load' | 'load-patch-set'>;

type ReportedLoad = {
  readonly result: LoadReport;
  /** The state that the device reported right after the load. */
  readonly state: DeviceState;
  readonly at: Date;
  /** Whether the load had expired before the device reported. */
  readonly isLate: boolean;
};

/** Records a device's report. A late report of a successful load counts as loaded. */
export async function settleReportedLoad(connection: Connection, order: RolloutOrder, report: ReportedLoad): Promise<void> {
  const { load: loadId, device } = order;
  const { result, state, at, isLate } = report;
  const { outcome, reason, interrupted } = result;
  const changes = changesOf({ order, report: result, request: undefined });
  const hasLoaded = isLoaded(result);
  if (!hasLoaded && !wasLoadedBefore(changes)) {
    if (!isLate) await new RolloutRecords(connection).settleFailed([{ loadId, outcome, reason }]);
    return;
  }
  const modules = changes.map(({ module }) => module);
  const swap = { modules, versions: swappedVersions(changes), before: await findPreviousState(connection, device, state) };
  const baseline = captureBaseline(state, swap, state.programs.length === 0 ? noCallers : await findCallers(connection, device, modules));
  const installation = { interrupted, loadedAt: at, baseline };
  const findPreviousVersion = async () => {
    // A patch set replaces versions of several modules: the stored version, that of the set, is right.
    if (hasLoaded) return order.kind === 'load' ? { previousVersion: result.previous?.version ?? null } : {};
    // On the first attempt, the device had the version before the rollout; a rollback leaves it there.
    return (await new RolloutRecords(connection).countAttempts(loadId)) > 1 ? {} : { previousVersion: versionOf(order) };
  };
  await new RolloutRecords(connection).settleLoaded({ loadId, outcome, reason }, { ...installation, ...(await findPreviousVersion()) });
  if (isLate) await new RolloutRecords(connection).reopenRolledBack(loadId);
}

/** Whether the device had each version before the load. An earlier load of the same rollout may have succeeded after it expired. */
function wasLoadedBefore(changes: readonly ReportedChange[]): boolean {
  return changes.every(({ report, order, build, previous }) => {
    if (order.kind === 'load-patch-set' && report.members === undefined) return false;
    return build === null ? previous === null : previous?.version === build.version;
  });
}

/** Returns the versions before and after the load. The members that a patch set leaves as they are have no entry. */
function swappedVersions(changes: readonly ReportedChange[]): Map<string, SwappedVersions> {
  const swapped = changes.filter((change) => change.order.kind === 'load' || isApplied(change));
  return new Map(
    swapped.map(({ module, build, previous }) => [module, { version: build?.version ?? null, previousVersion: previous?.version ?? null }]),
  );
}

/** Returns the version that a rollout gives to the device. */
function versionOf(order: RolloutOrder): string {
  return order.kind === 'load' ? order.version : order.patchSet.version;
}

/** Records loads that ended without a report from their devices. Called in the transaction that ends the loads. */
export async function settleUnreportedLoads(
  connection: Connection,
  loadIds: readonly string[],
  { outcome, reason }: LoadEnd,
): Promise<void> {
  await new RolloutRecords(connection).settleFailed(loadIds.map((loadId) => ({ loadId, outcome, reason })));
}

/** Returns the state that the device reported before the load. Null after a boot of the device, because its programs' counts restarted. */
async function findPreviousState(
  connection: Connection,
  device: string,
  { programs, abiViolations }: DeviceState,
): Promise<DeviceState | null> {
  if (programs.length === 0 && abiViolations.total === 0) return null;
  const known = await new DeviceRecords(connection).statesOf([device], (state) => DeviceState.safeParse(state).data ?? null);
  return known.get(device) ?? null;
}
