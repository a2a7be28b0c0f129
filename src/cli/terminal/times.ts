// Formats times and durations for tables.

/** Returns a time of the API in UTC, without fractions of a second; `-` for null. */
export function formatTime(time: string | null): string {
  return time === null ? '-' : time.replace(/\.\d+Z$/, 'Z');
}

/** Returns a duration in µs, ms or s with three significant digits; `-` for undefined. */
export function formatDuration(microseconds: number | undefined): string {
  if (microseconds === undefined) return '-';
  if (microseconds < 1_000) return `${microseconds} µs`;
  if (microseconds < 1_000_000) return `${Number((microseconds / 1_000).toPrecision(3))} ms`;
  return `${Number((microseconds / 1_000_000).toPrecision(3))} s`;
}
