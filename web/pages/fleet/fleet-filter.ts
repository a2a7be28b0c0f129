// Converts the address into the filter of the device list.

import { deviceStatuses } from '../../../src/client/enum-values.ts';
import type { paths } from '../../../src/client/generated/api.ts';
import { formatLabelSelector, LabelSelectorError, parseLabelSelector } from '../../../src/protocol/label-selector.ts';

export type FleetQuery = NonNullable<paths['/v1/devices']['get']['parameters']['query']>;

/** Maximum labels of a filter, the same as of a device. */
const labelLimit = 16;
const single = ['name', 'status', 'host', 'module', 'version', 'selector', 'group', 'sort'] as const;
export type FilterName = (typeof single)[number];

/** Returns the API filter of an address; ignores unknown values. */
export function fleetQueryOf(query: URLSearchParams): FleetQuery {
  const text = (name: FilterName) => query.get(name) ?? '';
  const status = deviceStatuses.find((one) => one === text('status'));
  const labels = labelsOf(query);
  return {
    sort: text('sort') === 'createdAt' ? 'createdAt' : 'name',
    ...(text('name') === '' ? {} : { namePrefix: text('name') }),
    ...(status === undefined ? {} : { status }),
    ...(text('host') === '' ? {} : { host: text('host') }),
    ...(text('module') === '' ? {} : { module: text('module') }),
    ...(text('version') === '' ? {} : { version: text('version') }),
    ...(labels.length === 0 ? {} : { label: labels }),
    ...(text('group') === '' ? {} : { group: text('group') }),
    ...(text('selector') === '' ? {} : { selector: text('selector') }),
  };
}

/** Whether the filter excludes devices. */
export function isNarrowed(query: URLSearchParams): boolean {
  return query.has('label') || single.some((name) => name !== 'sort' && (query.get(name) ?? '') !== '');
}

export function labelsOf(query: URLSearchParams): string[] {
  return query
    .getAll('label')
    .filter((label) => label.indexOf('=') > 0)
    .slice(0, labelLimit);
}

/** Returns the filter with one value changed; an empty value removes it. */
export function withFilter(query: URLSearchParams, name: FilterName, value: string): URLSearchParams {
  const changed = new URLSearchParams(query);
  if (value === '') changed.delete(name);
  else changed.set(name, value);
  return changed;
}

/** Returns the filter with a label added; replaces a label with the same key. */
export function withLabel(query: URLSearchParams, label: string): URLSearchParams {
  const key = label.slice(0, label.indexOf('=') + 1);
  const changed = new URLSearchParams(query);
  changed.delete('label');
  for (const one of labelsOf(query)) if (!one.startsWith(key)) changed.append('label', one);
  changed.append('label', label);
  return changed;
}

/** Returns the filter without a label. */
export function withoutLabel(query: URLSearchParams, label: string): URLSearchParams {
  const changed = new URLSearchParams(query);
  changed.delete('label', label);
  return changed;
}

/** Returns the requirements of the label selector of the filter, each as text. An invalid selector is returned as one text. */
export function requirementsOf(query: URLSearchParams): string[] {
  const text = query.get('selector') ?? '';
  if (text === '') return [];
  try {
    return parseLabelSelector(text).map((requirement) => formatLabelSelector([requirement]));
  } catch (error) {
    if (error instanceof LabelSelectorError) return [text];
    throw error;
  }
}

/** Returns the filter with requirements added. @param text A label selector. */
export function withSelector(query: URLSearchParams, text: string): URLSearchParams {
  const added = parseLabelSelector(text).map((requirement) => formatLabelSelector([requirement]));
  return withFilter(query, 'selector', [...new Set([...requirementsOf(query), ...added])].join(','));
}

/** Returns the filter without a requirement. */
export function withoutRequirement(query: URLSearchParams, requirement: string): URLSearchParams {
  const others = requirementsOf(query).filter((one) => one !== requirement);
  return withFilter(query, 'selector', others.join(','));
}
