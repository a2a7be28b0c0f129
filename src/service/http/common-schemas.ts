// Schemas shared across the API: identifiers, times and pages.

import { z } from 'zod';
import { exampleTimes, exampleVersions } from '../../protocol/examples.ts';
import { exampleIdentifier, type identifierPrefixes } from '../../protocol/identifiers.ts';

/** Returns the schema of an identifier in a response or a path. It accepts any string: an identifier of another form matches no object. */
export function identifier(kind: keyof typeof identifierPrefixes) {
  return z
    .string()
    .max(64)
    .describe(`Identifier of a ${kind}; identifiers sort by creation time.`)
    .meta({ examples: [exampleIdentifier(kind)] });
}

/** The actor who requested a load. */
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

const pageLimits = { max: 200, default: 50 } as const;

/** The shape of a real cursor is opaque to clients. */
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
    .describe('`next` of the previous page.')
    .meta({ examples: [exampleCursor] }),
};

export const DamagedItem = z
  .object({
    id: z.string().describe('Identifier or number of the item.'),
    reason: z.string().describe('What is wrong with the stored row.'),
  })
  .meta({
    id: 'DamagedItem',
    description: 'An item that cannot be returned because its stored row is invalid. `GET /v1/health` lists it too.',
    examples: [{ id: exampleIdentifier('load'), reason: 'outcome: Invalid option' }],
  });

/** Returns the schema of a page of a list. Its example contains the example of the item. */
export function pageSchema<Item extends z.ZodType>(id: string, item: Item) {
  return z
    .object({
      items: z.array(item).describe('At most `limit` items; fewer, with a cursor, if they exceed 4 MiB in total.'),
      damaged: z.array(DamagedItem).describe('Items of the page that cannot be returned because their stored rows are invalid.'),
      next: z.string().nullable().describe('Cursor of the next page; null on the last page. The `Link` header has it too.'),
    })
    .meta({ id, examples: [{ items: item.meta()?.['examples'] ?? [], damaged: [], next: null }] });
}
