// Rollbacks in the API.

import { z } from 'zod';
import { exampleVersions } from '../../protocol/examples.ts';
import { ModuleName } from '../../protocol/identifiers.ts';
import { SimilarityPolicy } from '../../protocol/load-report.ts';
import { identifier, version } from '../http/common-schemas.ts';
import { AcceptedLoads, exampleAccepted } from '../loads/schemas.ts';
import { exactlyOneSelector, requireDrainStrategy, selectorShape, termsShape } from '../loads/terms-schemas.ts';

const rollbackShape = {
  to: version
    .optional()
    .describe(
      'The version to go back to, which the devices must have had in their module tables, and not only until it was withdrawn. Left out: of each device the version before the one that it has now.',
    ),
  reason: z.string().min(1).max(1_000).describe('Why; it is in the reports and in the audit trail.'),
  ...termsShape,
  similarityPolicy: SimilarityPolicy.default('warn').describe(
    'Whether the version must export everything that the one in memory exports, with the same types. Imports are not compared. An older version may lack what a newer one added, and whoever rolls back is in need: so here the report tells what differs (`warn`), and nothing is refused unless `require` is asked for.',
  ),
};

const reason = '1.1.0 drops packets';

export const ModuleRollback = requireDrainStrategy(z.strictObject(rollbackShape)).meta({ id: 'ModuleRollback', examples: [{ reason }] });

export const NewRollback = requireDrainStrategy(
  exactlyOneSelector(
    z.strictObject({
      module: ModuleName,
      ...selectorShape,
      ...rollbackShape,
      onMissingVersion: z
        .enum(['reject', 'skip'])
        .default('reject')
        .describe(
          'Where devices have no version to go back to. `reject`: nothing is loaded anywhere. `skip`: they are left alone, if others go back.',
        ),
    }),
  ),
).meta({ id: 'NewRollback', examples: [{ module: 'tcp', labels: { zone: 'north' }, reason, onMissingVersion: 'skip' }] });

export const AcceptedRollback = AcceptedLoads.extend({
  unchanged: z.array(identifier('device')).describe('Devices that have the version, and are left alone.'),
  skipped: z.array(identifier('device')).describe('Devices that have no version to go back to, and are left alone.'),
}).meta({
  id: 'AcceptedRollback',
  description: 'The loads that a rollback made: one for each device that goes back.',
  examples: [{ ...exampleAccepted(exampleVersions.old.version), unchanged: [], skipped: [] }],
});
