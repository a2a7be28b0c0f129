// The version of a module that each device had before its current one: where a rollback returns to. Yanked versions are passed over.

import type { Connection } from '../database/connection.ts';
import { readVersionStacks, searchedVersions, type VersionStack, versionsOf } from '../history/version-stack.ts';
import { BuildRecords, type LoadableBuild } from '../modules/repository.ts';
import { describeYank } from '../modules/yanked-build.ts';

export type EarlierVersion =
  /** `current` is null if the module was unloaded: the build is then the one that was unloaded. */
  { readonly current: string | null; readonly build: LoadableBuild } | { readonly reason: string };

/** Returns the earlier version of each device, or why it has none. */
export async function findEarlierVersions(
  connection: Connection,
  deviceIds: readonly string[],
  module: string,
): Promise<(deviceId: string) => EarlierVersion> {
  const stacks = await readVersionStacks(connection, deviceIds, module);
  const candidates = new Map([...stacks].map(([id, { versions }]) => [id, earlierVersionsOf(versions)]));
  const versions = new Set([...candidates.values()].flatMap(({ earlier }) => earlier));
  const builds =
    versions.size === 0 ? [] : await new BuildRecords(connection).findLoadable([...versions].map((version) => ({ module, version })));
  const byVersion = new Map(builds.map((build) => [build.version, build]));
  return (deviceId) => chooseEarlier(module, candidates.get(deviceId) ?? { current: null, earlier: [] }, byVersion);
}

type Candidates = {
  readonly current: string | null;
  /** Latest first. */
  readonly earlier: readonly string[];
};

function earlierVersionsOf(stack: VersionStack['versions']): Candidates {
  const latestFirst = versionsOf(stack).toReversed();
  if (stack.at(-1) === null) return { current: null, earlier: latestFirst };
  const [current = null, ...earlier] = latestFirst;
  return { current, earlier: earlier.filter((version) => version !== current) };
}

function chooseEarlier(module: string, { current, earlier }: Candidates, builds: ReadonlyMap<string, LoadableBuild>): EarlierVersion {
  const isYanked = (version: string) => (builds.get(version)?.yankReason ?? null) !== null;
  const build = builds.get(earlier.find((version) => !isYanked(version)) ?? '');
  if (build !== undefined) return { current, build };
  const yanked = earlier.flatMap((version) => describeYank({ module, version, yankReason: builds.get(version)?.yankReason ?? null }) ?? []);
  const [first] = yanked;
  const reason = `no previous version of ${module} among the last ${searchedVersions} loads`;
  if (first === undefined) return { reason };
  const others = new Set(yanked).size - 1;
  return { reason: `${reason} that is not yanked: ${first}${others === 0 ? '' : `, and ${others} more`}` };
}
