// Limits of stored data by age and number.

import { createHash } from 'node:crypto';
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

/** Returns the SHA-256 of lines, each with a newline, for the audit trail: with a list of what was removed, anyone can check it. */
export function digestOf(lines: readonly string[]): string {
  return `sha256:${createHash('sha256')
    .update(lines.map((line) => `${line}\n`).join(''))
    .digest('hex')}`;
}
