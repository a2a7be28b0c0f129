// Records the end of a load in its rollout, in the transaction that ends the load.

import type { OrderOf } from '../../protocol/agent.ts';
import { DeviceState } from '../../protocol/device-state.ts';
import type { LoadReport } from '../../protocol/load-report.ts';
import type { Connection } from '../database/connection.ts';
import { DeviceRecords } from '../devices/repository.ts';
import { isLoaded } from '../history/load-changes.ts';
import type { LoadEnd } from '../loads/repository.ts';
import { findCallers, noCallers } from './callers.ts';
import { captureBaseline } from './measurement.ts';
import { RolloutRecords } from './repository.ts';

type ReportedLoad = {
  readonly result: LoadReport;
  /** The state that the device reported right after the load. */
  readonly state: DeviceState;
  readonly at: Date;
  /** Whether the load had expired before the device reported. */
  readonly isLate: boolean;
};

/** Records a device's report. A late report of a successful load counts as loaded. */
export async function settleReportedLoad(
  connection: Connection,
  order: OrderOf<'load'>,
  { result, state, at, isLate }: ReportedLoad,
): Promise<void> {
  const { load: loadId, module, version, device } = order;
  const { outcome, reason, interrupted, previous } = result;
  const hasLoaded = isLoaded(result);
  // An earlier load of the same rollout may have succeeded after it expired.
  const wasLoadedBefore = !hasLoaded && previous?.version === version;
  if (!hasLoaded && !wasLoadedBefore) {
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
  const installation = { interrupted, loadedAt: at, baseline };
  const findPreviousVersion = async () => {
    if (hasLoaded) return { previousVersion };
    // On the first attempt, the device had the version before the rollout; a rollback leaves it there.
    return (await new RolloutRecords(connection).countAttempts(loadId)) > 1 ? {} : { previousVersion: version };
  };
  await new RolloutRecords(connection).settleLoaded({ loadId, outcome, reason }, { ...installation, ...(await findPreviousVersion()) });
  if (isLate) await new RolloutRecords(connection).reopenRolledBack(loadId);
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
