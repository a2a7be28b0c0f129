// The targets of a retry: devices whose loads failed, with the content of those loads.

import type { Connection } from '../database/connection.ts';
import type { LoadModel } from '../database/generated/models.ts';
import { DeviceRecords } from '../devices/repository.ts';
import type { SelectedDevice } from '../devices/selection.ts';
import type { Target } from '../loads/batches.ts';
import { type LoadContent, patchSetContent } from '../loads/content.ts';
import { checkHostsSupport } from '../loads/host-support.ts';
import { findSetRollbacks } from '../loads/set-rollbacks.ts';
import { BuildRecords } from '../modules/repository.ts';
import { PatchSetRecords } from '../patch-sets/repository.ts';
import type { FailedLoad } from './repository.ts';

type ContentOf = (load: FailedLoad) => LoadContent | null;

/**
 * Returns the devices that can load the content again. Leaves out decommissioned ones, and those on which there is nothing to unload or to roll back now.
 * @param sample A load of the same batch.
 * @throws {Problem} `unsupported-by-host`.
 */
export async function findRetryTargets(connection: Connection, sample: LoadModel, failed: readonly FailedLoad[]): Promise<Target[]> {
  const ids = failed.map(({ deviceId }) => deviceId);
  const known = await new DeviceRecords(connection).hostsOf(ids);
  const devices = new Map(
    known.flatMap(({ id, hostId, decommissionedAt }): (readonly [string, SelectedDevice])[] =>
      decommissionedAt === null ? [[id, { id, hostId }]] : [],
    ),
  );
  const contentOf = await readContents(connection, sample, failed);
  const targets = failed.flatMap((load): Target[] => {
    const device = devices.get(load.deviceId);
    const content = contentOf(load);
    return device === undefined || content === null ? [] : [{ device, content }];
  });
  if (sample.kind === 'patch-set') await checkHostsSupport(connection, targets, 'load-patch-set');
  if (sample.kind === 'unload') await checkHostsSupport(connection, targets, 'unload-module');
  return targets;
}

async function readContents(connection: Connection, sample: LoadModel, failed: readonly FailedLoad[]): Promise<ContentOf> {
  if (failed.length === 0) return () => null;
  const ids = failed.map(({ deviceId }) => deviceId);
  const { module, patchSetId, forceReason } = sample;
  if (sample.kind === 'unload') {
    const versions = await new DeviceRecords(connection).versionsOf(ids, module);
    return ({ deviceId }) => {
      const version = versions.get(deviceId);
      return version === undefined ? null : { kind: 'unload', module, version, forceReason };
    };
  }
  if (patchSetId === null) return readBuilds(connection, failed);
  if (sample.rollback) {
    const rollbacks = await findSetRollbacks(connection, ids, module);
    return ({ deviceId }) => {
      const rollback = rollbacks.get(deviceId);
      return rollback?.kind === 'revert' && rollback.reverted.patchSet.id === patchSetId ? rollback.content : null;
    };
  }
  const patchSet = await new PatchSetRecords(connection).find(patchSetId);
  const content = patchSet === null ? null : patchSetContent(patchSet);
  return () => content;
}

async function readBuilds(connection: Connection, failed: readonly FailedLoad[]): Promise<ContentOf> {
  const builds = await new BuildRecords(connection).findLoadable(failed);
  const contents = new Map(builds.map((build) => [build.version, { kind: 'build' as const, build }]));
  return ({ version }) => contents.get(version) ?? null;
}
