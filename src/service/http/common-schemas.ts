// Schemas that many endpoints share: identifiers, times, pages.

import { z } from 'zod';
import { exampleTimes, exampleVersions } from '../../protocol/examples.ts';
import { exampleIdentifier, type identifierPrefixes } from '../../protocol/identifiers.ts';

/** Returns the schema of an identifier in a response or a path. A path with a malformed identifier gets 404. */
export function identifier(kind: keyof typeof identifierPrefixes) {
  return z
    .string()
    .max(64)
    .describe(`Identifier of a ${kind}. Identifiers sort by creation time.`)
    .meta({ examples: [exampleIdentifier(kind)] });
}

/** The actor that requested a load. */
export const actor = z
  .string()
  .nullable()
  .describe('Identifier of the API key or user that requested it. Null if unknown.')
  .meta({ examples: [exampleIdentifier('key')] });

export const timestamp = z.iso
  .datetime()
  .describe('RFC 3339 time in UTC.')
  .meta({ examples: [exampleTimes.requested] });
export const version = z
  .string()
  .max(256)
  .meta({ examples: [exampleVersions.new.version] });
export const count = z.int().nonnegative();

const pageLimits = { max: 200, default: 50 } as const;

/** A cursor made of an item's number; lists by identifier accept it too. */
const exampleCursor = Buffer.from('16').toString('base64url');

export const pageQuery = {
  limit: z.coerce
    .number()
    .int()
    .min(1)
    .max(pageLimits.max)
    .default(pageLimits.default)
    .describe('Maximum number of items on the page.')
    .meta({ examples: [pageLimits.default] }),
  cursor: z
    .string()
    .max(512)
    .optional()
    .describe('The `next` value of the previous page.')
    .meta({ examples: [exampleCursor] }),
};

export const DamagedItem = z
  .object({
    id: z.string().describe('Identifier or number of the item.'),
    reason: z.string().describe('What is wrong with the stored row.'),
  })
  .meta({
    id: 'DamagedItem',
    description: 'An item that cannot be shown because its stored row violates the schema. `GET /v1/health` also lists it.',
    examples: [{ id: exampleIdentifier('load'), reason: 'outcome: Invalid option' }],
  });

/** Returns the schema of a list page. Its example contains the example of the item. */
export function pageSchema<Item extends z.ZodType>(id: string, item: Item) {
  return z
    .object({
      items: z.array(item).describe('Up to `limit` items. A page over 4 MiB ends earlier and has a cursor.'),
      damaged: z.array(DamagedItem).describe('Items of the page that cannot be shown because their stored rows are damaged.'),
      next: z
        .string()
        .nullable()
        .describe('Cursor of the next page; null on the last page. The `Link` header has the URL of the next page.'),
    })
    .meta({ id, examples: [{ items: item.meta()?.['examples'] ?? [], damaged: [], next: null }] });
}
