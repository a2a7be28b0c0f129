// The order of the test files: the longest first, so that no worker runs a long file alone at the end.

import { relative } from 'node:path';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Files that take long, the longest first. A file that is missing here only starts later. */
const longest = [
  'test/system/documentation/loads.test.ts',
  'test/system/database-files.test.ts',
  'test/system/chaos.test.ts',
  'test/system/documentation/fleet.test.ts',
  'test/system/rollouts.test.ts',
  'test/compiler/compile-bombs.test.ts',
  'test/system/processes.test.ts',
  'test/web/dashboard.test.ts',
  'test/service/http/lists.test.ts',
  'test/system/chaos-cluster.test.ts',
  'test/system/database-faults.test.ts',
  'test/service/http/fuzz.test.ts',
  'test/web/rollouts-builds-audit.test.ts',
  'test/service/database/sqlite/lost-log.test.ts',
  'test/compiler/limits.test.ts',
  'test/system/documentation/operation.test.ts',
  'test/system/first-start.test.ts',
  'test/service/rollouts/rollouts.test.ts',
  'test/system/documentation/tutorials.test.ts',
  'test/cli/operator.test.ts',
  'test/cli/errors.test.ts',
  'test/service/agents/drift.test.ts',
  'test/service/modules/compiler-output.test.ts',
  'test/cli/rollouts.test.ts',
  'test/service/hosts/name-conflicts.test.ts',
  'test/machine/differential.test.ts',
  'test/system/generated-files.test.ts',
  'test/service/clock/clocks.test.ts',
  'test/service/http/accepted-is-returned.test.ts',
  'test/machine/patch-set-simulation.test.ts',
  'test/service/loads/routes.test.ts',
  'test/service/keys/keys.test.ts',
  'test/system/clocks.test.ts',
  'test/clients/clients.test.ts',
  'test/service/database/postgresql/lost-connections.test.ts',
  'test/service/rollouts/rollouts-network.test.ts',
];

/** The position of a file in the list; files that are not in the list have the same last position. */
function positionOf({ project, moduleId }: TestSpecification): number {
  const position = longest.indexOf(relative(project.config.root, moduleId).replaceAll('\\', '/'));
  return position === -1 ? longest.length : position;
}

/** Runs the projects one after another, because a worker runs files of one project. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const byProject = Map.groupBy(sorted, ({ project }) => project.name);
    return [...byProject.values()].reverse().flatMap((own) => own.toSorted((left, right) => positionOf(left) - positionOf(right)));
  }
}
