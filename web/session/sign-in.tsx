// The sign-in page: the identity provider if there is one, and a form that verifies an API key and stores it if the user agrees.

import { useEffect, useId, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { createPatchbayClient, type Schemas } from '../../src/client/client.ts';
import type { Failure } from '../live/failure.ts';
import type { SessionControls } from './session.tsx';
import './sign-in.css';

/** Why the identity provider did not sign someone in, by the value of `?sign-in=`. */
const providerFailures: ReadonlyMap<string, string> = new Map([
  ['no-role', 'You are signed in at the identity provider, but no rule gives you a role here. Ask an administrator.'],
  ['no-devices', 'You are signed in at the identity provider, but no rule gives you devices here. Ask an administrator.'],
  ['unavailable', 'The identity provider cannot be reached. Try again later, or use an API key.'],
  ['expired', 'Signing in took too long, or the browser refused cookies. Try again.'],
  ['failed', 'The identity provider did not sign you in. Try again; the log of the service has the reason.'],
]);

type Parts = { readonly reason: string | null; readonly signIn: SessionControls['signIn'] };

export function SignIn({ reason, signIn }: Parts) {
  const [key, setKey] = useState('');
  const [isRemembered, setRemembered] = useState(true);
  const [isUnderWay, setUnderWay] = useState(false);
  const [failure, setFailure] = useState<Failure | null>(null);
  const field = useRef<HTMLInputElement>(null);
  const message = useId();
  // A layout effect: input right after loading goes into the field.
  useLayoutEffect(() => field.current?.focus(), []);

  const submit = async (event: Event) => {
    event.preventDefault();
    setUnderWay(true);
    const rejected = await signIn(key.trim(), isRemembered);
    if (rejected === null) return;
    setUnderWay(false);
    setFailure(rejected);
    field.current?.focus();
  };
  const provider = useProvider();
  const [providerFailure] = useState(() => providerFailures.get(new URLSearchParams(location.search).get('sign-in') ?? '') ?? null);
  const text = failure === null ? (reason ?? providerFailure) : `${failure.title}: ${failure.detail}`;
  return (
    <main id="main" class="sign-in">
      <form onSubmit={submit}>
        <h1>Sign in to Patchbay</h1>
        {provider !== null && (
          <>
            <a class="main" href={`${provider.path}?return=${encodeURIComponent(currentPage())}`}>
              Sign in with {provider.name}
            </a>
            <p class="soft">Or use an API key:</p>
          </>
        )}
        <p class="soft">
          Enter an API key. The first key is in the file <code>admin-key</code> next to the database. An administrator creates others.
        </p>
        <label>
          <span>API key</span>
          <input
            ref={field}
            class="code"
            type="password"
            name="key"
            required
            autoComplete="off"
            spellcheck={false}
            value={key}
            aria-describedby={message}
            aria-invalid={failure !== null}
            onInput={({ currentTarget }) => setKey(currentTarget.value)}
          />
        </label>
        <label class="choice">
          <input type="checkbox" checked={isRemembered} onChange={({ currentTarget }) => setRemembered(currentTarget.checked)} />
          <span>Stay signed in until this tab is closed</span>
        </label>
        <p id={message} class="error-message" role="alert">
          {text}
        </p>
        <button class="main" type="submit" disabled={isUnderWay}>
          {isUnderWay ? 'Signing in…' : 'Sign in'}
        </button>
      </form>
    </main>
  );
}

type Provider = NonNullable<Schemas['SignInOptions']['provider']>;

/** Returns the identity provider; null while it is unknown, and without one. */
function useProvider(): Provider | null {
  const [provider, setProvider] = useState<Provider | null>(null);
  useEffect(() => {
    // If this fails, an API key still works.
    createPatchbayClient(location.origin)
      .GET('/v1/sign-in-options')
      .then(({ data }) => setProvider(data?.provider ?? null))
      .catch(() => {});
  }, []);
  return provider;
}

/** Returns the current page, without the reason of a failed attempt. */
function currentPage(): string {
  const query = new URLSearchParams(location.search);
  query.delete('sign-in');
  return `${location.pathname}${query.size === 0 ? '' : `?${query}`}`;
}
