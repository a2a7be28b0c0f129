// The current path and query, through the History API.

import { useEffect, useLayoutEffect, useState } from 'preact/hooks';
import { pageAt } from './paths.ts';

const listeners = new Set<() => void>();

function notifyListeners(): void {
  for (const listener of listeners) listener();
}

/** Navigates to a path of the dashboard. @param how `replace`: replaces the current history entry. */
export function navigate(to: string, how: 'push' | 'replace' = 'push'): void {
  if (to === currentPlace()) return;
  if (how === 'replace') history.replaceState(null, '', to);
  else history.pushState(null, '', to);
  if (how === 'push') scrollTo(0, 0);
  notifyListeners();
}

const currentPlace = () => `${location.pathname}${location.search}`;

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  addEventListener('popstate', listener);
  return () => {
    listeners.delete(listener);
    removeEventListener('popstate', listener);
  };
}

export type PageLocation = { readonly path: string; readonly query: URLSearchParams };

/** Returns the current location; the component renders again when it changes. */
export function useLocation(): PageLocation {
  const [place, setPlace] = useState(currentPlace);
  // A layout effect: after painting, a navigation could be missed.
  useLayoutEffect(() => subscribe(() => setPlace(currentPlace())), []);
  const url = new URL(place, location.origin);
  return { path: url.pathname, query: url.searchParams };
}

/** Follows links to pages of the dashboard without reloading it, including links in SVG. The browser handles all other links. */
export function useLinks(): void {
  useEffect(() => {
    const follow = (event: MouseEvent) => {
      if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
      const link = event.composedPath().find((target) => target instanceof HTMLAnchorElement);
      if (link === undefined || link.target !== '' || link.hasAttribute('download')) return;
      const url = new URL(link.href);
      if (url.origin !== location.origin || url.hash !== '' || pageAt(url.pathname) === null) return;
      event.preventDefault();
      navigate(`${url.pathname}${url.search}`);
    };
    document.addEventListener('click', follow);
    return () => document.removeEventListener('click', follow);
  }, []);
}
