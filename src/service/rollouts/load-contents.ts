// The content of each load of a rollout: its build, its patch set, or what a rollback restores.

import type { Connection } from '../database/connection.ts';
import { buildsOf, type LoadContent, patchSetContent } from '../loads/content.ts';
import { findHostsWithout, unsupportedReason } from '../loads/host-support.ts';
import { findSetRollbacks } from '../loads/set-rollbacks.ts';
import { describePrunedImage } from '../modules/pruned-image.ts';
import { BuildRecords } from '../modules/repository.ts';
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
    const [pruned] = buildsOf(found.content).flatMap((build) => describePrunedImage(build) ?? []);
    return pruned === undefined ? found : { reason: pruned };
  };
}

async function readBuilds(
  connection: Connection,
  { module }: RolloutRecord,
  waiting: readonly WaitingDevice[],
): Promise<(device: WaitingDevice) => ContentOrReason> {
  const versions = [...new Set(waiting.map(({ version }) => version))];
  const builds = new Map((await new BuildRecords(connection).findMany(module, versions)).map((build) => [build.version, build]));
  return ({ version }) => {
    const build = builds.get(version);
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
