// The entries of the navigation and the pages of each.

import type { PageName } from '../page-paths.ts';

type Entry = { readonly label: string; readonly path: string; readonly pages: readonly PageName[] };

export const entries: readonly Entry[] = [
  { label: 'Fleet', path: '/', pages: ['fleet', 'device'] },
  { label: 'Groups', path: '/groups', pages: ['groups'] },
  { label: 'Desired state', path: '/desired-state', pages: ['desired-state', 'assignment', 'channel'] },
  { label: 'Rollouts', path: '/rollouts', pages: ['rollouts', 'rollout', 'new-rollout'] },
  { label: 'Loads', path: '/loads', pages: ['loads', 'load'] },
  { label: 'Builds', path: '/builds', pages: ['modules', 'builds', 'build'] },
  { label: 'Webhooks', path: '/webhooks', pages: ['webhooks'] },
  { label: 'Audit', path: '/audit', pages: ['audit'] },
];
