// Texts of unresolved links, for the command line and the dashboard.

import type { Schemas } from './client.ts';

/** Returns who requires what, and what is there instead. */
export function describeUnresolvedLink(link: Schemas['UnresolvedLink']): string {
  const { importer, provider } = link;
  const present = provider.version === null ? `${provider.module} is not in memory` : `${provider.module}@${provider.version}`;
  const subject = `${importer.module}@${importer.version}`;
  if (link.problem === 'out-of-range') return `${subject} requires ${provider.module} ${link.range}: ${present}`;
  const wanted = `${subject} imports ${provider.module}.${link.export} ${link.expected}`;
  if (link.problem === 'wrong-type') return `${wanted}: ${present} has ${link.provided}`;
  return provider.version === null ? `${wanted}: ${present}` : `${wanted}: not in ${present}`;
}
