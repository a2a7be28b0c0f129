// Devices by the names that operators gave them: the API knows them by their identifiers.

import { type Client, unwrapResponse } from '../../client/client.ts';
import { CommandError } from '../option-values.ts';
import { allItems, readPages } from './pages.ts';

/** The identifiers of devices that are given by identifier or name. @throws {CommandError} where there is no device of the name. */
export function resolveDeviceIds(client: Client, given: readonly string[]): Promise<string[]> {
  return Promise.all(given.map((text) => resolveDeviceId(client, text)));
}

/** The identifier of one device. @throws {CommandError} */
export async function resolveDeviceId(client: Client, given: string): Promise<string> {
  if (isIdentifier(given)) return given;
  // Of the names that begin so the one that is so comes first.
  const query = { name: given, sort: 'name' as const, limit: 1 };
  const [device] = unwrapResponse(await client.GET('/v1/devices', { params: { query } })).items;
  if (device?.name !== given) throw new CommandError(`there is no device "${given}": "patchbay device list" shows what devices there are`);
  return device.id;
}

/** What operators call each device. */
export async function readDeviceNames(client: Client): Promise<ReadonlyMap<string, string>> {
  const { items } = await readPages(allItems, async (query) => unwrapResponse(await client.GET('/v1/devices', { params: { query } })));
  return new Map(items.map(({ id, name }) => [id, name]));
}

const isIdentifier = (text: string) => /^dev_[0-9a-f]{32}$/.test(text);
