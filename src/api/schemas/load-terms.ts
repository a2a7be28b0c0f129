// What every request for loads says the same way: the devices, how the loads are to be carried out, and until when.

import { z } from 'zod';
import { DeviceId, Labels } from '../../protocol/identifiers.ts';
import { Invalidation, longestDrain, Strategy } from '../../protocol/load-report.ts';

/** Devices that one request may name; by labels it may select as many as control allows. */
const namedDevicesLimit = 10_000;

export const selectorShape = {
  devices: z.array(DeviceId).min(1).max(namedDevicesLimit).optional().describe('The devices. Either this or `labels`.'),
  labels: Labels.optional().describe('Every device that has all of these labels. Either this or `devices`.'),
};

type Selected = { readonly devices?: z.infer<typeof DeviceId>[] | undefined; readonly labels?: Labels | undefined };

/** The schema, of values that select devices in one way. */
export function selectingOnce<Schema extends z.ZodType<Selected>>(schema: Schema): Schema {
  return schema
    .refine(({ devices, labels }) => (devices === undefined) !== (labels === undefined), 'give either devices or labels')
    .refine(({ labels }) => labels === undefined || Object.keys(labels).length > 0, {
      path: ['labels'],
      message: 'must have at least one label',
    });
}

/** What `selectingOnce` has let pass, as control takes it. */
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
  invalidation: Invalidation.default('nx').describe(
    'What becomes of the pages of the old version: left as they are, marked invalid, marked NX (a fetch from either faults), or deleted and given out again.',
  ),
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

/** The schema, of values that wait only where there is something to wait for. */
export function drainingWhereItIsAsked<
  Schema extends z.ZodType<{ readonly strategy: Strategy; readonly drainMilliseconds?: number | undefined }>,
>(schema: Schema): Schema {
  return schema.refine(({ strategy, drainMilliseconds }) => drainMilliseconds === undefined || strategy !== 'inject', {
    path: ['drainMilliseconds'],
    message: 'is for the strategies drain and drain-then-inject',
  });
}
