// The versions of a module to which devices roll back.

import type { Connection } from '../database/connection.ts';
import type { SelectedDevice } from '../devices/selection.ts';
import { HistoryRecords } from '../history/repository.ts';
import { findEarlierVersions } from '../loads/earlier-versions.ts';
import { BuildRecords } from '../modules/repository.ts';
import { checkNotYanked } from '../modules/yanked-build.ts';
import type { Choice } from './choice.ts';

/**
 * Returns the rollback target of each device.
 * @param to A version that the devices had; null: the version before each device's current one that is not yanked.
 * @throws {Problem} `build-yanked` if the version is yanked.
 */
export function chooseModuleTargets(
  connection: Connection,
  devices: readonly SelectedDevice[],
  { module, to }: { readonly module: string; readonly to: string | null },
): Promise<Choice[]> {
  return to === null ? choosePrevious(connection, devices, module) : chooseRequested(connection, devices, module, to);
}

async function choosePrevious(connection: Connection, devices: readonly SelectedDevice[], module: string): Promise<Choice[]> {
  const earlierOf = await findEarlierVersions(
    connection,
    devices.map(({ id }) => id),
    module,
  );
  return devices.map((device): Choice => {
    const earlier = earlierOf(device.id);
    if ('reason' in earlier) return { kind: 'missing', device, reason: earlier.reason };
    const { current, build } = earlier;
    return { kind: 'target', device, content: { kind: 'build', build }, changes: [{ module, current, target: build.version }] };
  });
}

async function chooseRequested(
  connection: Connection,
  devices: readonly SelectedDevice[],
  module: string,
  target: string,
): Promise<Choice[]> {
  const ids = devices.map(({ id }) => id);
  const build = await new BuildRecords(connection).find(module, target);
  if (build !== null) checkNotYanked([build], '/to');
  const had = new Set(await new HistoryRecords(connection).findDevicesThatHad(ids, module, target));
  const latest = await new HistoryRecords(connection).loadedVersions(ids, module, 1);
  const current = new Map(latest.map(({ deviceId, version, isUnloaded }) => [deviceId, isUnloaded ? null : version]));
  return devices.map((device): Choice => {
    const installed = current.get(device.id);
    if (build === null || installed === undefined || !had.has(device.id))
      return { kind: 'missing', device, reason: `${module}@${target} was never installed` };
    if (installed === target) return { kind: 'unchanged', device, version: target };
    return { kind: 'target', device, content: { kind: 'build', build }, changes: [{ module, current: installed, target }] };
  });
}
