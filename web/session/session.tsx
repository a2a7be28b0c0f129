// Who uses the dashboard: the key that they show, and what it may be used for.

import { type ComponentChildren, createContext } from 'preact';
import { useCallback, useContext, useEffect, useMemo, useState } from 'preact/hooks';
import { type Client, createPatchbayClient, type Schemas, unwrapResponse } from '../../src/client/client.ts';
import { type Failure, failureOf } from '../live/failure.ts';
import { backOff } from '../live/waiting.ts';
import { forgetKey, rememberedKey, rememberKey } from './kept-key.ts';

export type Role = Schemas['Role'];
type Who = Schemas['CurrentKey'];

type Session =
  | { readonly kind: 'opening' }
  | { readonly kind: 'away'; readonly failure: Failure }
  /** @property reason Why the key of before is not good any more; null where there was none. */
  | { readonly kind: 'signed-out'; readonly reason: string | null }
  | { readonly kind: 'signed-in'; readonly client: Client; readonly key: string | null; readonly who: Who };

type SignIn = (key: string, isRemembered: boolean) => Promise<Failure | null>;
export type SessionWithWays = { readonly session: Session; readonly signIn: SignIn; readonly signOut: () => void };

/** Opens the session that the tab remembers, or that the service gives to everybody where it asks nobody for a key. */
export function useSession(): SessionWithWays {
  const [session, setSession] = useState<Session>({ kind: 'opening' });
  const [attempts, setAttempts] = useState(0);

  const expire = useCallback((reason: string | null) => {
    forgetKey();
    setSession({ kind: 'signed-out', reason });
  }, []);

  const open = useCallback(
    async (key: string | null): Promise<Failure | null> => {
      let who: Who;
      try {
        who = unwrapResponse(await createPatchbayClient(location.origin, key).GET('/v1/keys/current'));
      } catch (error) {
        return failureOf(error);
      }
      const client = createPatchbayClient(location.origin, key, async (request) => {
        const response = await fetch(request);
        if (response.status === 401) expire('The key is not good any more: it was revoked, or the service is another one.');
        return response;
      });
      setSession({ kind: 'signed-in', client, key, who });
      return null;
    },
    [expire],
  );

  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const key = rememberedKey();
    open(key).then((failure) => {
      if (failure === null) return;
      if (failure.status === 401) return expire(key === null ? null : failure.detail);
      if (failure.status === 403) return expire(failure.detail);
      setSession({ kind: 'away', failure });
      timer = setTimeout(() => setAttempts(attempts + 1), backOff(attempts + 1));
    });
    return () => clearTimeout(timer);
  }, [attempts, open, expire]);

  const signIn = useCallback<SignIn>(
    async (key, isRemembered) => {
      const failure = await open(key);
      if (failure === null && isRemembered) rememberKey(key);
      return failure;
    },
    [open],
  );
  const signOut = useCallback(() => expire(null), [expire]);
  return { session, signIn, signOut };
}

type SignedIn = { readonly client: Client; readonly who: Who };
const SignedInContext = createContext<SignedIn | null>(null);

export function SignedInAs({ client, who, children }: SignedIn & { readonly children: ComponentChildren }) {
  const value = useMemo(() => ({ client, who }), [client, who]);
  return <SignedInContext.Provider value={value}>{children}</SignedInContext.Provider>;
}

/** The client, and what its key may be used for. @throws {Error} where nobody has signed in. */
export function useSignedIn(): SignedIn & { readonly may: (role: Role) => boolean } {
  const value = useContext(SignedInContext);
  if (value === null) throw new Error('nobody has signed in');
  return { ...value, may: (role) => value.who.grantedRoles.includes(role) };
}
