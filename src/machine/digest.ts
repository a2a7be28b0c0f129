// Digests, the identifiers of images and sources.

import { createHash } from 'node:crypto';

/** Returns the SHA-256 digest of the bytes, as `sha256:` and 64 hexadecimal digits. */
export function digestOf(bytes: string | Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
