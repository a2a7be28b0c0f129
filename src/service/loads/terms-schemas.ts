// Schemas that every request for loads shares: selector, policy and deadline.

import { z } from 'zod';
import { DeviceId, Labels } from '../../protocol/identifiers.ts';
import {
  Invalidation,
  invalidationDescription,
  longestDrain,
  SimilarityPolicy,
  Strategy,
  VersionPolicy,
} from '../../protocol/load-report.ts';
import { count } from '../http/common-schemas.ts';

/** Maximum number of device identifiers in a request. */
const namedDevicesLimit = 10_000;

export const selectorShape = {
  devices: z.array(DeviceId).min(1).max(namedDevicesLimit).optional().describe('The devices. Either this or `labels`.'),
  labels: Labels.optional().describe('Every device that has all of these labels. Either this or `devices`.'),
};

type Selected = { readonly devices?: z.infer<typeof DeviceId>[] | undefined; readonly labels?: Labels | undefined };

/** Adds the rule that a request has exactly one of `devices` and `labels`. */
export function exactlyOneSelector<Schema extends z.ZodType<Selected>>(schema: Schema): Schema {
  return requireLabel(
    schema.refine(({ devices, labels }) => (devices === undefined) !== (labels === undefined), 'expected either devices or labels'),
  );
}

/** Adds the rule that a selector by labels has at least one label. */
export function requireLabel<Schema extends z.ZodType<Pick<Selected, 'labels'>>>(schema: Schema): Schema {
  return schema.refine(({ labels }) => labels === undefined || Object.keys(labels).length > 0, {
    path: ['labels'],
    message: 'expected at least one label',
  });
}

/** Converts a request that `exactlyOneSelector` has checked to a selector. */
export function selectorOf({ devices, labels }: Selected) {
  return devices === undefined ? { labels: labels ?? {} } : { devices };
}

export const termsShape = {
  strategy: Strategy.default('inject').describe(
    'What becomes of those who are inside the old version. `inject`: they are interrupted at once, and retry in the new one. `drain`: they are waited for; if some are left, the load fails. `drain-then-inject`: they are waited for, and those left are interrupted.',
  ),
  drainMilliseconds: z
    .int()
    .min(0)
    .max(longestDrain)
    .optional()
    .describe('How long a strategy that drains waits; 10 s where it is left out.'),
  invalidation: Invalidation.default('nx').describe(invalidationDescription),
  deadlineSeconds: z
    .int()
    .min(1)
    .max(30 * 24 * 3_600)
    .default(24 * 3_600)
    .describe('A load that has not completed after so many seconds ends as `expired`: its device was unreachable, or busy.'),
  supersede: z
    .boolean()
    .default(false)
    .describe('Loads of the same module that wait for the same devices, and that no host has been sent, end as `superseded`.'),
};

/** The policy of loads in responses. */
export const Policy = z.object({
  strategy: Strategy,
  invalidation: Invalidation,
  drainMilliseconds: count.nullable(),
  versionPolicy: VersionPolicy,
  downgradeReason: z.string().nullable(),
  similarityPolicy: SimilarityPolicy,
});

/** Adds the rule that `downgradeReason` is present if, and only if, the version policy is `downgrade`. */
export function requireDowngradeReason<
  Schema extends z.ZodType<{ readonly versionPolicy: z.infer<typeof VersionPolicy>; readonly downgradeReason?: string | undefined }>,
>(schema: Schema): Schema {
  return schema.refine(({ versionPolicy, downgradeReason }) => (versionPolicy === 'downgrade') === (downgradeReason !== undefined), {
    path: ['downgradeReason'],
    message: 'a reason is required with "versionPolicy": "downgrade", and not allowed otherwise',
  });
}

/** Adds the rule that `drainMilliseconds` is present only with a strategy that drains. */
export function requireDrainStrategy<
  Schema extends z.ZodType<{ readonly strategy: Strategy; readonly drainMilliseconds?: number | undefined }>,
>(schema: Schema): Schema {
  return schema.refine(({ strategy, drainMilliseconds }) => drainMilliseconds === undefined || strategy !== 'inject', {
    path: ['drainMilliseconds'],
    message: 'is only allowed with the strategies drain and drain-then-inject',
  });
}
