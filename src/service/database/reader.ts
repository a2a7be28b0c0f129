// Reads for lists and statistics outside transactions: the Prisma client on read-only connections.

import type { QueryClient } from './query-client.ts';
import { createCheckedClient, createReadableClient, type OnUndecodable, tableNames } from './readable-rows.ts';

/** Checks and returns a Prisma client. @throws {Error} if it lacks a table: the clients were generated from different schemas. */
export function toQueryClient(client: object): QueryClient {
  if (!hasEveryTable(client)) throw new Error('the generated Prisma clients have different tables: run `npm run generate`');
  return client;
}

const hasEveryTable = (client: object): client is QueryClient => tableNames.every((name) => Reflect.has(client, name));

export type Reader = {
  /** Its reads throw {UndecodableCell} if a row cannot be decoded. */
  readonly client: QueryClient;
  /** Its reads omit rows that cannot be decoded. */
  readonly readable: QueryClient;
  readonly onUndecodable: OnUndecodable;
};

export const createReader = (client: QueryClient, onUndecodable: OnUndecodable): Reader => ({
  client: createCheckedClient(client),
  readable: createReadableClient(client, onUndecodable),
  onUndecodable,
});
