// Texts about a request for loads on several devices.

import type { Schemas } from '../../../src/client/client.ts';

type Batch = Schemas['LoadBatch'];

/** Returns what the loads of a request do. */
export function contentText({ kind, module, version, rollback }: Batch): string {
  const content = version === null ? module : `${module}@${version}`;
  if (rollback) return `Roll back ${kind === 'patch-set' ? 'patch set ' : ''}${content}`;
  return { build: content, 'patch-set': `Patch set ${content}`, unload: `Unload ${content}` }[kind];
}

/** Returns how a request selected its devices. */
export function selectionText({ selection, retryOf }: Batch): string {
  if (retryOf !== null) return 'those whose loads failed before';
  if (selection === null) return 'unknown';
  const { labels, selector, group } = selection;
  const parts = [
    ...Object.entries(labels ?? {}).map(([key, value]) => `${key}=${value}`),
    ...(selector === null ? [] : [selector]),
    ...(group === null ? [] : [`group ${group}`]),
  ];
  return parts.length === 0 ? 'named' : parts.join(', ');
}
