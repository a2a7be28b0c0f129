// Names of keys, hosts, devices and rollouts, for texts in which the service reports IDs.

import { type Client, type Schemas, unwrapResponse } from '../../src/client/client.ts';
import { useResource } from '../live/resource.ts';
import { useSignedIn } from './session.tsx';

export type Names = ReadonlyMap<string, string>;

/** Maximum hosts, users, assignments and keys whose names are read. */
const actorLimit = 200;
/** Maximum rollouts, and devices, whose names are read for one text. */
const objectLimit = 20;
const none: Names = new Map();

/** Returns the display name: by default the build. A rollback is named after the rollout that it rolls back. */
export function rolloutName(rollout: Pick<Schemas['Rollout'], 'name' | 'module' | 'version' | 'patchSet' | 'rollbackOf'>): string {
  const { module, version, patchSet } = rollout;
  const installed = version ?? patchSet?.version ?? null;
  const name = rollout.name ?? (installed === null ? module : `${module}@${installed}`);
  return rollout.rollbackOf === null ? name : `Rollback of ${name}`;
}

/** Returns the names of hosts, users, assignments and, if the reader may see them, of API keys, by ID. */
export function useActorNames(): Names {
  const { client, may, mayAcrossFleet } = useSignedIn();
  const mayReadKeys = may('admin');
  const mayReadHosts = mayAcrossFleet('viewer');
  const names = useResource('actors', async (signal) => {
    const params = { query: { limit: actorLimit } };
    const [hosts, users, assignments, keys] = await Promise.all([
      mayReadHosts ? client.GET('/v1/hosts', { params, signal }).then(unwrapResponse) : { items: [] },
      client.GET('/v1/users', { params, signal }).then(unwrapResponse),
      mayReadHosts ? client.GET('/v1/assignments', { params, signal }).then(unwrapResponse) : { items: [] },
      mayReadKeys ? client.GET('/v1/keys', { params, signal }).then(unwrapResponse) : { items: [] },
    ]);
    const named = users.items.map(({ id, name, email, subject }) => ({ id, name: name ?? email ?? subject }));
    return new Map([...hosts.items, ...named, ...assignments.items, ...keys.items].map(({ id, name }) => [id, name]));
  });
  return names.data ?? none;
}

/** Returns the names of the devices and rollouts whose IDs are in the texts, by ID. Objects that cannot be read have none. */
export function useObjectNames(...texts: readonly string[]): Names {
  const { client } = useSignedIn();
  const ids = [...new Set(texts.flatMap((text) => text.match(/\b(?:dev|rol)_[0-9a-f]{32}\b/g) ?? []))];
  const names = useResource(ids.join(' '), async (signal) => {
    const [devices, rollouts] = await Promise.all([
      deviceNames(client, ids.filter((id) => id.startsWith('dev_')).slice(0, objectLimit), signal),
      rolloutNames(client, ids.filter((id) => id.startsWith('rol_')).slice(0, objectLimit), signal),
    ]);
    return new Map([...devices, ...rollouts]);
  });
  return names.data ?? none;
}

type Entries = readonly (readonly [id: string, name: string])[];

async function deviceNames(client: Client, id: readonly string[], signal: AbortSignal): Promise<Entries> {
  if (id.length === 0) return [];
  const { data } = await client.GET('/v1/devices', { params: { query: { id: [...id], limit: id.length } }, signal });
  return data?.items.map((device) => [device.id, device.name] as const) ?? [];
}

async function rolloutNames(client: Client, ids: readonly string[], signal: AbortSignal): Promise<Entries> {
  const responses = await Promise.all(
    ids.map((rollout) => client.GET('/v1/rollouts/{rollout}', { params: { path: { rollout } }, signal })),
  );
  return responses.flatMap(({ data }) => (data === undefined ? [] : [[data.id, rolloutName(data)] as const]));
}
