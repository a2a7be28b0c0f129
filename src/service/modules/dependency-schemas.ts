// Schemas of declared dependencies: ranges of versions of other modules.

import { minVersion, validRange } from 'semver';
import { z } from 'zod';
import { ModuleName } from '../../protocol/identifiers.ts';
import { rangeLimit } from '../../protocol/load-report.ts';

/** Maximum dependencies of a build. */
const dependencyLimit = 100;

const VersionRange = z
  .string()
  .min(1)
  .max(rangeLimit)
  .superRefine((range, context) => {
    const problem = findRangeProblem(range);
    if (problem !== null) context.addIssue({ code: 'custom', message: problem });
  })
  .meta({ examples: ['^1.2.0'] });

function findRangeProblem(range: string): string | null {
  if (validRange(range) === null)
    return 'is not a range of semantic versions: expected for example ^1.2.0, ~1.2.0, 1.x or ">=1.2.0 <3.0.0"';
  return minVersion(range) === null ? 'contains no version: its conditions contradict each other' : null;
}

export const Dependencies = z
  .record(ModuleName, VersionRange, { error: (issue) => (issue.code === 'invalid_key' ? issue.issues[0]?.message : undefined) })
  .refine((given) => Object.keys(given).length <= dependencyLimit, `must have up to ${dependencyLimit} dependencies`)
  .describe(
    'Ranges of versions (semver) of other modules that must be in memory, by module. A load of a version out of range ends as `refused-unresolved`, in both directions. As with npm, a range matches a pre-release only if it names one of the same version.',
  )
  .meta({ id: 'Dependencies', maxProperties: dependencyLimit, examples: [{ udp: '^1.2.0' }] });
export type Dependencies = z.infer<typeof Dependencies>;

const Dependency = z.string().max(64 + rangeLimit);

/** Dependencies in a query: `module=range`, repeated for each module. */
export const dependencyQuery = z
  .union([Dependency.transform((one) => [one]), z.array(Dependency).max(dependencyLimit)])
  .transform((texts, context) => {
    const dependencies = new Map<string, string>();
    for (const text of texts) {
      const separator = text.indexOf('=');
      const [module, range] = [text.slice(0, separator), text.slice(separator + 1)];
      if (separator < 1) context.addIssue({ code: 'custom', message: 'must be module=range, for example udp=^1.2.0' });
      else if (dependencies.has(module))
        context.addIssue({ code: 'custom', message: `has two ranges for ${module}: combine them into one` });
      dependencies.set(module, range);
    }
    return Object.fromEntries(dependencies);
  })
  .pipe(Dependencies);
