// Requests that change something are done once, whatever happens to their answers: each has a key of its own.

/** A key for one request and its repetitions. */
export function newIdempotencyKey(): string {
  // Not randomUUID, which browsers have for pages from this machine or over TLS only.
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
