// What many schemas of the API share: identifiers, times, pages.

import { z } from 'zod';
import { exampleTimes, exampleVersions } from '../../protocol/examples.ts';
import { exampleIdentifier, type identifierPrefixes } from '../../protocol/identifiers.ts';

/** An identifier in an answer, or in a path, where one of another form names nothing. */
export function identifier(kind: keyof typeof identifierPrefixes) {
  return z
    .string()
    .max(64)
    .describe(`Identifier of a ${kind}; identifiers sort by the time they were made.`)
    .meta({ examples: [exampleIdentifier(kind)] });
}

/** Who asked for a load. */
export const actor = z
  .string()
  .nullable()
  .describe('Who asked for it, by the identifier of their key; null where it is not known.')
  .meta({ examples: [exampleIdentifier('key')] });

export const timestamp = z.iso
  .datetime()
  .describe('RFC 3339, UTC.')
  .meta({ examples: [exampleTimes.requested] });
export const version = z
  .string()
  .max(256)
  .meta({ examples: [exampleVersions.new.version] });
export const count = z.int().nonnegative();

const pageLimits = { most: 200, usual: 50 } as const;

/** As it is made of the last item's number; lists by identifier take it too. */
const exampleCursor = Buffer.from('16').toString('base64url');

export const pageQuery = {
  limit: z.coerce
    .number()
    .int()
    .min(1)
    .max(pageLimits.most)
    .default(pageLimits.usual)
    .describe('Items on the page.')
    .meta({ examples: [pageLimits.usual] }),
  cursor: z
    .string()
    .max(512)
    .optional()
    .describe('`next` of the page before.')
    .meta({ examples: [exampleCursor] }),
};

export const DamagedItem = z
  .object({
    id: z.string().describe('Identifier or number of the item.'),
    reason: z.string().describe('What is wrong with the stored row.'),
  })
  .meta({
    id: 'DamagedItem',
    description: 'An item of which the stored row violates its schema, so that it cannot be shown. `GET /v1/health` names it too.',
    examples: [{ id: exampleIdentifier('load'), reason: 'outcome: Invalid option' }],
  });

/** A page of a list, of which the example has the item's example on it. */
export function pageSchema<Item extends z.ZodType>(id: string, item: Item) {
  return z
    .object({
      items: z.array(item).describe('At most `limit`; fewer, with a cursor, where they are larger than 4 MiB together.'),
      damaged: z.array(DamagedItem).describe('Items of the page that cannot be shown, because their stored rows are damaged.'),
      next: z.string().nullable().describe('Cursor of the next page; null on the last. Also in the `Link` header.'),
    })
    .meta({ id, examples: [{ items: item.meta()?.['examples'] ?? [], damaged: [], next: null }] });
}
