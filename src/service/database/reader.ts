// Reads for lists and figures, outside transactions: Prisma Client on connections that only read.

import type { QueryClient } from './query-client.ts';
import { createCheckedClient, createReadableClient, type OnUnreadable, tableNames } from './readable-rows.ts';

/** @throws {Error} where a client does not have every table: the clients are of two schemas. */
export function toQueryClient(client: object): QueryClient {
  if (!hasEveryTable(client)) throw new Error('the generated clients do not have the same tables: run `npm run generate`');
  return client;
}

const hasEveryTable = (client: object): client is QueryClient => tableNames.every((name) => Reflect.has(client, name));

export type Reader = {
  /** @throws {UndecodableCell} where a row cannot be decoded. */
  readonly client: QueryClient;
  /** Rows that cannot be decoded are left out. */
  readonly readable: QueryClient;
  readonly onUnreadable: OnUnreadable;
};

export const createReader = (client: QueryClient, onUnreadable: OnUnreadable): Reader => ({
  client: createCheckedClient(client),
  readable: createReadableClient(client, onUnreadable),
  onUnreadable,
});
