// Resolves the names of publisher keys.

import { type Client, unwrapResponse } from '../../client/client.ts';
import { resolveIdentifiers } from './identifiers.ts';

/** Returns the identifiers of active publisher keys. @throws {UsageError} if no active key has the name. */
export function resolvePublisherKeyIds(client: Client, namesOrIds: readonly string[]): Promise<string[]> {
  return resolveIdentifiers(namesOrIds, {
    prefix: 'pub_',
    noun: 'active publisher key',
    listCommand: 'patchbay publisher-key list',
    readPage: async (query) =>
      unwrapResponse(await client.GET('/v1/publisher-keys', { params: { query: { revoked: 'false' as const, ...query } } })),
  });
}
