// The assignments that are not off, and the version that each gives to devices: the highest usable one in its range that its channel has.

import { compareBuild, satisfies } from 'semver';
import { type LabelSelector, parseLabelSelector } from '../../protocol/label-selector.ts';
import type { Connection } from '../database/connection.ts';
import { GroupRecords } from '../groups/repository.ts';
import { compareByPrecedence } from './precedence.ts';
import { AssignmentRecords, type AssignmentRow, type PromotedBuild, type PromotedVersion } from './repository.ts';

/** A version and the builds that a device then has. */
export type Target = {
  readonly version: string;
  readonly contentId: string;
  readonly builds: readonly Pick<PromotedBuild, 'module' | 'version'>[];
};

/** A version above the desired one that has not reached all devices of its rollout. */
export type HeldVersion = Target & {
  readonly rolloutId: string;
  /** `open`: the rollout is in progress. `stopped`: it was aborted or rolled back. */
  readonly rollout: 'open' | 'stopped';
};

export type ActiveAssignment = {
  readonly id: string;
  readonly priority: number;
  /** The modules that it decides. Of a patch set: those of all promoted versions in the range. */
  readonly modules: readonly string[];
  readonly row: AssignmentRow;
  readonly selector: LabelSelector;
  /** Null if the channel has no usable version in the range that may be loaded outside a rollout. */
  readonly target: Target | null;
  /** Versions above the target, highest first. */
  readonly held: readonly HeldVersion[];
};

/** Returns the assignments that are not off, in the order of their precedence. */
export async function readActiveAssignments(connection: Connection): Promise<ActiveAssignment[]> {
  const records = new AssignmentRecords(connection);
  const rows = await records.listActive();
  if (rows.length === 0) return [];
  const promoted = await records.promotedVersions();
  const builds = Map.groupBy(
    await records.buildsOf([...new Set(promoted.map(({ contentId }) => contentId))]),
    ({ contentId }) => contentId,
  );
  const selectors = await new GroupRecords(connection).selectorsOf([...new Set(rows.map(({ groupId }) => groupId))]);
  const versions = Map.groupBy(promoted, ({ assignmentId }) => assignmentId);
  const active = rows.flatMap((row) => {
    const selector = selectors.get(row.groupId);
    return selector === undefined ? [] : [toActive(row, parseLabelSelector(selector), versions.get(row.id) ?? [], builds)];
  });
  return active.toSorted(compareByPrecedence);
}

function toActive(
  row: AssignmentRow,
  selector: LabelSelector,
  promoted: readonly PromotedVersion[],
  buildsOf: ReadonlyMap<string, readonly PromotedBuild[]>,
): ActiveAssignment {
  const inRange = promoted
    .filter(({ version }) => satisfies(version, row.range))
    .map((version) => ({ ...version, builds: buildsOf.get(version.contentId) ?? [] }))
    .toSorted((left, right) => compareBuild(right.version, left.version));
  const usable = inRange.filter(({ builds }) => builds.length > 0 && builds.every(({ isUsable }) => isUsable));
  const first = usable.findIndex((version) => rolloutOf(version) === null);
  const target = usable[first];
  const above = first < 0 ? usable : usable.slice(0, first);
  const { id, priority, kind, content } = row;
  const modules = kind === 'build' ? [content] : [...new Set(inRange.flatMap(({ builds }) => builds.map(({ module }) => module)))];
  return { id, priority, modules, row, selector, target: target === undefined ? null : toTarget(target), held: above.flatMap(toHeld) };
}

type VersionWithBuilds = PromotedVersion & { readonly builds: readonly PromotedBuild[] };

function toTarget({ version, contentId, builds }: VersionWithBuilds): Target {
  return { version, contentId, builds: builds.map(({ module, version: ofBuild }) => ({ module, version: ofBuild })) };
}

function toHeld(version: VersionWithBuilds): HeldVersion[] {
  const rollout = rolloutOf(version);
  return rollout === null ? [] : [{ ...toTarget(version), ...rollout }];
}

/** Returns the rollout that holds a version; null if the version needed none, or if its rollout is completed. */
function rolloutOf({ rolloutId, rolloutState }: PromotedVersion): Pick<HeldVersion, 'rolloutId' | 'rollout'> | null {
  if (rolloutId === null || rolloutState === 'completed') return null;
  const isStopped = rolloutState === 'aborted' || rolloutState === 'rolling-back' || rolloutState === 'rolled-back';
  return { rolloutId, rollout: isStopped ? 'stopped' : 'open' };
}
