// Entity tags (RFC 9110): what they are made of, and what requests ask of them.

import { createHash } from 'node:crypto';
import { z } from 'zod';

/** Returns the strong ETag of content that a digest identifies. */
export const entityTag = (digest: string) => `"${digest}"`;

/** Returns the strong ETag of a response body; it changes with every character. */
export function computeEntityTag(response: object): string {
  return entityTag(createHash('sha256').update(JSON.stringify(response)).digest('base64url'));
}

const tag = String.raw`(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"`;
const everyTag = new RegExp(tag, 'g');
const listOfTags = new RegExp(`^[ \\t,]*${tag}(?:[ \\t]*,[ \\t,]*${tag})*[ \\t,]*$`);

/** Tags that a request names; `*` is any. */
const condition = z
  .string()
  .refine(
    (text) => text.trim() === '*' || listOfTags.test(text),
    'must be * or a list of ETag values in double quotes, separated by commas',
  )
  .transform((text): '*' | string[] => (text.trim() === '*' ? '*' : (text.match(everyTag) ?? [])))
  .optional();

const exampleTags = { tag: { value: computeEntityTag({ labels: { zone: 'north' } }) } };

export const ifMatchHeaders = z.looseObject({
  'if-match': condition
    .describe('Executes the request only if this is the current `ETag`, and responds with 412 otherwise. A list of tags, or `*`.')
    .meta({ 'x-examples': exampleTags }),
});
export const ifNoneMatchHeaders = z.looseObject({
  'if-none-match': condition
    .describe('Responds with 304 if this is the current `ETag`. A list of tags, or `*`.')
    .meta({ 'x-examples': exampleTags }),
});

/** Returns the ETag of a device or host: it changes with its name, not with what it reports. */
export function nameEntityTag({
  id,
  name,
  registeredName,
}: {
  readonly id: string;
  readonly name: string;
  readonly registeredName: string | null;
}): string {
  return computeEntityTag({ id, name, registeredName });
}

/** Whether `If-Match` allows a change of what has this tag. A weak tag is none of what is to be the same to the letter. */
export function matchesIfMatch(headers: z.output<typeof ifMatchHeaders>, current: string): boolean {
  const named = headers['if-match'] ?? '*';
  return named === '*' || named.includes(current);
}

/** Whether `If-None-Match` says that the client has what has this tag. */
export function matchesIfNoneMatch(headers: z.output<typeof ifNoneMatchHeaders>, current: string): boolean {
  const named = headers['if-none-match'] ?? [];
  return named === '*' || named.some((one) => one.replace(/^W\//, '') === current);
}
