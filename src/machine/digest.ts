// Digests, which name images and sources.

import { createHash } from 'node:crypto';

/** SHA-256 of the bytes, as `sha256:` and 64 hexadecimal digits. */
export function digestOf(bytes: string | Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
