// Rollouts by the names that operators gave them.

import { type Client, unwrapResponse } from '../../client/client.ts';
import { UsageError } from '../option-values.ts';
import { readPages } from './pages.ts';

/** Rollouts among which a name is looked for, the newest first. */
const lookedThrough = 1_000;

/**
 * The identifier of a rollout that is given by it or by its name: of the only one of the name that has not ended, or else of the newest. A rollback
 * has the name of what it takes back, and is not meant by it.
 * @throws {UsageError} where none has the name, or several that have not ended do.
 */
export async function resolveRolloutId(client: Client, given: string): Promise<string> {
  if (/^rol_[0-9a-f]{32}$/.test(given)) return given;
  const { items } = await readPages({ limit: lookedThrough }, async (query) =>
    unwrapResponse(await client.GET('/v1/rollouts', { params: { query } })),
  );
  const named = items.filter(({ name, rollbackOf }) => name === given && rollbackOf === null);
  const open = named.filter(({ endedAt }) => endedAt === null);
  if (open.length > 1)
    throw new UsageError(`${open.length} rollouts called ${given} have not ended: name one of ${open.map(({ id }) => id).join(', ')}`);
  const found = open[0] ?? named[0];
  if (found === undefined) throw new UsageError(`there is no rollout called ${given}: "patchbay rollout list" shows those there are`);
  return found.id;
}
