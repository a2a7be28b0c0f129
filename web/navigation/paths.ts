// Which page a path is of, and the path of a page.

import { type PageName, pagePaths } from '../page-paths.ts';

/** What every page is given: what its path says besides. */
export type PageParts = { readonly parameters: Readonly<Record<string, string>> };
export type PageAt = PageParts & { readonly name: PageName };

/** The page of a path, and what the path says besides; null where there is none. */
export function pageAt(path: string): PageAt | null {
  for (const { name, path: pattern } of pagePaths) {
    const parameters = matchPath(pattern, path);
    if (parameters !== null) return { name, parameters };
  }
  return null;
}

function matchPath(pattern: string, path: string): Record<string, string> | null {
  const [wanted, given] = [pattern.split('/'), path.split('/')];
  if (wanted.length !== given.length) return null;
  const parameters: Record<string, string> = {};
  for (const [index, part] of wanted.entries()) {
    const text = given[index] ?? '';
    if (!part.startsWith(':')) {
      if (part !== text) return null;
    } else if (text === '') return null;
    else parameters[part.slice(1)] = decoded(text);
  }
  return parameters;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export const devicePath = (device: string) => `/devices/${encodeURIComponent(device)}`;
export const loadPath = (load: string) => `/loads/${encodeURIComponent(load)}`;
export const rolloutPath = (rollout: string) => `/rollouts/${encodeURIComponent(rollout)}`;
export const modulePath = (module: string) => `/builds/${encodeURIComponent(module)}`;
export const buildPath = (module: string, version: string) => `${modulePath(module)}/${encodeURIComponent(version)}`;

/** A path with a query of what has a value. */
export function withQuery(path: string, query: URLSearchParams): string {
  const text = query.toString();
  return text === '' ? path : `${path}?${text}`;
}
