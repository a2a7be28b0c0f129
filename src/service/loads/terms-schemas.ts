// Parts of every request that creates loads: the strategy and the deadline.

import { z } from 'zod';
import {
  Invalidation,
  invalidationDescription,
  LinkPolicy,
  maxDrainMilliseconds,
  SimilarityPolicy,
  Strategy,
  VersionPolicy,
} from '../../protocol/load-report.ts';
import { count } from '../http/common-schemas.ts';

const exampleOverride = { reason: 'security fix' };

const WindowOverride = z
  .strictObject({ reason: z.string().min(1).max(1_000).describe('Reason for the override. The loads and the audit trail contain it.') })
  .meta({ id: 'WindowOverride', description: 'Overrides the maintenance windows of groups.', examples: [exampleOverride] });

/** Whether loads override maintenance windows, in responses. */
export const windowOverride = WindowOverride.nullable().describe(
  'Why maintenance windows are overridden. Null: the loads are held while the windows of their devices are closed.',
);

export const termsShape = {
  strategy: Strategy.default('inject').describe(
    'What happens to accesses inside the old version. `inject`: interrupt them at once; they retry in the new version. `drain`: wait until they end; the load fails if some remain. `drain-then-inject`: wait, then interrupt those that remain.',
  ),
  drainMilliseconds: z
    .int()
    .min(0)
    .max(maxDrainMilliseconds)
    .optional()
    .describe('How long `drain` and `drain-then-inject` wait, in milliseconds. Default: 10 s. Not allowed with `inject`.'),
  invalidation: Invalidation.default('nx').describe(invalidationDescription),
  deadlineSeconds: z
    .int()
    .min(1)
    .max(30 * 24 * 3_600)
    .default(24 * 3_600)
    .describe('A load that has not completed after this many seconds ends as `expired`.'),
  linkPolicy: LinkPolicy.default('require').describe(
    'Whether every import of the module must be provided with the same type by a module in memory, every declared dependency must be met, and no module in memory may lose an import. `require`: refuse the load otherwise (`refused-unresolved`). `warn`: load it and report the unresolved links. `off`: do not check. Hosts of older versions do not check.',
  ),
  supersede: z.boolean().default(false).describe('Whether queued loads of the same module for the same devices end as `superseded`.'),
  overrideMaintenanceWindow: WindowOverride.optional().describe(
    'Sends the loads at once, although maintenance windows are closed. Default: such loads are held until the windows of their devices open.',
  ),
};

/** The settings of loads in responses. Unloads do not use `versionPolicy`, `similarityPolicy` and `linkPolicy`. */
export const Policy = z.object({
  strategy: Strategy,
  invalidation: Invalidation,
  drainMilliseconds: count.nullable(),
  versionPolicy: VersionPolicy,
  downgradeReason: z.string().nullable(),
  similarityPolicy: SimilarityPolicy,
  linkPolicy: LinkPolicy,
});

/** Returns the schema with a check that `downgradeReason` is given exactly if `versionPolicy` is `downgrade`. */
export function requireDowngradeReason<
  Schema extends z.ZodType<{ readonly versionPolicy: z.infer<typeof VersionPolicy>; readonly downgradeReason?: string | undefined }>,
>(schema: Schema): Schema {
  return schema.refine(({ versionPolicy, downgradeReason }) => (versionPolicy === 'downgrade') === (downgradeReason !== undefined), {
    path: ['downgradeReason'],
    message: 'is required with "versionPolicy": "downgrade", and not allowed otherwise',
  });
}

/** Returns the schema with a check that `drainMilliseconds` is given only with a draining strategy. */
export function requireDrainStrategy<
  Schema extends z.ZodType<{ readonly strategy: Strategy; readonly drainMilliseconds?: number | undefined }>,
>(schema: Schema): Schema {
  return schema.refine(({ strategy, drainMilliseconds }) => drainMilliseconds === undefined || strategy !== 'inject', {
    path: ['drainMilliseconds'],
    message: 'is only allowed with the strategies drain and drain-then-inject',
  });
}
