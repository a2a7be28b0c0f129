// Resolves the names of device hosts: the API takes identifiers.

import { type Client, unwrapResponse } from '../../client/client.ts';
import { CommandError } from '../errors.ts';
import { allItems, readPages } from './pages.ts';

/** Returns the identifier of a host. @throws {CommandError} if no host has the name. */
export async function resolveHostId(client: Client, nameOrId: string): Promise<string> {
  if (/^hst_[0-9a-f]{32}$/.test(nameOrId)) return nameOrId;
  const { items } = await readPages(allItems, async (query) => unwrapResponse(await client.GET('/v1/hosts', { params: { query } })));
  const host = items.find(({ name }) => name === nameOrId);
  if (host === undefined) throw new CommandError(`there is no host "${nameOrId}": "patchbay device-host list" lists hosts`);
  return host.id;
}
