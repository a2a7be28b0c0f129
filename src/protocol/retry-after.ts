// How long a client waits before it repeats a request: the Retry-After header.

/**
 * How long `Retry-After`, in seconds or as a date (RFC 9110, 10.2.3), asks to wait, in milliseconds and not less than 0; null where there is none or
 * it is neither. Callers bound it: any server may be on the way.
 */
export function parseRetryAfter(headers: Headers): number | null {
  const text = headers.get('retry-after');
  if (text === null) return null;
  const milliseconds = /^\d+$/.test(text) ? Number(text) * 1_000 : Date.parse(text) - Date.now();
  return Number.isNaN(milliseconds) ? null : Math.max(milliseconds, 0);
}
