// Logs each event of the audit trail once it is committed.

import type { BaseLogger } from 'pino';
import type { NewAuditEvent } from '../database/commit-effects.ts';

/** Maximum number of lines per request; further events are summarized in one line per action. */
const lineLimit = 20;
/** Maximum number of characters of a logged detail. */
const factLength = 200;

export function logEvents(logger: BaseLogger, events: readonly NewAuditEvent[]): void {
  // One transaction may contain several requests.
  for (const some of Map.groupBy(events, ({ requestId }) => requestId).values()) logRequestEvents(logger, some);
}

function logRequestEvents(logger: BaseLogger, events: readonly NewAuditEvent[]): void {
  for (const { action, object, outcome, actor, requestId, detail } of events.slice(0, lineLimit))
    logger.info({ action, object, outcome, actor, request: requestId || null, detail: scalarFacts(detail) }, action);
  const others = Map.groupBy(events.slice(lineLimit), ({ action }) => action);
  for (const [action, some] of others) {
    const [first] = some;
    logger.info({ action, events: some.length, actor: first?.actor, request: first?.requestId || null }, `${action}, ${some.length} more`);
  }
}

/** Returns the strings, numbers and booleans of a detail. */
function scalarFacts(detail: NewAuditEvent['detail']): Record<string, string | number | boolean> {
  const facts: Record<string, string | number | boolean> = {};
  for (const [name, value] of Object.entries(detail)) {
    if (typeof value === 'string') facts[name] = value.slice(0, factLength);
    else if (typeof value === 'number' || typeof value === 'boolean') facts[name] = value;
  }
  return facts;
}
