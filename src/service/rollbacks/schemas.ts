// Schemas of rollbacks.

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
      'The version to roll back to. It must have been installed on the devices before; a version whose only loads were reverted does not count. Default: the previous version of each device.',
    ),
  reason: z.string().min(1).max(1_000).describe('Reason for the rollback. The load reports and the audit trail contain it.'),
  ...termsShape,
  similarityPolicy: SimilarityPolicy.default('warn').describe(
    'Whether the version must have all exports of the installed one, with the same types. Imports are not compared. The default here is `warn`, because an older version may lack exports that a newer one added: the report shows the differences, and the load is not refused.',
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
          'What happens if some devices have no version to roll back to. `reject`: reject the request; no load is created. `skip`: roll back the other devices; if no device has one, the request is rejected.',
        ),
    }),
  ),
).meta({ id: 'NewRollback', examples: [{ module: 'tcp', labels: { zone: 'north' }, reason, onMissingVersion: 'skip' }] });

export const AcceptedRollback = AcceptedLoads.extend({
  unchanged: z.array(identifier('device')).describe('Devices that already have the version; no load was created.'),
  skipped: z.array(identifier('device')).describe('Devices without a version to roll back to; no load was created.'),
}).meta({
  id: 'AcceptedRollback',
  description: 'The loads that a rollback created, one for each device that it rolls back.',
  examples: [{ ...exampleAccepted(exampleVersions.old.version), unchanged: [], skipped: [] }],
});
