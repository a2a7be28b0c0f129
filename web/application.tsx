// The dashboard: the session, the live events and the page of the current address.

import { useEffect, useRef } from 'preact/hooks';
import { FailureNotice } from './components/resource-view.tsx';
import { Frame } from './frame.tsx';
import { LiveEventsProvider } from './live/events.tsx';
import { useLinks, useLocation } from './navigation/location.ts';
import { pageAt } from './navigation/paths.ts';
import { pages } from './pages.tsx';
import { SignedInAs, useSession } from './session/session.tsx';
import { SignIn } from './session/sign-in.tsx';

export function Application() {
  const { session, signIn, signOut } = useSession();
  useLinks();
  switch (session.kind) {
    case 'opening':
      return (
        <main id="main">
          <p class="loading" role="status">
            Opening…
          </p>
        </main>
      );
    case 'away':
      return (
        <main id="main">
          <h1>Patchbay</h1>
          <FailureNotice failure={session.failure} since="The page retries automatically." />
        </main>
      );
    case 'signed-out':
      return <SignIn reason={session.reason} signIn={signIn} />;
    case 'signed-in':
      return (
        <SignedInAs client={session.client} who={session.who}>
          <LiveEventsProvider client={session.client} apiKey={session.key} hasScope={session.who.scope !== null}>
            <Frame signOut={signOut}>
              <CurrentPage />
            </Frame>
          </LiveEventsProvider>
        </SignedInAs>
      );
  }
}

function CurrentPage() {
  const { path } = useLocation();
  const first = useRef(path);
  // Moves the focus so that screen readers announce the new page; not on the first page, which the browser announces itself.
  useEffect(() => {
    if (first.current !== path) document.querySelector<HTMLElement>('#main h1')?.focus();
    first.current = '';
  }, [path]);
  const found = pageAt(path);
  if (found === null) return <NoPage path={path} />;
  const Page = pages[found.name];
  return <Page key={path} parameters={found.parameters} />;
}

function NoPage({ path }: { readonly path: string }) {
  return (
    <>
      <h1 tabIndex={-1}>No such page</h1>
      <p>
        There is no <code>{path}</code>: <a href="/">the fleet</a> shows every device.
      </p>
    </>
  );
}
