// The rules for the members of a patch set: known builds with images, whose links to each other are resolved.

import { rsort, satisfies } from 'semver';
import { findUnresolvedLinks, type LinkedModule } from '../../machine/isolation/link-policy.ts';
import { isVersion } from '../../protocol/identifiers.ts';
import type { Connection } from '../database/connection.ts';
import { toLinkedModule } from '../modules/linked-module.ts';
import { describePrunedImage } from '../modules/pruned-image.ts';
import { type BuildRecord, BuildRecords } from '../modules/repository.ts';
import { describeYankedBuild } from '../modules/yanked-build.ts';
import { type InvalidValue, Problem } from '../problem.ts';

/** A build that a request names. */
export type NamedBuild = { readonly module: string; readonly version: string };

/** Maximum invalid values that a problem lists. */
const listedProblems = 20;
/** Maximum invalid values that the detail of a problem contains. */
const describedProblems = 3;
/** Maximum versions of a module that a message names. */
const namedVersions = 10;

/**
 * Returns the builds that a request names, in its order.
 * @throws {Problem} `invalid-value` if a build is unknown, or if two members do not fit together; `image-pruned`, `build-yanked`.
 */
export async function readMembers(connection: Connection, named: readonly NamedBuild[]): Promise<BuildRecord[]> {
  const records = new BuildRecords(connection);
  const found = await Promise.all(named.map(({ module, version }) => records.find(module, version)));
  const builds = found.filter((build) => build !== null);
  if (builds.length < named.length) {
    const problems = named.map(async (build, index) =>
      found[index] === null ? [describeUnknown(build, index, await records.usableVersions(build.module))] : [],
    );
    throw problemOf('invalid-value', (await Promise.all(problems)).flat());
  }
  const pruned = builds.flatMap((build, index) => {
    const detail = describePrunedImage(build);
    return detail === null ? [] : [{ pointer: `/builds/${index}`, detail }];
  });
  if (pruned.length > 0) throw problemOf('image-pruned', pruned);
  const yanked = builds.flatMap((build, index) => {
    const detail = describeYankedBuild(build);
    return detail === null ? [] : [{ pointer: `/builds/${index}/version`, detail }];
  });
  if (yanked.length > 0) throw problemOf('build-yanked', yanked);
  const links = findLinkProblems(builds.map(toLinkedModule), await versionsOf(records, builds));
  if (links.length > 0) throw problemOf('invalid-value', links);
  return builds;
}

async function versionsOf(records: BuildRecords, builds: readonly BuildRecord[]): Promise<Map<string, readonly string[]>> {
  return new Map(await Promise.all(builds.map(async ({ module }) => [module, await records.usableVersions(module)] as const)));
}

function problemOf(kind: 'invalid-value' | 'image-pruned' | 'build-yanked', problems: readonly InvalidValue[]): Problem {
  const details = problems.slice(0, describedProblems).map(({ detail }) => detail);
  const more = problems.length - details.length;
  return new Problem(kind, [...details, ...(more === 0 ? [] : [`${more} more`])].join('; '), {
    invalidValues: problems.slice(0, listedProblems),
  });
}

function describeUnknown({ module, version }: NamedBuild, index: number, versions: readonly string[]): InvalidValue {
  return versions.length === 0
    ? {
        pointer: `/builds/${index}/module`,
        detail: `the module ${module} has no usable build: push one first, or correct the name`,
      }
    : {
        pointer: `/builds/${index}/version`,
        detail: `${module} has no version ${version}: choose one of ${listVersions(versions)}, or push this version first`,
      };
}

/** Lists versions, the highest first. */
function listVersions(versions: readonly string[]): string {
  const sorted = rsort(versions.filter(isVersion));
  const more = sorted.length - namedVersions;
  return [...sorted.slice(0, namedVersions), ...(more > 0 ? [`${more} lower versions`] : [])].join(', ');
}

/**
 * Returns why the members of a patch set do not fit together: an import that another member does not provide with the same type, or another member out of a
 * declared range. Links to modules outside the set depend on the device, and are checked when the set is loaded.
 * @param members The builds in the order of the request. Each module occurs once.
 * @param versions The existing versions of the modules, without yanked ones.
 */
export function findLinkProblems(members: readonly LinkedModule[], versions: ReadonlyMap<string, readonly string[]>): InvalidValue[] {
  const positions = new Map(members.map(({ module }, index) => [module, index]));
  return findUnresolvedLinks({ arriving: members, inMemory: [] }).flatMap((link) => {
    const { importer, provider } = link;
    if (provider.version === null) return [];
    const subject = `${importer.module}@${importer.version}`;
    const present = `${provider.module}@${provider.version}`;
    const pointer = `/builds/${positions.get(importer.module)}`;
    if (link.problem === 'out-of-range') {
      const others = (versions.get(provider.module) ?? []).filter((version) => satisfies(version, link.range));
      const choice = others.length === 0 ? 'no version in that range exists' : `in that range: ${listVersions(others)}`;
      return {
        pointer,
        detail: `${subject} requires ${provider.module} ${link.range}, but the set contains ${present}: change one of the two builds (${choice})`,
      };
    }
    const found = link.problem === 'missing' ? 'does not export it' : `exports it as ${link.provided}`;
    return {
      pointer,
      detail: `${subject} imports ${provider.module}.${link.export} ${link.expected}, but ${present} in the set ${found}: change one of the two builds`,
    };
  });
}
