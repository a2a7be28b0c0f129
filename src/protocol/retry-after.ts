// The Retry-After header: the time that a client waits before it repeats a request.

/**
 * Returns the wait that `Retry-After` (RFC 9110, 10.2.3) requests, in milliseconds, at least 0; null if the header is missing or invalid. Callers limit
 * the wait, because any proxy may have set the header.
 */
export function parseRetryAfter(headers: Headers): number | null {
  const text = headers.get('retry-after');
  if (text === null) return null;
  const milliseconds = /^\d+$/.test(text) ? Number(text) * 1_000 : Date.parse(text) - Date.now();
  return Number.isNaN(milliseconds) ? null : Math.max(milliseconds, 0);
}
