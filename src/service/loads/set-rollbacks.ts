// Rollbacks of patch sets: each device returns to the versions that it had before its latest load of the set, in one load.

import { splitIntoChunks } from '../database/chunks.ts';
import type { Connection } from '../database/connection.ts';
import { searchedVersions } from '../history/version-stack.ts';
import { BuildRecords, type LoadableBuild } from '../modules/repository.ts';
import { describeYank } from '../modules/yanked-build.ts';
import { PatchSetRecords } from '../patch-sets/repository.ts';
import type { LoadContent, MemberContent } from './content.ts';
import {
  type DeviceStacks,
  effectiveVersions,
  readDeviceStacks,
  readSetChanges,
  type SetChange,
  type SetLoad,
  setLoadsOf,
} from './set-loads.ts';

/** The rollback of a patch set on one device. */
export type SetRollback =
  | {
      readonly kind: 'revert';
      /** The load of the patch set that the rollback reverts. */
      readonly reverted: SetLoad;
      readonly changes: readonly SetChange[];
      /** Has the name and version of the reverted patch set, and a member for each module that its load changed. */
      readonly content: Extract<LoadContent, { kind: 'patch-set' }>;
    }
  | { readonly kind: 'impossible'; readonly reason: string };

/**
 * Returns the rollback of a patch set for each device: it reverts the latest load of the set that the device has not rolled back. This is impossible if
 * a module that the load changed has another version since then, or if the version before is yanked.
 * @param name Name of the patch set, whatever its versions.
 */
export async function findSetRollbacks(
  connection: Connection,
  deviceIds: readonly string[],
  name: string,
): Promise<ReadonlyMap<string, SetRollback>> {
  const modules = await new PatchSetRecords(connection).modulesOf(name);
  const rollbacks = new Map<string, SetRollback>();
  for (const ids of splitIntoChunks(deviceIds)) {
    const stacks = await readDeviceStacks(connection, ids, modules);
    const latest = [...stacks].flatMap(([, ofDevice]) => setLoadsOf(ofDevice).find(({ patchSet }) => patchSet.name === name) ?? []);
    const changes = await readSetChanges(connection, latest, modules);
    const buildOf = await readPreviousBuilds(connection, [...changes.values()].flat());
    for (const id of ids) rollbacks.set(id, { kind: 'impossible', reason: noLoadReason(name) });
    for (const load of latest) {
      const changed = changes.get(load.loadId) ?? [];
      const reason = findObstacle(load, changed, stacks.get(load.deviceId) ?? new Map());
      rollbacks.set(load.deviceId, reason === null ? toRollback(load, changed, buildOf) : { kind: 'impossible', reason });
    }
  }
  return rollbacks;
}

const noLoadReason = (name: string) =>
  `no load of the patch set ${name} to roll back among the last ${searchedVersions} loads of its modules`;

type BuildOf = (module: string, version: string) => LoadableBuild | undefined;

async function readPreviousBuilds(connection: Connection, changes: readonly SetChange[]): Promise<BuildOf> {
  const wanted = changes.flatMap(({ module, previous }) => (previous === null ? [] : [{ module, version: previous }]));
  const builds = wanted.length === 0 ? [] : await new BuildRecords(connection).findLoadable(wanted);
  const byName = new Map(builds.map((build) => [`${build.module}@${build.version}`, build]));
  return (module, version) => byName.get(`${module}@${version}`);
}

function toRollback(reverted: SetLoad, changes: readonly SetChange[], buildOf: BuildOf): SetRollback {
  const members: MemberContent[] = [];
  for (const { module, previous } of changes) {
    if (previous === null) {
      members.push({ action: 'unload', module });
      continue;
    }
    const build = buildOf(module, previous);
    if (build === undefined) return { kind: 'impossible', reason: `the service has no build of ${module}@${previous}` };
    const yank = describeYank(build);
    if (yank !== null) return { kind: 'impossible', reason: `${yank}. Roll back ${module} on its own, or unyank the build` };
    members.push({ action: 'load', build });
  }
  return { kind: 'revert', reverted, changes, content: { kind: 'patch-set', patchSet: reverted.patchSet, members } };
}

const noStack = { versions: [], isComplete: true };

/** Returns why a load of a patch set cannot be reverted: the first module that has another version since then, and what to do. Null if it can. */
function findObstacle({ loadId, patchSet }: SetLoad, changes: readonly SetChange[], stacks: DeviceStacks): string | null {
  const set = `${patchSet.name}@${patchSet.version}`;
  const isStacked = ({ module }: SetChange) => stacks.get(module)?.versions.some((entry) => entry?.loadId === loadId) ?? false;
  const changed = changes.find(({ module }) => stacks.get(module)?.versions.at(-1)?.loadId !== loadId);
  if (changed === undefined) return null;
  const { module, version } = changed;
  const stack = stacks.get(module);
  const top = stack?.versions.at(-1);
  const current = top ? `the device now has ${module}@${top.version}` : `${module} is no longer loaded`;
  if (isStacked(changed)) {
    const [origin, first] = top?.patchSet
      ? [` (of the patch set ${top.patchSet.name}@${top.patchSet.version})`, 'that patch set']
      : ['', module];
    return `${set} installed ${module}@${version}, but ${current}${origin}: roll back ${first} first, until the device has the ${module}@${version} of ${set} again`;
  }
  if (stack?.isComplete !== true)
    return `${set} installed ${module}@${version}, which is not among the last ${searchedVersions} loads of ${module}`;
  const rest = changes.filter((change) =>
    effectiveVersions(stacks.get(change.module) ?? noStack).some((entry) => entry?.loadId === loadId),
  );
  const steps = rest.map((change) => `${change.previous === null ? 'unload' : 'roll back'} ${change.module}`);
  return `the ${module}@${version} of ${set} was rolled back separately, and ${current}: revert the rest of ${set} separately too (${steps.join(', ')})`;
}
