// Publisher keys by the names that administrators gave them.

import { answerOf, type Client } from '../../client/client.ts';
import { identifiersOf } from './named.ts';

/** Identifiers of publisher keys in use. @throws {UsageError} where none has the name. */
export function publisherKeyIds(client: Client, given: readonly string[]): Promise<string[]> {
  return identifiersOf(given, {
    prefix: 'pub_',
    called: 'publisher key in use',
    command: 'patchbay publisher-key list',
    ask: async (query) => answerOf(await client.GET('/v1/publisher-keys', { params: { query: { revoked: 'false' as const, ...query } } })),
  });
}
