// Builds whose images were pruned: what to say of them.

import { Problem } from '../problem.ts';
import type { LoadableBuild } from './repository.ts';

/** @throws {Problem} `image-pruned`. */
export function checkHasImage(build: LoadableBuild): void {
  const reason = describePrunedImage(build);
  if (reason !== null) throw new Problem('image-pruned', reason);
}

/** Since when a build is without its image, and what to do; null where it has it. */
export function describePrunedImage({
  module,
  version,
  imagePrunedAt,
}: Pick<LoadableBuild, 'module' | 'version' | 'imagePrunedAt'>): string | null {
  if (imagePrunedAt === null) return null;
  return `the image of ${module}@${version} was pruned at ${imagePrunedAt.toISOString()}: push the same source under the same version, and it is back`;
}
