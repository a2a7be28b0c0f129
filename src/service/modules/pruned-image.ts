// Checks that a build still has its image.

import { Problem } from '../problem.ts';
import type { LoadableBuild } from './repository.ts';

/** @throws {Problem} `image-pruned`. */
export function checkHasImage(build: LoadableBuild): void {
  const reason = describePrunedImage(build);
  if (reason !== null) throw new Problem('image-pruned', reason);
}

/** Returns when a build's image was pruned and what to do; null if the build has its image. */
export function describePrunedImage({
  module,
  version,
  imagePrunedAt,
}: Pick<LoadableBuild, 'module' | 'version' | 'imagePrunedAt'>): string | null {
  if (imagePrunedAt === null) return null;
  return `the image of ${module}@${version} was pruned at ${imagePrunedAt.toISOString()}: push the same source under the same version to restore it`;
}
