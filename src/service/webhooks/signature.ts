// Signs webhook messages according to Standard Webhooks (standardwebhooks.com), version v1: HMAC-SHA256.

import { createHmac, randomBytes } from 'node:crypto';

const secretPrefix = 'whsec_';
/** Standard Webhooks recommends 24 to 64 bytes. */
const secretBytes = 32;

/** Returns a new secret: `whsec_` and 32 random bytes in base64. */
export function newWebhookSecret(): string {
  return `${secretPrefix}${randomBytes(secretBytes).toString('base64')}`;
}

/** A message to sign. @property timestamp Seconds since 1970. */
export type SignedContent = { readonly id: string; readonly timestamp: number; readonly body: string };

/** Returns the value of the header `webhook-signature`: one signature per secret, separated by spaces. A receiver accepts any of them. */
export function signContent({ id, timestamp, body }: SignedContent, secrets: readonly string[]): string {
  return secrets
    .map((secret) => {
      const key = Buffer.from(secret.slice(secretPrefix.length), 'base64');
      return `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')}`;
    })
    .join(' ');
}
