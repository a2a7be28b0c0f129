// The paths of the pages. The service serves the dashboard at these paths.

export const pagePaths = [
  { name: 'fleet', path: '/' },
  { name: 'device', path: '/devices/:device' },
  { name: 'loads', path: '/loads' },
  { name: 'load', path: '/loads/:load' },
  { name: 'load-batches', path: '/load-batches' },
  { name: 'load-batch', path: '/load-batches/:batch' },
  { name: 'rollouts', path: '/rollouts' },
  { name: 'new-rollout', path: '/rollouts/new' },
  { name: 'rollout', path: '/rollouts/:rollout' },
  { name: 'groups', path: '/groups' },
  { name: 'desired-state', path: '/desired-state' },
  { name: 'assignment', path: '/assignments/:assignment' },
  { name: 'channel', path: '/channels/:channel' },
  { name: 'modules', path: '/builds' },
  { name: 'builds', path: '/builds/:module' },
  { name: 'build', path: '/builds/:module/:version' },
  { name: 'webhooks', path: '/webhooks' },
  { name: 'audit', path: '/audit' },
] as const;
export type PageName = (typeof pagePaths)[number]['name'];
