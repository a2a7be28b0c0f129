// Time limits in days, for messages.

const dayMilliseconds = 24 * 3_600_000;

/** Returns a duration in milliseconds as days. */
export function describeDays(milliseconds: number): string {
  const days = milliseconds / dayMilliseconds;
  return days === 1 ? '1 day' : `${Number(days.toPrecision(3))} days`;
}
