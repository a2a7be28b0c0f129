// What the end of a load means for the rollout that it is of: kept in the transaction that keeps the end, so that no rollout misses one.

import type { OrderOf } from '../../protocol/agent.ts';
import { DeviceState } from '../../protocol/device-state.ts';
import type { LoadReport } from '../../protocol/load-report.ts';
import type { Connection } from '../database/connection.ts';
import { DeviceRecords } from '../devices/repository.ts';
import { isLoaded } from '../history/module-history.ts';
import type { LoadEnd } from '../loads/repository.ts';
import { findCallers, noCallers } from './callers.ts';
import { captureBaseline } from './measurement.ts';
import { RolloutRecords } from './repository.ts';

type ReportedLoad = {
  readonly result: LoadReport;
  /** What the device reported right after the load. */
  readonly state: DeviceState;
  readonly at: Date;
  /** Whether the load had ended before its device reported, by its deadline. */
  readonly isLate: boolean;
};

/** A device has reported what came of its load. One that comes late with the new version has it all the same. */
export async function settleReportedLoad(
  connection: Connection,
  order: OrderOf<'load'>,
  { result, state, at, isLate }: ReportedLoad,
): Promise<void> {
  const { load: loadId, module, version, device } = order;
  const { outcome, reason, interrupted, previous } = result;
  const hasLoaded = isLoaded(result);
  // An earlier load of the same rollout may have brought it after that had expired.
  const isThereAlready = !hasLoaded && previous?.version === version;
  if (!hasLoaded && !isThereAlready) {
    if (!isLate) await new RolloutRecords(connection).settleFailed([{ loadId, outcome, reason }]);
    return;
  }
  const previousVersion = previous?.version ?? null;
  const swap = {
    module,
    version,
    previousVersion,
    before: await findPreviousState(connection, device, state),
  };
  const baseline = captureBaseline(state, swap, state.programs.length === 0 ? noCallers : await findCallers(connection, device, module));
  const arrival = { interrupted, loadedAt: at, baseline };
  const versionBefore = async () => {
    if (hasLoaded) return { previousVersion };
    // Who had it before the rollout came keeps it when that is rolled back.
    return (await new RolloutRecords(connection).countAttempts(loadId)) > 1 ? {} : { previousVersion: version };
  };
  await new RolloutRecords(connection).settleLoaded({ loadId, outcome, reason }, { ...arrival, ...(await versionBefore()) });
  if (isLate) await new RolloutRecords(connection).reopenRolledBack(loadId);
}

/** Loads of rollouts have ended without their devices: called in the transaction in which they end. */
export async function settleUnreportedLoads(
  connection: Connection,
  loadIds: readonly string[],
  { outcome, reason }: LoadEnd,
): Promise<void> {
  await new RolloutRecords(connection).settleFailed(loadIds.map((loadId) => ({ loadId, outcome, reason })));
}

/** What the device had reported before; nothing of an earlier life, in which its programs had other counts. */
async function findPreviousState(
  connection: Connection,
  device: string,
  { programs, abiViolations }: DeviceState,
): Promise<DeviceState | null> {
  if (programs.length === 0 && abiViolations.total === 0) return null;
  const known = await new DeviceRecords(connection).statesOf([device], (state) => DeviceState.safeParse(state).data ?? null);
  return known.get(device) ?? null;
}
