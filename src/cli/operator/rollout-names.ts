// Resolves the names of rollouts.

import { type Client, unwrapResponse } from '../../client/client.ts';
import { UsageError } from '../errors.ts';
import { readPages } from './pages.ts';

/** Rollouts that are searched for a name, newest first. */
const searchLimit = 1_000;

/**
 * Returns the identifier of a rollout. A name means the open rollout of that name; if all have ended, the newest. It never means the rollback of
 * a rollout, which has the same name.
 * @throws {UsageError} if no rollout, or several open rollouts, have the name.
 */
export async function resolveRolloutId(client: Client, nameOrId: string): Promise<string> {
  if (/^rol_[0-9a-f]{32}$/.test(nameOrId)) return nameOrId;
  const { items } = await readPages({ limit: searchLimit }, async (query) =>
    unwrapResponse(await client.GET('/v1/rollouts', { params: { query } })),
  );
  const named = items.filter(({ name, rollbackOf }) => name === nameOrId && rollbackOf === null);
  const open = named.filter(({ endedAt }) => endedAt === null);
  if (open.length > 1)
    throw new UsageError(`${open.length} open rollouts are named "${nameOrId}": give one of ${open.map(({ id }) => id).join(', ')}`);
  const found = open[0] ?? named[0];
  if (found === undefined) throw new UsageError(`there is no rollout named "${nameOrId}": "patchbay rollout list" lists rollouts`);
  return found.id;
}
