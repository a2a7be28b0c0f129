// Publisher keys by the names that administrators gave them.

import { type Client, unwrapResponse } from '../../client/client.ts';
import { resolveIdentifiers } from './identifiers.ts';

/** Identifiers of publisher keys in use. @throws {UsageError} where none has the name. */
export function resolvePublisherKeyIds(client: Client, given: readonly string[]): Promise<string[]> {
  return resolveIdentifiers(given, {
    prefix: 'pub_',
    called: 'publisher key in use',
    command: 'patchbay publisher-key list',
    ask: async (query) =>
      unwrapResponse(await client.GET('/v1/publisher-keys', { params: { query: { revoked: 'false' as const, ...query } } })),
  });
}
