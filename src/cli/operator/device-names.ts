// Resolves the names of devices: the API takes identifiers.

import { type Client, unwrapResponse } from '../../client/client.ts';
import { CommandError } from '../errors.ts';
import { allItems, readPages } from './pages.ts';

/** Returns the identifiers of devices. @throws {CommandError} if no device has the name. */
export function resolveDeviceIds(client: Client, namesOrIds: readonly string[]): Promise<string[]> {
  return Promise.all(namesOrIds.map((text) => resolveDeviceId(client, text)));
}

/** Returns the identifier of a device. @throws {CommandError} if no device has the name. */
export async function resolveDeviceId(client: Client, nameOrId: string): Promise<string> {
  if (isIdentifier(nameOrId)) return nameOrId;
  const query = { name: nameOrId, limit: 1 };
  const [device] = unwrapResponse(await client.GET('/v1/devices', { params: { query } })).items;
  if (device === undefined) throw new CommandError(`there is no device "${nameOrId}": "patchbay device list" lists devices`);
  return device.id;
}

/** Returns the name of each device by its identifier. */
export async function readDeviceNames(client: Client): Promise<ReadonlyMap<string, string>> {
  const { items } = await readPages(allItems, async (query) => unwrapResponse(await client.GET('/v1/devices', { params: { query } })));
  return new Map(items.map(({ id, name }) => [id, name]));
}

const isIdentifier = (text: string) => /^dev_[0-9a-f]{32}$/.test(text);
