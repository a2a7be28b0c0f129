// What every request for loads says the same way: the devices, how the loads are to be carried out, and until when.

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

/** Devices that one request may name; by labels it may select as many as the rules allow. */
const namedDevicesLimit = 10_000;

export const selectorShape = {
  devices: z.array(DeviceId).min(1).max(namedDevicesLimit).optional().describe('The devices. Either this or `labels`.'),
  labels: Labels.optional().describe('Every device that has all of these labels. Either this or `devices`.'),
};

type Selected = { readonly devices?: z.infer<typeof DeviceId>[] | undefined; readonly labels?: Labels | undefined };

/** The schema, of values that select devices in one way. */
export function exactlyOneSelector<Schema extends z.ZodType<Selected>>(schema: Schema): Schema {
  return requireLabel(
    schema.refine(({ devices, labels }) => (devices === undefined) !== (labels === undefined), 'give either devices or labels'),
  );
}

/** The schema, of values that name a label where they select by labels. */
export function requireLabel<Schema extends z.ZodType<Pick<Selected, 'labels'>>>(schema: Schema): Schema {
  return schema.refine(({ labels }) => labels === undefined || Object.keys(labels).length > 0, {
    path: ['labels'],
    message: 'must have at least one label',
  });
}

/** What `selectingOnce` has let pass, as the rules take it. */
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

/** How loads are carried out, as answers tell it. */
export const Policy = z.object({
  strategy: Strategy,
  invalidation: Invalidation,
  drainMilliseconds: count.nullable(),
  versionPolicy: VersionPolicy,
  downgradeReason: z.string().nullable(),
  similarityPolicy: SimilarityPolicy,
});

/** The schema, of values that give a reason where an older version may be loaded. */
export function requireDowngradeReason<
  Schema extends z.ZodType<{ readonly versionPolicy: z.infer<typeof VersionPolicy>; readonly downgradeReason?: string | undefined }>,
>(schema: Schema): Schema {
  return schema.refine(({ versionPolicy, downgradeReason }) => (versionPolicy === 'downgrade') === (downgradeReason !== undefined), {
    path: ['downgradeReason'],
    message: 'give a reason with "versionPolicy": "downgrade", and only there',
  });
}

/** The schema, of values that wait only where there is something to wait for. */
export function requireDrainStrategy<
  Schema extends z.ZodType<{ readonly strategy: Strategy; readonly drainMilliseconds?: number | undefined }>,
>(schema: Schema): Schema {
  return schema.refine(({ strategy, drainMilliseconds }) => drainMilliseconds === undefined || strategy !== 'inject', {
    path: ['drainMilliseconds'],
    message: 'is for the strategies drain and drain-then-inject',
  });
}
