// Decides which events a webhook gets: by event type, and by the labels of the device that an event is about.

import { isDeviceId } from '../../protocol/identifiers.ts';
import type { AuditRecord } from '../audit-events/repository.ts';

/** Returns whether an action has one of these event types: an action such as `load.completed`, a kind such as `load.*`, or `*`. */
export function matchesEventTypes(eventTypes: readonly string[], action: string): boolean {
  return eventTypes.some((type) => type === '*' || type === action || (type.endsWith('.*') && action.startsWith(type.slice(0, -1))));
}

/** Returns the device that an event is about; null if it is about none. */
export function findDeviceOf({ object, detail }: Pick<AuditRecord, 'object' | 'detail'>): string | null {
  if (isDeviceId(object)) return object;
  const device = typeof detail === 'object' && detail !== null && 'device' in detail ? detail['device'] : null;
  return typeof device === 'string' && isDeviceId(device) ? device : null;
}
