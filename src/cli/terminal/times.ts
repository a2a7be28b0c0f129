// Times as tables show them.

/** A time of the API, in UTC and without what is smaller than a second; a dash where there is none. */
export function timeText(time: string | null): string {
  return time === null ? '-' : time.replace(/\.\d+Z$/, 'Z');
}
