// The part of requests that selects devices.

import { z } from 'zod';
import { DeviceReference, GroupReference, LabelSelectorText, Labels } from '../../protocol/identifiers.ts';
import type { LabelSelector } from '../../protocol/label-selector.ts';
import type { Selector } from './selection.ts';

/** Maximum number of devices that one request names. Labels may select more. */
const namedDevicesLimit = 10_000;

export const selectorShape = {
  devices: z
    .array(DeviceReference)
    .min(1)
    .max(namedDevicesLimit)
    .optional()
    .describe('Identifiers or names of the devices. Give either this, or one or more of `labels`, `selector` and `group`.'),
  labels: Labels.optional().describe(
    'Selects each device that has all of these labels. Combined with `selector` or `group`, the devices that match all.',
  ),
  selector: LabelSelectorText.optional().describe(
    'Selects each device that matches this label selector, in the syntax of Kubernetes: requirements such as `zone=north`, `zone!=north`, `zone in (north,south)`, `zone notin (north)`, `zone` (has the label) and `!zone` (does not have it), separated by commas. `!=` and `notin` also match devices without the label.',
  ),
  group: GroupReference.optional().describe('Selects the devices of the group with this identifier or name, as it is at the request.'),
};

type Selected = {
  readonly devices?: readonly string[] | undefined;
  readonly labels?: Labels | undefined;
  readonly selector?: string | undefined;
  readonly group?: string | undefined;
};

/** Returns the schema with a check that either `devices`, or one or more of `labels`, `selector` and `group` are given. */
export function requireSelector<Schema extends z.ZodType<Selected>>(schema: Schema): Schema {
  return requireLabel(
    schema.refine(
      ({ devices, ...criteria }) => (devices === undefined) === hasCriteria(criteria),
      'expected either devices, or one or more of labels, selector and group',
    ),
  );
}

/** Returns whether a request selects devices by labels, a selector or a group. */
export function hasCriteria({ labels, selector, group }: Omit<Selected, 'devices'>): boolean {
  return [labels, selector, group].some((one) => one !== undefined);
}

/** Returns the schema with a check that `labels`, if given, is not empty. */
export function requireLabel<Schema extends z.ZodType<Pick<Selected, 'labels'>>>(schema: Schema): Schema {
  return schema.refine(({ labels }) => labels === undefined || Object.keys(labels).length > 0, {
    path: ['labels'],
    message: 'expected one label or more',
  });
}

/** Returns the selector of a request that passed `requireSelector`. @param scope The scope of the caller; null: all devices. */
export function selectorOf({ devices, labels, selector, group }: Selected, scope: LabelSelector | null): Selector {
  return devices === undefined ? { labels, selector, group, scope } : { devices, scope };
}
