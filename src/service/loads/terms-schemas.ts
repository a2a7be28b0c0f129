// Parts of every request that creates loads: the device selector, the strategy and the deadline.

import { z } from 'zod';
import { DeviceReference, LabelSelectorText, Labels } from '../../protocol/identifiers.ts';
import {
  Invalidation,
  invalidationDescription,
  LinkPolicy,
  maxDrainMilliseconds,
  SimilarityPolicy,
  Strategy,
  VersionPolicy,
} from '../../protocol/load-report.ts';
import type { Selector } from '../devices/selection.ts';
import { count } from '../http/common-schemas.ts';

/** Maximum number of devices that one request names. Labels may select more. */
const namedDevicesLimit = 10_000;

export const selectorShape = {
  devices: z
    .array(DeviceReference)
    .min(1)
    .max(namedDevicesLimit)
    .optional()
    .describe('Identifiers or names of the devices. Give this, `labels` or `selector`.'),
  labels: Labels.optional().describe('Selects each device that has all of these labels. Give this, `devices` or `selector`.'),
  selector: LabelSelectorText.optional().describe(
    'Selects each device that matches this label selector, in the syntax of Kubernetes: requirements such as `zone=north`, `zone!=north`, `zone in (north,south)`, `zone notin (north)`, `zone` (has the label) and `!zone` (does not have it), separated by commas. `!=` and `notin` also match devices without the label. Give this, `devices` or `labels`.',
  ),
};

type Selected = {
  readonly devices?: readonly string[] | undefined;
  readonly labels?: Labels | undefined;
  readonly selector?: string | undefined;
};

/** Returns the schema with a check that exactly one of `devices`, `labels` and `selector` is given. */
export function exactlyOneSelector<Schema extends z.ZodType<Selected>>(schema: Schema): Schema {
  return requireLabel(
    schema.refine(
      ({ devices, labels, selector }) => [devices, labels, selector].filter((one) => one !== undefined).length === 1,
      'expected exactly one of devices, labels and selector',
    ),
  );
}

/** Returns the schema with a check that `labels`, if given, is not empty. */
export function requireLabel<Schema extends z.ZodType<Pick<Selected, 'labels'>>>(schema: Schema): Schema {
  return schema.refine(({ labels }) => labels === undefined || Object.keys(labels).length > 0, {
    path: ['labels'],
    message: 'expected one label or more',
  });
}

/** Returns the selector of a request that passed `exactlyOneSelector`. */
export function selectorOf({ devices, labels, selector }: Selected): Selector {
  if (devices !== undefined) return { devices };
  return selector === undefined ? { labels: labels ?? {} } : { selector };
}

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
