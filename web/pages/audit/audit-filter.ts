// Converts the address into the filter of the audit trail.

import { auditOutcomes } from '../../../src/client/enum-values.ts';
import type { paths } from '../../../src/client/generated/api.ts';
import type { LiveEvent } from '../../live/event-stream.ts';

export type AuditQuery = NonNullable<paths['/v1/audit']['get']['parameters']['query']>;

const texts = ['action', 'object', 'actor', 'request'] as const;
const times = ['from', 'until'] as const;
export type FilterName = (typeof texts)[number] | (typeof times)[number] | 'outcome';

/** Returns the API filter of an address; ignores unknown values. */
export function auditQueryOf(query: URLSearchParams): AuditQuery {
  const outcome = auditOutcomes.find((one) => one === query.get('outcome'));
  const given = [
    ...texts.flatMap((name) => ((query.get(name) ?? '') === '' ? [] : [[name, query.get(name) ?? ''] as const])),
    ...times.flatMap((name) => {
      const time = Date.parse(query.get(name) ?? '');
      return Number.isNaN(time) ? [] : [[name, new Date(time).toISOString()] as const];
    }),
  ];
  return { ...Object.fromEntries(given), ...(outcome === undefined ? {} : { outcome }) };
}

/** Returns the filter with one value changed; an empty value removes it. */
export function withFilter(query: URLSearchParams, name: FilterName, value: string): URLSearchParams {
  const changed = new URLSearchParams(query);
  if (value === '') changed.delete(name);
  else changed.set(name, value);
  return changed;
}

/** Whether a new event matches the filter. */
export function matchesFilter({ action, object, actor, request, outcome, until }: AuditQuery, event: LiveEvent): boolean {
  return (
    until === undefined &&
    (action === undefined || event.action === action) &&
    (object === undefined || event.object === object) &&
    (actor === undefined || event.actor === actor) &&
    (request === undefined || event.request === request) &&
    (outcome === undefined || event.outcome === outcome)
  );
}
