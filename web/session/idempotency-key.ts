// Idempotency keys: a request that changes something is executed once, even if its response is lost.

/** Returns a new key for a request and its retries. */
export function newIdempotencyKey(): string {
  // Not randomUUID: browsers offer it only on localhost and over TLS.
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
