// The paths that have a page: the service answers them to browsers, and the pages find their way by them.

export const pagePaths = [
  { name: 'fleet', path: '/' },
  { name: 'device', path: '/devices/:device' },
  { name: 'loads', path: '/loads' },
  { name: 'load', path: '/loads/:load' },
] as const;
export type PageName = (typeof pagePaths)[number]['name'];
