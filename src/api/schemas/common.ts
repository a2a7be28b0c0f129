// What many schemas of the API share: identifiers, times, pages.

import { z } from 'zod';
import type { identifierPrefixes } from '../../protocol/identifiers.ts';

const examples: Record<keyof typeof identifierPrefixes, string> = {
  host: 'hst_019365a1c0de7b1e9d2f4c6a8b0d1e2f',
  device: 'dev_019365a1c0de7b1e9d2f4c6a8b0d1e2f',
  build: 'bld_019365a1c0de7b1e9d2f4c6a8b0d1e2f',
  batch: 'bat_019365a1c0de7b1e9d2f4c6a8b0d1e2f',
  load: 'lod_019365a1c0de7b1e9d2f4c6a8b0d1e2f',
  program: 'prg_019365a1c0de7b1e9d2f4c6a8b0d1e2f',
  order: 'ord_019365a1c0de7b1e9d2f4c6a8b0d1e2f',
  key: 'key_019365a1c0de7b1e9d2f4c6a8b0d1e2f',
};

/** An identifier in an answer, or in a path, where one of another form names nothing. */
export function identifier(kind: keyof typeof identifierPrefixes) {
  return z
    .string()
    .max(64)
    .describe(`Identifier of a ${kind}; identifiers sort by the time they were made.`)
    .meta({ examples: [examples[kind]] });
}

export const timestamp = z.iso
  .datetime()
  .describe('RFC 3339, UTC.')
  .meta({ examples: ['2026-11-23T09:30:00.000Z'] });
export const version = z
  .string()
  .max(256)
  .meta({ examples: ['1.4.2'] });
export const count = z.int().nonnegative();

const pageLimits = { most: 200, usual: 50 } as const;

export const pageQuery = {
  limit: z.coerce.number().int().min(1).max(pageLimits.most).default(pageLimits.usual).describe('Items on the page.'),
  cursor: z.string().max(512).optional().describe('`next` of the page before.'),
};

/** A page of a list. */
export function pageOf<Item extends z.ZodType>(id: string, item: Item) {
  return z
    .object({
      items: z.array(item),
      next: z.string().nullable().describe('Cursor of the next page; null on the last. Also in the `Link` header.'),
    })
    .meta({ id });
}
