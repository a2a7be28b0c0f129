// The content of each load of a rollout: its build, its patch set, or what a rollback restores.

import type { Connection } from '../database/connection.ts';
import { buildsOf, type LoadContent, patchSetContent } from '../loads/content.ts';
import { findEarlierVersions } from '../loads/earlier-versions.ts';
import { findHostsWithout, unsupportedReason } from '../loads/host-support.ts';
import { findSetRollbacks } from '../loads/set-rollbacks.ts';
import { describePrunedImage } from '../modules/pruned-image.ts';
import { BuildRecords } from '../modules/repository.ts';
import { describeYank } from '../modules/yanked-build.ts';
import type { PatchSetRecord } from '../patch-sets/repository.ts';
import type { RolloutRecord, WaitingDevice } from './repository.ts';

/** The content of a device's load, or why none can be created. */
export type ContentOrReason = { readonly content: LoadContent } | { readonly reason: string };

type Source = { readonly record: RolloutRecord; readonly patchSet: PatchSetRecord | null };

/** Returns the content of the load of each device. */
export async function readContents(
  connection: Connection,
  { record, patchSet }: Source,
  waiting: readonly WaitingDevice[],
): Promise<(device: WaitingDevice) => ContentOrReason> {
  const contentOf =
    patchSet === null ? await readBuilds(connection, record, waiting) : await readSets(connection, record, patchSet, waiting);
  return (device) => {
    const found = contentOf(device);
    if ('reason' in found) return found;
    const [lack] = buildsOf(found.content).flatMap((build) => describeYank(build) ?? describePrunedImage(build) ?? []);
    return lack === undefined ? found : { reason: lack };
  };
}

async function readBuilds(
  connection: Connection,
  { module, rollbackOf }: RolloutRecord,
  waiting: readonly WaitingDevice[],
): Promise<(device: WaitingDevice) => ContentOrReason> {
  const versions = [...new Set(waiting.map(({ version }) => version))];
  const builds = new Map((await new BuildRecords(connection).findMany(module, versions)).map((build) => [build.version, build]));
  const yanked = waiting.filter(({ version }) => (builds.get(version)?.yankReason ?? null) !== null).map(({ deviceId }) => deviceId);
  // Yanked since the device was added to the rollback.
  const earlierOf = rollbackOf === null || yanked.length === 0 ? null : await findEarlierVersions(connection, yanked, module);
  return ({ deviceId, version }) => {
    const build = builds.get(version);
    if (earlierOf !== null && yanked.includes(deviceId)) {
      const earlier = earlierOf(deviceId);
      return 'reason' in earlier ? earlier : { content: { kind: 'build', build: earlier.build } };
    }
    return build === undefined ? { reason: `the build ${module}@${version} does not exist` } : { content: { kind: 'build', build } };
  };
}

async function readSets(
  connection: Connection,
  { rollbackOf }: RolloutRecord,
  patchSet: PatchSetRecord,
  waiting: readonly WaitingDevice[],
): Promise<(device: WaitingDevice) => ContentOrReason> {
  const hostsWithout = await findHostsWithout(connection, waiting, 'load-patch-set');
  const contentOf = rollbackOf === null ? () => ({ content: patchSetContent(patchSet) }) : await readReverts(connection, patchSet, waiting);
  return (device) => {
    const host = hostsWithout.get(device.hostId);
    return host === undefined ? contentOf(device) : { reason: unsupportedReason(host, 'load-patch-set') };
  };
}

/** Returns the content that reverts a patch set on each device. */
export async function readReverts(
  connection: Connection,
  { id, name, version }: PatchSetRecord,
  devices: readonly { readonly deviceId: string }[],
): Promise<(device: { readonly deviceId: string }) => ContentOrReason> {
  const ids = devices.map(({ deviceId }) => deviceId);
  const rollbacks = await findSetRollbacks(connection, ids, name);
  return ({ deviceId }) => {
    const rollback = rollbacks.get(deviceId);
    if (rollback === undefined) return { reason: `no load of ${name}@${version} to roll back` };
    if (rollback.kind === 'impossible') return { reason: rollback.reason };
    const { patchSet } = rollback.reverted;
    if (patchSet.id !== id) return { reason: `the device now has ${patchSet.name}@${patchSet.version}: roll that back first` };
    return { content: rollback.content };
  };
}
