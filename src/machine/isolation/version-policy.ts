// Decides whether a new version may replace the one in memory. Used by the device that loads it and by load forecasts.

import { compare } from 'semver';
import type { Stamp } from '../images/stamp.ts';
import { sanitizeReason } from '../reason.ts';
import type { SimilarityPolicy, VersionPolicy } from './load-report.ts';
import { compareInterfaces, type Similarity } from './similarity.ts';

export type VersionDecision = {
  readonly precedence: 'newer' | 'same' | 'older';
  readonly similarity: Similarity;
  /** Null if the version may replace the one in memory. */
  readonly refusal: { readonly outcome: 'refused-not-newer' | 'refused-dissimilar'; readonly reason: string } | null;
};

/** Compares precedence (semver.org, 11) and interfaces, and decides by the load's policies (operation 220 and claim 11). */
export function compareVersions(
  next: Pick<Stamp, 'module' | 'version' | 'interface'>,
  inMemory: Pick<Stamp, 'version' | 'interface'>,
  { versionPolicy, similarityPolicy }: { readonly versionPolicy: VersionPolicy; readonly similarityPolicy: SimilarityPolicy },
): VersionDecision {
  const order = compare(next.version, inMemory.version);
  const precedence = order > 0 ? 'newer' : order < 0 ? 'older' : 'same';
  const similarity = compareInterfaces(inMemory.interface, next.interface);
  const name = `${next.module}@${next.version}`;
  if (precedence === 'same' || (precedence === 'older' && versionPolicy === 'newer')) {
    const relation = precedence === 'same' ? 'has the same precedence as' : 'is older than';
    const reason = `${name} ${relation} ${inMemory.version}, which is in memory: load a newer version`;
    return { precedence, similarity, refusal: { outcome: 'refused-not-newer', reason } };
  }
  if (!similarity.similar && similarityPolicy === 'require') {
    const lost = [
      ...similarity.removed.map((removed) => `removed ${removed}`),
      ...similarity.changed.map((changed) => `changed the type of ${changed}`),
    ];
    const reason = `${name} is not substantially similar to ${inMemory.version}: it ${lost.join(', ')}`;
    return { precedence, similarity, refusal: { outcome: 'refused-dissimilar', reason: sanitizeReason(reason) } };
  }
  return { precedence, similarity, refusal: null };
}
