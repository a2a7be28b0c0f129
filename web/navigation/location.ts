// Where in the dashboard one is: the path and query of the address bar, by the History API.

import { useEffect, useLayoutEffect, useState } from 'preact/hooks';
import { pageAt } from './paths.ts';

const listeners = new Set<() => void>();

function tellListeners(): void {
  for (const listener of listeners) listener();
}

/** Goes to a path of the dashboard. @param how `replace`: going back passes it by. */
export function navigate(to: string, how: 'push' | 'replace' = 'push'): void {
  if (to === currentPlace()) return;
  if (how === 'replace') history.replaceState(null, '', to);
  else history.pushState(null, '', to);
  if (how === 'push') scrollTo(0, 0);
  tellListeners();
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

export type Place = { readonly path: string; readonly query: URLSearchParams };

/** The place that is looked at; whoever asks is told when it changes. */
export function usePlace(): Place {
  const [place, setPlace] = useState(currentPlace);
  // With the page, and not after it was painted: where one goes meanwhile would be missed.
  useLayoutEffect(() => subscribe(() => setPlace(currentPlace())), []);
  const url = new URL(place, location.origin);
  return { path: url.pathname, query: url.searchParams };
}

/** Has links to pages of the dashboard followed without loading it anew, also those in drawings; all others are the browser's. */
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
