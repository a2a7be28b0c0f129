// What a rollout puts on its devices: a build, or all builds of a patch set.

import type { Connection } from '../database/connection.ts';
import { RowError } from '../database/damaged-rows.ts';
import { DeviceRecords } from '../devices/repository.ts';
import { findPatchSet, type NamedVersion, unknownBuildProblem } from '../loads/loads.ts';
import { describePrunedImage } from '../modules/pruned-image.ts';
import { type BuildRecord, BuildRecords } from '../modules/repository.ts';
import { checkNotYanked } from '../modules/yanked-build.ts';
import { type PatchSetRecord, PatchSetRecords } from '../patch-sets/repository.ts';
import { Problem } from '../problem.ts';
import type { RolloutRecord } from './repository.ts';

/** What a request names. */
export type WantedContent = { readonly module: string; readonly version: string } | { readonly patchSet: NamedVersion };

/** The version that devices get, and the builds that they then have. */
export type RolloutContent = {
  /** Name of the module or of the patch set. */
  readonly module: string;
  readonly version: string;
  readonly patchSetId: string | null;
  /** One build, or the members of the patch set, sorted by module. */
  readonly builds: readonly { readonly module: string; readonly version: string }[];
};

/** The content of a request, with its builds. */
export type RequestedContent = Omit<RolloutContent, 'builds'> & { readonly builds: readonly BuildRecord[] };

/** @throws {Problem} `invalid-value` if the build or the patch set does not exist. */
export async function findContent(connection: Connection, wanted: WantedContent): Promise<RequestedContent> {
  if ('patchSet' in wanted) {
    const { members, id, name, version } = await findPatchSet(connection, wanted.patchSet);
    const builds = await Promise.all(members.map((member) => findBuild(connection, member)));
    return { module: name, version, patchSetId: id, builds };
  }
  return { ...wanted, patchSetId: null, builds: [await findBuild(connection, wanted)] };
}

async function findBuild(connection: Connection, { module, version }: NamedBuild): Promise<BuildRecord> {
  const build = await new BuildRecords(connection).find(module, version);
  if (build === null) throw await unknownBuildProblem(connection, module, version);
  return build;
}

type NamedBuild = RolloutContent['builds'][number];

/** @throws {Problem} `build-yanked`, which points to the patch set or the version. */
export function checkUsable({ builds, patchSetId }: RequestedContent): void {
  checkNotYanked(builds, patchSetId === null ? '/version' : '/patchSet');
}

/** @throws {Problem} `build-yanked` if the builds that a rollout loads are yanked. A rollback of a rollout loads others, and is not checked. */
export async function checkRolloutUsable(
  connection: Connection,
  { module, version, rollbackOf }: RolloutRecord,
  patchSet: PatchSetRecord | null,
): Promise<void> {
  if (rollbackOf !== null) return;
  const build = patchSet !== null || version === null ? null : await new BuildRecords(connection).find(module, version);
  checkNotYanked(patchSet?.members ?? (build === null ? [] : [build]), null);
}

/** @throws {Problem} `image-pruned`, which points to the patch set or the version. */
export function checkHasImages({ builds, patchSetId }: RequestedContent): void {
  const pointer = patchSetId === null ? '/version' : '/patchSet';
  const pruned = builds.flatMap((build) => describePrunedImage(build) ?? []);
  if (pruned.length > 0)
    throw new Problem('image-pruned', pruned.join('; '), { invalidValues: pruned.map((detail) => ({ pointer, detail })) });
}

/** Returns the patch set of a rollout; null if the rollout loads a build. @throws {RowError} */
export async function readPatchSet(
  connection: Connection,
  { id, patchSetId }: Pick<RolloutRecord, 'id' | 'patchSetId'>,
): Promise<PatchSetRecord | null> {
  if (patchSetId === null) return null;
  const patchSet = await new PatchSetRecords(connection).find(patchSetId);
  if (patchSet === null) throw new RowError(`rollout ${id} is of the patch set ${patchSetId}, which does not exist`);
  return patchSet;
}

/** Returns the content of a rollout; null for the rollback of a build, in which each device gets a version of its own. */
export function contentOf(
  { module, version, patchSetId }: Pick<RolloutRecord, 'module' | 'version' | 'patchSetId'>,
  patchSet: PatchSetRecord | null,
): RolloutContent | null {
  if (patchSet !== null) return { module, version: patchSet.version, patchSetId, builds: patchSet.members };
  return version === null ? null : { module, version, patchSetId, builds: [{ module, version }] };
}

/** Returns the modules that a rollout changes. */
export function modulesOf({ module }: Pick<RolloutRecord, 'module'>, patchSet: PatchSetRecord | null): string[] {
  return patchSet === null ? [module] : patchSet.members.map((member) => member.module);
}

/**
 * Returns the recorded version of the content on devices, by device identifier. Of a patch set: its version, for devices that have the version of each
 * member.
 */
export async function versionsOn(
  connection: Connection,
  deviceIds: readonly string[],
  { module, version, patchSetId, builds }: RolloutContent,
): Promise<Map<string, string>> {
  if (patchSetId === null) return new DeviceRecords(connection).versionsOf(deviceIds, module);
  let having = deviceIds;
  for (const member of builds) {
    const versions = await new DeviceRecords(connection).versionsOf(having, member.module);
    having = having.filter((id) => versions.get(id) === member.version);
  }
  return new Map(having.map((id) => [id, version]));
}
