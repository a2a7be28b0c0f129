// The history of the modules on a device, and what was there at a moment.

import { type Client, type Schemas, unwrapResponse } from '../../client/client.ts';
import { type Page, readPages } from './pages.ts';

type ListOptions = Parameters<typeof readPages>[0];
type Stays = Page<Schemas['HistoryEntry']>;

/** Every stay of a version in the module table of the device, the newest first; of one module, or of all. */
export function readHistory(client: Client, device: string, module: string | undefined, options: ListOptions): Promise<Stays> {
  return readPages(options, async (query): Promise<Page<Schemas['HistoryEntry']>> => {
    if (module === undefined)
      return unwrapResponse(await client.GET('/v1/devices/{device}/history', { params: { path: { device }, query } }));
    const path = { device, module };
    return unwrapResponse(await client.GET('/v1/devices/{device}/modules/{module}/history', { params: { path, query } }));
  });
}

/** What was in the module table of the device at that moment; of one module, or of all. */
export async function readModulesAt(
  client: Client,
  device: string,
  module: string | undefined,
  at: string,
  options: ListOptions,
): Promise<Stays> {
  const { items, ...rest } = await readPages(options, async (query): Promise<Page<Schemas['HistoryEntry']>> => {
    const params = { path: { device }, query: { ...query, at } };
    return unwrapResponse(await client.GET('/v1/devices/{device}/modules', { params }));
  });
  return { items: items.filter((stay) => module === undefined || stay.module === module), ...rest };
}
