// The history of a module on a device.

import { answerOf, type Client, type Schemas } from '../client/client.ts';
import { type Page, readPages } from './pages.ts';

type ListOptions = Parameters<typeof readPages>[0];

/** Every stay of a version in the memory of the device, the newest first. */
export function readHistory(
  client: Client,
  device: string,
  module: string,
  options: ListOptions,
): Promise<{ items: Schemas['HistoryEntry'][]; next: string | null }> {
  const path = { device, module };
  return readPages(
    options,
    async (query): Promise<Page<Schemas['HistoryEntry']>> =>
      answerOf(await client.GET('/v1/devices/{device}/modules/{module}/history', { params: { path, query } })),
  );
}
