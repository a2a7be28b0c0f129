// Entity tags and conditional requests (RFC 9110).

import { createHash } from 'node:crypto';
import { z } from 'zod';

/** Returns the strong entity tag of content with this digest. */
export const entityTag = (digest: string) => `"${digest}"`;

/** Returns the strong entity tag of a response body: it changes with every byte of the JSON. */
export function computeEntityTag(body: object): string {
  return entityTag(createHash('sha256').update(JSON.stringify(body)).digest('base64url'));
}

const tag = String.raw`(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"`;
const everyTag = new RegExp(tag, 'g');
const listOfTags = new RegExp(`^[ \\t,]*${tag}(?:[ \\t]*,[ \\t,]*${tag})*[ \\t,]*$`);

/** The entity tags of a conditional header; `*` matches any. */
const condition = z
  .string()
  .refine(
    (text) => text.trim() === '*' || listOfTags.test(text),
    'must be * or one or more ETag values in double quotes, separated by commas',
  )
  .transform((text): '*' | string[] => (text.trim() === '*' ? '*' : (text.match(everyTag) ?? [])))
  .optional();

const exampleTags = { tag: { value: computeEntityTag({ labels: { zone: 'north' } }) } };

export const ifMatchHeaders = z.looseObject({
  'if-match': condition
    .describe('Apply the change only if the current `ETag` is in this list, or the value is `*`; otherwise respond with 412.')
    .meta({ 'x-examples': exampleTags }),
});
export const ifNoneMatchHeaders = z.looseObject({
  'if-none-match': condition
    .describe('Respond with 304 if the current `ETag` is in this list, or the value is `*`.')
    .meta({ 'x-examples': exampleTags }),
});

/** Returns whether `If-Match` allows a change of the object with this tag. The comparison is strong: a weak tag never matches. */
export function matchesIfMatch(headers: z.output<typeof ifMatchHeaders>, current: string): boolean {
  const named = headers['if-match'] ?? '*';
  return named === '*' || named.includes(current);
}

/** Returns whether `If-None-Match` matches this tag: the client already has the current representation. */
export function matchesIfNoneMatch(headers: z.output<typeof ifNoneMatchHeaders>, current: string): boolean {
  const named = headers['if-none-match'] ?? [];
  return named === '*' || named.some((entry) => entry.replace(/^W\//, '') === current);
}
