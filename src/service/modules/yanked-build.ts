// Checks that a build is not yanked: nothing new may use a yanked build.

import { Problem } from '../problem.ts';
import type { LoadableBuild } from './repository.ts';

type CheckedBuild = Pick<LoadableBuild, 'module' | 'version' | 'yankReason'>;

/** Returns why a build was yanked, and what to do; null if it was not. */
export function describeYankedBuild(build: CheckedBuild): string | null {
  const reason = describeYank(build);
  return reason === null ? null : `${reason}. Choose another version, or unyank the build`;
}

/** Returns why a build was yanked; null if it was not. */
export function describeYank({ module, version, yankReason }: CheckedBuild): string | null {
  return yankReason === null ? null : `the build ${module}@${version} is yanked: ${yankReason}`;
}

/** @throws {Problem} `build-yanked`, which names every yanked build. @param pointer JSON pointer to the version in the request, if any. */
export function checkNotYanked(builds: readonly CheckedBuild[], pointer: string | null): void {
  const yanked = builds.flatMap((build) => describeYankedBuild(build) ?? []);
  if (yanked.length === 0) return;
  const invalidValues = pointer === null ? [] : yanked.map((detail) => ({ pointer, detail }));
  throw new Problem('build-yanked', yanked.join('; '), { invalidValues });
}
