// Names of groups, as suggestions of fields.

import { unwrapResponse } from '../../src/client/client.ts';
import { useResource } from '../live/resource.ts';
import { useSignedIn } from './session.tsx';

/** Maximum suggested groups; others can be typed. */
const offeredLimit = 200;

export function useGroupNames(): readonly string[] {
  const { client } = useSignedIn();
  const groups = useResource(
    'groups',
    async (signal) => unwrapResponse(await client.GET('/v1/groups', { params: { query: { limit: offeredLimit } }, signal })).items,
    { isRelevant: ({ action }) => action.startsWith('group.') },
  );
  return groups.data?.map(({ name }) => name) ?? [];
}
