// The names of connected hosts, as suggestions.

import { unwrapResponse } from '../../src/client/client.ts';
import { useResource } from '../live/resource.ts';
import { useSignedIn } from './session.tsx';

/** Maximum names; any other host can be entered. */
const limit = 200;

/** Returns the names of connected hosts. @param except Identifier of a host to leave out. */
export function useConnectedHosts(except: string): readonly string[] {
  const { client } = useSignedIn();
  const hosts = useResource('connected-hosts', async (signal) =>
    unwrapResponse(await client.GET('/v1/hosts', { params: { query: { status: 'connected', sort: 'name', limit } }, signal })),
  );
  return (hosts.data?.items ?? []).filter(({ id }) => id !== except).map(({ name }) => name);
}
