// Maintenance windows and the loads that wait for them, as commands print them.

import type { Schemas } from '../../client/client.ts';
import { formatTime } from '../terminal/times.ts';

/** Returns a window in the form of the option `--window`. */
export function formatWindow({ days, from, until, timeZone }: Schemas['ScheduleWindow']): string {
  return `${days.map((day) => day.slice(0, 3)).join(',')} ${from}-${until} ${timeZone}`;
}

type Held = { readonly heldSince: string | null; readonly heldUntil: string | null };

/** Returns why a load is held, and until when; null if it is not held. */
export function formatHold({ heldSince, heldUntil }: Held): string | null {
  if (heldSince === null) return null;
  const opening = heldUntil === null ? 'which do not open within 30 days' : `which open at ${formatTime(heldUntil)}`;
  return `held since ${formatTime(heldSince)} for its maintenance windows, ${opening}`;
}

/** Returns the first time at which held loads may be sent; null if no windows open within 30 days. */
export function firstOpening(items: readonly { readonly heldUntil: string | null }[]): string | null {
  const [first] = items.flatMap(({ heldUntil }) => heldUntil ?? []).toSorted();
  return first === undefined ? null : formatTime(first);
}

/** Returns the number of devices whose loads would be held, and the first opening; nothing if none would be. */
export function formatHeld(held: number, items: readonly { readonly heldUntil: string | null }[]): string[] {
  if (held === 0) return [];
  const first = firstOpening(items);
  const opening = first === null ? '' : ` (the first open at ${first})`;
  return [`in closed maintenance windows, so that their loads would be held: ${held}${opening}`];
}
