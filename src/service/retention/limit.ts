// Limits of stored data by age and number.

import { createHash } from 'node:crypto';
import type { AuditEntry } from '../audit-events/entry.ts';
import { RetentionTimeRecords } from '../clock/repository.ts';
import type { Clock } from '../clock/service-clock.ts';
import type { Store } from '../database/store.ts';

/** What is older, or more, is deleted. */
export type RetentionLimit = {
  /** Milliseconds; null: any age. */
  readonly age: number | null;
  /** Null: any number. */
  readonly number: number | null;
};

export function isUnlimited({ age, number }: RetentionLimit): boolean {
  return age === null && number === null;
}

/**
 * Returns the time that decides what is old, in milliseconds. Stored times come from the service clock: the earlier of that and the retention time
 * decides, so that a wrong clock expires nothing.
 */
export async function earliestNow(store: Store, clock: Pick<Clock, 'now'>): Promise<number> {
  return Math.min((await new RetentionTimeRecords(store.readConnection).now()).getTime(), clock.now().getTime());
}

/**
 * Describes what was removed, for the audit trail. The digest is the SHA-256 of the identifiers, each followed by a newline: with a list of them, anyone
 * can check it.
 * @param identifiers In ascending order.
 */
export function pruningEvent(action: string, object: string, identifiers: readonly (string | number)[]): AuditEntry {
  const digest = createHash('sha256')
    .update(identifiers.map((identifier) => `${identifier}\n`).join(''))
    .digest('hex');
  const [first = null] = identifiers;
  return { action, object, detail: { count: identifiers.length, first, last: identifiers.at(-1) ?? null, digest: `sha256:${digest}` } };
}
