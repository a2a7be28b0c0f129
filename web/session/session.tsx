// The session: an API key, or a cookie after signing in with the identity provider; and the roles.

import { type ComponentChildren, createContext } from 'preact';
import { useCallback, useContext, useEffect, useMemo, useState } from 'preact/hooks';
import { type Client, createPatchbayClient, type Schemas, unwrapResponse } from '../../src/client/client.ts';
import { backOffDelay } from '../live/back-off.ts';
import { type Failure, failureOf } from '../live/failure.ts';
import { deleteStoredKey, readStoredKey, storeKey } from './stored-key.ts';

type Role = Schemas['Role'];
type CurrentKey = Schemas['CurrentKey'];

type Session =
  | { readonly kind: 'opening' }
  | { readonly kind: 'away'; readonly failure: Failure }
  /** @property reason Why the previous key is no longer valid; null without a previous key. */
  | { readonly kind: 'signed-out'; readonly reason: string | null }
  | { readonly kind: 'signed-in'; readonly client: Client; readonly key: string | null; readonly who: CurrentKey };

type SignIn = (key: string, isRemembered: boolean) => Promise<Failure | null>;
export type SessionControls = { readonly session: Session; readonly signIn: SignIn; readonly signOut: () => void };

/** Opens a session with the stored key, or without a key if the browser has a session cookie or the service requires no key. */
export function useSession(): SessionControls {
  const [session, setSession] = useState<Session>({ kind: 'opening' });
  const [attempts, setAttempts] = useState(0);

  const expire = useCallback((reason: string | null) => {
    deleteStoredKey();
    setSession({ kind: 'signed-out', reason });
  }, []);

  const open = useCallback(
    async (key: string | null): Promise<Failure | null> => {
      let who: CurrentKey;
      try {
        who = unwrapResponse(await createPatchbayClient(location.origin, key).GET('/v1/keys/current'));
      } catch (error) {
        return failureOf(error);
      }
      const client = createPatchbayClient(location.origin, key, async (request) => {
        const response = await fetch(request);
        if (response.status === 401)
          expire(
            key === null
              ? 'The session has ended. Sign in again.'
              : 'The API key is no longer valid. It was revoked, it expired, or this is another service.',
          );
        return response;
      });
      setSession({ kind: 'signed-in', client, key, who });
      return null;
    },
    [expire],
  );

  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const key = readStoredKey();
    open(key).then((failure) => {
      if (failure === null) return;
      if (failure.status === 401) return expire(key === null ? null : failure.detail);
      if (failure.status === 403) return expire(failure.detail);
      setSession({ kind: 'away', failure });
      timer = setTimeout(() => setAttempts(attempts + 1), backOffDelay(attempts + 1));
    });
    return () => clearTimeout(timer);
  }, [attempts, open, expire]);

  const signIn = useCallback<SignIn>(
    async (key, isRemembered) => {
      const failure = await open(key);
      if (failure === null && isRemembered) storeKey(key);
      return failure;
    },
    [open],
  );
  const signOut = useCallback(() => {
    const client = session.kind === 'signed-in' && session.key === null ? session.client : null;
    // A session of the identity provider is in a cookie, which only the service can delete.
    if (client !== null) client.DELETE('/v1/sessions/current').finally(() => expire(null));
    else expire(null);
  }, [session, expire]);
  return { session, signIn, signOut };
}

type SignedIn = { readonly client: Client; readonly who: CurrentKey };
const SignedInContext = createContext<SignedIn | null>(null);

export function SignedInAs({ client, who, children }: SignedIn & { readonly children: ComponentChildren }) {
  const value = useMemo(() => ({ client, who }), [client, who]);
  return <SignedInContext.Provider value={value}>{children}</SignedInContext.Provider>;
}

type Permissions = {
  readonly may: (role: Role) => boolean;
  /** Returns whether the key has a role for the whole fleet, and not for the devices of a scope alone. */
  readonly mayAcrossFleet: (role: Role) => boolean;
};

/** Returns the client and its permissions. @throws {Error} Not signed in. */
export function useSignedIn(): SignedIn & Permissions {
  const value = useContext(SignedInContext);
  if (value === null) throw new Error('not signed in');
  const { grantedRoles, scope } = value.who;
  const may = (role: Role) => grantedRoles.includes(role);
  return { ...value, may, mayAcrossFleet: (role) => scope === null && may(role) };
}
