// Reads the module history of a device, and the modules that it had at a time.

import { type Client, type Schemas, unwrapResponse } from '../../client/client.ts';
import { type Page, readPages } from './pages.ts';

type ListOptions = Parameters<typeof readPages>[0];
type HistoryPage = Page<Schemas['HistoryEntry']>;

/** Reads each period in which a version was installed on a device, newest first. @param module Only this module; undefined: all modules. */
export function readHistory(client: Client, device: string, module: string | undefined, options: ListOptions): Promise<HistoryPage> {
  return readPages(options, async (query): Promise<HistoryPage> => {
    if (module === undefined)
      return unwrapResponse(await client.GET('/v1/devices/{device}/history', { params: { path: { device }, query } }));
    const path = { device, module };
    return unwrapResponse(await client.GET('/v1/devices/{device}/modules/{module}/history', { params: { path, query } }));
  });
}

/** Reads the modules that were installed on a device at a time. @param module Only this module; undefined: all modules. */
export async function readModulesAt(
  client: Client,
  device: string,
  module: string | undefined,
  at: string,
  options: ListOptions,
): Promise<HistoryPage> {
  const { items, ...rest } = await readPages(options, async (query): Promise<HistoryPage> => {
    const params = { path: { device }, query: { ...query, at } };
    return unwrapResponse(await client.GET('/v1/devices/{device}/modules', { params }));
  });
  return { items: items.filter((entry) => module === undefined || entry.module === module), ...rest };
}
