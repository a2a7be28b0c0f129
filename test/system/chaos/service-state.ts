// Reads the final state of the service through its API.

import { type Client, type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { inParallel } from './async.ts';
import { effectsPerCall } from './modules.ts';

export type DeviceState = {
  readonly detail: Schemas['DeviceDetail'];
  readonly programs: readonly Schemas['Program'][];
  /** Residencies by module. */
  readonly history: ReadonlyMap<string, readonly Schemas['HistoryEntry'][]>;
};

export type ServiceState = {
  readonly loads: readonly Schemas['Load'][];
  readonly events: readonly Schemas['AuditEvent'][];
  readonly devices: readonly DeviceState[];
};

/** Items per page, the maximum. */
const limit = 200;
/** Concurrent requests. */
const concurrency = 8;

type Page<Item> = { readonly items: readonly Item[]; readonly next: string | null };

/** Returns every item of a list. */
async function readAllPages<Item>(read: (query: { limit: number; cursor?: string }) => Promise<Page<Item>>): Promise<Item[]> {
  const found: Item[] = [];
  let cursor: string | null = null;
  do {
    const page: Page<Item> = await read(cursor === null ? { limit } : { limit, cursor });
    found.push(...page.items);
    cursor = page.next;
  } while (cursor !== null);
  return found;
}

export function readDevices(client: Client): Promise<Schemas['Device'][]> {
  return readAllPages(async (query) => unwrapResponse(await client.GET('/v1/devices', { params: { query } })));
}

export function readLoads(client: Client): Promise<Schemas['Load'][]> {
  return readAllPages(async (query) => unwrapResponse(await client.GET('/v1/loads', { params: { query } })));
}

export function readPrograms(client: Client, device: string): Promise<Schemas['Program'][]> {
  return readAllPages(async (query) =>
    unwrapResponse(await client.GET('/v1/devices/{device}/programs', { params: { path: { device }, query } })),
  );
}

/** Reads everything that is checked. */
export async function readServiceState(client: Client): Promise<ServiceState> {
  const loads = await readLoads(client);
  const events = await readAllPages(async (query) =>
    unwrapResponse(await client.GET('/v1/audit', { params: { query: { ...query, order: 'asc' as const } } })),
  );
  const devices = await inParallel(await readDevices(client), concurrency, ({ id }) => readDevice(client, id));
  return { loads, events, devices };
}

async function readDevice(client: Client, device: string): Promise<DeviceState> {
  const detail = unwrapResponse(await client.GET('/v1/devices/{device}', { params: { path: { device } } }));
  const programs = await readPrograms(client, device);
  const history = new Map<string, Schemas['HistoryEntry'][]>();
  for (const module of effectsPerCall.keys()) history.set(module, await readHistory(client, device, module));
  return { detail, programs, history };
}

function readHistory(client: Client, device: string, module: string): Promise<Schemas['HistoryEntry'][]> {
  return readAllPages(async (query) =>
    unwrapResponse(await client.GET('/v1/devices/{device}/modules/{module}/history', { params: { path: { device, module }, query } })),
  );
}
