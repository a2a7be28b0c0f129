// Finds patch sets by their name and version.

import { type Client, type Schemas, unwrapResponse } from '../../client/client.ts';
import { UsageError } from '../errors.ts';

/** Returns the patch set with a name and version. @throws {UsageError} if there is none. */
export async function findPatchSet(client: Client, name: string, version: string): Promise<Schemas['PatchSet']> {
  const query = { name, version, limit: 1 };
  const { items, damaged } = unwrapResponse(await client.GET('/v1/patch-sets', { params: { query } }));
  const [found] = items;
  if (found !== undefined) return found;
  const [unreadable] = damaged;
  throw new UsageError(
    unreadable === undefined
      ? `there is no patch set ${name}@${version}: "patchbay patch-set list --name ${name}" lists its versions`
      : `the patch set ${name}@${version} (${unreadable.id}) cannot be shown, because its stored row is invalid (${unreadable.reason})`,
  );
}
