// The frame around every page: navigation, state of the live connection, and the signed-in key.

import type { ComponentChildren } from 'preact';
import type { Connection } from './live/event-stream.ts';
import { useConnection } from './live/events.tsx';
import { entries } from './navigation/entries.ts';
import { useLocation } from './navigation/location.ts';
import { pageAt } from './navigation/paths.ts';
import { useSignedIn } from './session/session.tsx';

const connections: Readonly<Record<Connection, string>> = {
  connecting: 'connecting…',
  live: 'live',
  lost: 'connection lost, reconnecting…',
  looking: 'refreshes every 5 s',
  resting: 'resting',
};

export function Frame({ signOut, children }: { readonly signOut: () => void; readonly children: ComponentChildren }) {
  const { who } = useSignedIn();
  const connection = useConnection();
  const here = pageAt(useLocation().path);
  return (
    <>
      <a class="skip" href="#main">
        Skip to content
      </a>
      <header class="frame-head">
        <a class="frame-name" href="/">
          <svg viewBox="0 0 32 32" aria-hidden="true">
            <circle cx="8" cy="8" r="5.5" fill="none" stroke="currentColor" stroke-width="3" />
            <circle cx="24" cy="24" r="7" fill="currentColor" />
            <path d="M8 14c0 8 5 10 10 10" fill="none" stroke="currentColor" stroke-width="3" />
          </svg>
          Patchbay
        </a>
        <nav class="frame-pages" aria-label="Pages">
          {entries.map(({ label, path, pages }) => (
            <a
              key={path}
              href={path}
              aria-current={here !== null && pages.includes(here.name) ? (here.name === pages[0] ? 'page' : 'true') : undefined}
            >
              {label}
            </a>
          ))}
        </nav>
        <div class="frame-who">
          <span class="connection" data-is={connection} role="status">
            {connections[connection]}
          </span>
          {who.id !== null && (
            <>
              <span>
                <span class="key-name">{who.name}, </span>
                {who.role}
                {who.scope !== null && ` for ${who.scope}`}
              </span>
              <button type="button" onClick={signOut}>
                Sign out
              </button>
            </>
          )}
        </div>
      </header>
      <main id="main">{children}</main>
    </>
  );
}
