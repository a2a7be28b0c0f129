// Times and durations as tables show them.

/** A time of the API, in UTC and without what is smaller than a second; a dash where there is none. */
export function formatTime(time: string | null): string {
  return time === null ? '-' : time.replace(/\.\d+Z$/, 'Z');
}

/** A duration in microseconds, to three digits, in the unit that suits it; a dash where there is none. */
export function formatDuration(microseconds: number | undefined): string {
  if (microseconds === undefined) return '-';
  if (microseconds < 1_000) return `${microseconds} µs`;
  if (microseconds < 1_000_000) return `${Number((microseconds / 1_000).toPrecision(3))} ms`;
  return `${Number((microseconds / 1_000_000).toPrecision(3))} s`;
}
