// Which events of the audit trail are shown: what the address says, as the API takes it.

import { auditOutcomes } from '../../../src/client/enum-values.ts';
import type { paths } from '../../../src/client/generated/api.ts';
import type { LiveEvent } from '../../live/event-stream.ts';

export type AuditQuery = NonNullable<paths['/v1/audit']['get']['parameters']['query']>;

const texts = ['action', 'object', 'actor', 'request'] as const;
const times = ['from', 'until'] as const;
export type FilterName = (typeof texts)[number] | (typeof times)[number] | 'outcome';

/** The filter of an address; what it does not know of there it leaves out. */
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

/** The same filter, but for one value; empty: without it. */
export function withFilter(query: URLSearchParams, name: FilterName, value: string): URLSearchParams {
  const changed = new URLSearchParams(query);
  if (value === '') changed.delete(name);
  else changed.set(name, value);
  return changed;
}

/** Whether an event that comes now is among those that the filter lets through. */
export function letsThrough({ action, object, actor, request, outcome, until }: AuditQuery, event: LiveEvent): boolean {
  return (
    until === undefined &&
    (action === undefined || event.action === action) &&
    (object === undefined || event.object === object) &&
    (actor === undefined || event.actor === actor) &&
    (request === undefined || event.request === request) &&
    (outcome === undefined || event.outcome === outcome)
  );
}
