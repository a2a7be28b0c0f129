// Devices by the names that operators gave them: the API knows them by their identifiers.

import { answerOf, type Client } from '../../client/client.ts';
import { StartError } from '../command-line.ts';
import { everyItem, readPages } from './pages.ts';

/** The identifiers of devices that are given by identifier or name. @throws {StartError} where there is no device of the name. */
export function deviceIds(client: Client, given: readonly string[]): Promise<string[]> {
  return Promise.all(given.map((text) => deviceId(client, text)));
}

/** The identifier of one device. @throws {StartError} */
export async function deviceId(client: Client, given: string): Promise<string> {
  if (isIdentifier(given)) return given;
  // Of the names that begin so the one that is so comes first.
  const query = { name: given, sort: 'name' as const, limit: 1 };
  const [device] = answerOf(await client.GET('/v1/devices', { params: { query } })).items;
  if (device?.name !== given) throw new StartError(`there is no device "${given}": "patchbay device list" shows what devices there are`);
  return device.id;
}

/** What operators call each device. */
export async function deviceNames(client: Client): Promise<ReadonlyMap<string, string>> {
  const { items } = await readPages(everyItem, async (query) => answerOf(await client.GET('/v1/devices', { params: { query } })));
  return new Map(items.map(({ id, name }) => [id, name]));
}

const isIdentifier = (text: string) => /^dev_[0-9a-f]{32}$/.test(text);
