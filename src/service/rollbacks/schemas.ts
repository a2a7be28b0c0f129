// Schemas of rollbacks.

import { z } from 'zod';
import { exampleVersions } from '../../protocol/examples.ts';
import { exampleIdentifier, ModuleName, PatchSetName } from '../../protocol/identifiers.ts';
import { SimilarityPolicy } from '../../protocol/load-report.ts';
import { requireSelector, selectorShape } from '../devices/selection-schemas.ts';
import { identifier, version } from '../http/common-schemas.ts';
import { AcceptedLoads, exampleAccepted, holdShape } from '../loads/schemas.ts';
import { requireDrainStrategy, termsShape } from '../loads/terms-schemas.ts';

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

const newRollbackShape = {
  module: ModuleName.optional().describe('The module to roll back. Give either this or `patchSet`.'),
  patchSet: PatchSetName.optional().describe(
    'Name of the patch set to roll back, whatever its version. Each device returns in one load to the versions that it had before its latest load of the set that is not rolled back: modules that the load installed first are unloaded, and modules that it left as they were are not changed. A device on which one of these modules has changed since then has no version to roll back to; roll that module back first. Give either this or `module`. Not with `to`, and not with the invalidation `none`.',
  ),
  ...selectorShape,
  ...rollbackShape,
  onMissingVersion: z
    .enum(['reject', 'skip'])
    .default('reject')
    .describe(
      'What happens if some devices have no version to roll back to. `reject`: reject the request; no load is created. `skip`: roll back the other devices; if no device has one, the request is rejected.',
    ),
  dryRun: z.boolean().default(false).describe('Whether to return a preview and create nothing.'),
};

type Subject = { readonly module?: unknown; readonly patchSet?: unknown; readonly to?: unknown; readonly invalidation: string };

/** Returns the schema with a check that either a module or a patch set is given, and the latter only with settings that apply to it. */
function requireOneSubject<Schema extends z.ZodType<Subject>>(schema: Schema): Schema {
  return schema
    .refine(({ module, patchSet }) => (module === undefined) !== (patchSet === undefined), 'expected either module or patchSet')
    .refine(({ patchSet, to }) => patchSet === undefined || to === undefined, {
      path: ['to'],
      message: 'is not allowed with patchSet: each device returns to the versions before its latest load of the patch set',
    })
    .refine(({ patchSet, invalidation }) => patchSet === undefined || invalidation !== 'none', {
      path: ['invalidation'],
      message: 'must be nx, mark-invalid or delete for a patch set',
    });
}

export const NewRollback = requireDrainStrategy(requireSelector(requireOneSubject(z.strictObject(newRollbackShape)))).meta({
  id: 'NewRollback',
  examples: [
    { module: 'tcp', labels: { zone: 'north' }, reason, onMissingVersion: 'skip' },
    { patchSet: 'net-2026-11', labels: { zone: 'north' }, reason, dryRun: true },
  ],
});

export const AcceptedRollback = AcceptedLoads.extend({
  unchanged: z.array(identifier('device')).describe('Devices that already have the version; no load was created.'),
  skipped: z.array(identifier('device')).describe('Devices without a version to roll back to; no load was created.'),
}).meta({
  id: 'AcceptedRollback',
  description: 'The loads that a rollback created, one for each device that it rolls back.',
  examples: [{ ...exampleAccepted(exampleVersions.old.version), unchanged: [], skipped: [] }],
});

const ChangedModule = z
  .object({
    module: z.string(),
    currentVersion: version.nullable().describe('The installed version, as far as the service knows. Null if the module is not loaded.'),
    version: version.nullable().describe('The version to roll back to. Null if the rollback unloads the module.'),
  })
  .meta({ id: 'RolledBackModule' });

export const RollbackPreview = z
  .object({
    items: z.array(
      z
        .object({
          device: identifier('device'),
          deviceName: z.string(),
          action: z
            .enum(['roll-back', 'unchanged', 'skip'])
            .describe(
              '`roll-back`: a load is created. `unchanged`: the device already has the version. `skip`: it has no version to roll back to.',
            )
            .meta({ id: 'RollbackAction' }),
          version: version
            .nullable()
            .describe(
              'The version to roll back to. Of a patch set: the version of the set that the load reverts. Null if `action` is `skip`.',
            ),
          modules: z.array(ChangedModule).describe('The modules that the load changes.'),
          reason: z
            .string()
            .nullable()
            .describe('Why the device has no version to roll back to, and what to do. Null if `action` is not `skip`.'),
          ...holdShape,
        })
        .meta({ id: 'PreviewedRollback' }),
    ),
  })
  .meta({
    id: 'RollbackPreview',
    description: 'What a rollback would do on each selected device.',
    examples: [
      {
        items: [
          {
            device: exampleIdentifier('device'),
            deviceName: 'router-7',
            action: 'roll-back',
            version: exampleVersions.old.version,
            modules: [{ module: 'tcp', currentVersion: exampleVersions.new.version, version: exampleVersions.old.version }],
            reason: null,
            held: false,
            heldUntil: null,
          },
        ],
      },
    ],
  });
