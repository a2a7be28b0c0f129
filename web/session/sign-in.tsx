// The sign-in form: verifies an API key and stores it if the user agrees.

import { useId, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { Failure } from '../live/failure.ts';
import type { SessionControls } from './session.tsx';
import './sign-in.css';

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
  const text = failure === null ? reason : `${failure.title}: ${failure.detail}`;
  return (
    <main id="main" class="sign-in">
      <form onSubmit={submit}>
        <h1>Sign in to Patchbay</h1>
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
