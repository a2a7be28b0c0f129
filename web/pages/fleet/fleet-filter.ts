// Converts the address into the filter of the device list.

import { deviceStatuses } from '../../../src/client/enum-values.ts';
import type { paths } from '../../../src/client/generated/api.ts';

export type FleetQuery = NonNullable<paths['/v1/devices']['get']['parameters']['query']>;

/** Maximum labels of a filter, the same as of a device. */
const labelLimit = 16;
const single = ['name', 'status', 'host', 'module', 'version', 'sort'] as const;
export type FilterName = (typeof single)[number];

/** Returns the API filter of an address; ignores unknown values. */
export function fleetQueryOf(query: URLSearchParams): FleetQuery {
  const text = (name: FilterName) => query.get(name) ?? '';
  const status = deviceStatuses.find((one) => one === text('status'));
  const labels = labelsOf(query);
  return {
    sort: text('sort') === 'createdAt' ? 'createdAt' : 'name',
    ...(text('name') === '' ? {} : { name: text('name') }),
    ...(status === undefined ? {} : { status }),
    ...(text('host') === '' ? {} : { host: text('host') }),
    ...(text('module') === '' ? {} : { module: text('module') }),
    ...(text('version') === '' ? {} : { version: text('version') }),
    ...(labels.length === 0 ? {} : { label: labels }),
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
