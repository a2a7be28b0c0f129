// Maps paths to pages and pages to paths.

import { type PageName, pagePaths } from '../page-paths.ts';

/** The props of every page: the parameters of its path. */
export type PageProps = { readonly parameters: Readonly<Record<string, string>> };
export type PageAt = PageProps & { readonly name: PageName };

/** Returns the page of a path and its parameters; null for an unknown path. */
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
export const loadBatchPath = (batch: string) => `/load-batches/${encodeURIComponent(batch)}`;
export const rolloutPath = (rollout: string) => `/rollouts/${encodeURIComponent(rollout)}`;
export const assignmentPath = (assignment: string) => `/assignments/${encodeURIComponent(assignment)}`;
export const channelPath = (channel: string) => `/channels/${encodeURIComponent(channel)}`;
export const modulePath = (module: string) => `/builds/${encodeURIComponent(module)}`;
export const buildPath = (module: string, version: string) => `${modulePath(module)}/${encodeURIComponent(version)}`;

/** Returns the path of the form of a rollout of a patch set. @param content Its name and version, like `net@1.0.0`. */
export const newRolloutPath = (content: { readonly patchSet: string }) => withQuery('/rollouts/new', new URLSearchParams(content));

/** Returns a path with a query, without `?` if the query is empty. */
export function withQuery(path: string, query: URLSearchParams): string {
  const text = query.toString();
  return text === '' ? path : `${path}?${text}`;
}
