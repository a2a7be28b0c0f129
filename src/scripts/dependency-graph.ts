// Reduces the imports between files to a readable graph: folders are nodes, and edges that follow from others are omitted.

/** Folders and files of the service that form one node, from the top layer to the bottom, as `serviceOrder` in `.dependency-cruiser.mjs`. */
const serviceNodes: readonly { readonly label: string; readonly members: readonly string[] }[] = [
  { label: 'app', members: ['app.ts', 'installation.ts'] },
  {
    label: 'build-lifecycle, decommissioning, moves, agents, health',
    members: ['build-lifecycle', 'decommissioning', 'moves', 'agents', 'health'],
  },
  { label: 'desired-state', members: ['desired-state'] },
  { label: 'rollouts, rollbacks, load-batches, retention', members: ['rollouts', 'rollbacks', 'load-batches', 'retention'] },
  { label: 'webhooks', members: ['webhooks'] },
  { label: 'loads, history', members: ['loads', 'history'] },
  { label: 'programs, orders', members: ['programs', 'orders'] },
  {
    label: 'signature-policies, devices, sign-in, groups, keys, hosts',
    members: ['signature-policies', 'devices', 'sign-in', 'groups', 'keys', 'hosts'],
  },
  {
    label: 'channels, patch-sets, modules, provenance, publisher-keys',
    members: ['provenance', 'channels', 'patch-sets', 'modules', 'publisher-keys'],
  },
  { label: 'audit, signing-keys', members: ['audit', 'signing-keys'] },
  { label: 'http, idempotency', members: ['http', 'idempotency'] },
  {
    label: 'audit-events, database, clock',
    members: ['audit-events', 'requester.ts', 'clock', 'database', 'roles.ts', 'secrets.ts', 'problem.ts'],
  },
];

/** Returns the node of a file; null for files outside `src/` and `web/`. @throws {Error} for a folder of the service without a node. */
export function nodeOf(file: string): string | null {
  const [top, folder = '', member = ''] = file.split('/');
  if (top === 'web') return 'web';
  if (top !== 'src') return null;
  if (folder !== 'service') return folder;
  const node = serviceNodes.find(({ members }) => members.includes(member));
  if (node === undefined)
    throw new Error(`${file} has no node in the picture: add ${member} to serviceNodes in src/scripts/dependency-graph.ts`);
  return `service/${node.label}`;
}

/** Removes each edge that a longer path implies (transitive reduction). @throws {Error} for a cycle. */
export function withoutImplied(edges: ReadonlyMap<string, ReadonlySet<string>>): Map<string, Set<string>> {
  const reached = new Map<string, ReadonlySet<string>>();
  const reachedFrom = (node: string, path: readonly string[]): ReadonlySet<string> => {
    if (path.includes(node)) throw new Error(`folders import each other: ${[...path.slice(path.indexOf(node)), node].join(' → ')}`);
    const known = reached.get(node);
    if (known !== undefined) return known;
    const found = new Set([...(edges.get(node) ?? [])].flatMap((next) => [next, ...reachedFrom(next, [...path, node])]));
    reached.set(node, found);
    return found;
  };
  return new Map(
    [...edges].map(([node, targets]) => {
      const isImplied = (target: string) => [...targets].some((other) => other !== target && reachedFrom(other, [node]).has(target));
      return [node, new Set([...targets].filter((target) => !isImplied(target)))];
    }),
  );
}

/** Renders the graph as a Mermaid flowchart in a code block. The nodes of the service are in a subgraph. */
export function mermaidOf(edges: ReadonlyMap<string, ReadonlySet<string>>): string {
  const nodes = [...new Set([...edges].flatMap(([node, targets]) => [node, ...targets]))].sort();
  const isServiceNode = (node: string) => node.startsWith('service/');
  const idOf = (node: string) =>
    isServiceNode(node) ? `service${serviceNodes.findIndex(({ label }) => node === `service/${label}`)}` : node;
  const labelOf = (node: string) => `"${node.replace('service/', '').replaceAll(', ', '<br>')}"`;
  const declared = (node: string) => `${idOf(node)}[${labelOf(node)}]`;
  const arrows = [...edges].flatMap(([node, targets]) => [...targets].map((target) => `  ${idOf(node)} --> ${idOf(target)}`)).sort();
  return [
    '```mermaid',
    'flowchart TD',
    ...nodes.filter((node) => !isServiceNode(node)).map((node) => `  ${declared(node)}`),
    '  subgraph service',
    ...serviceNodes.map(({ label }) => `    ${declared(`service/${label}`)}`),
    '  end',
    ...arrows,
    '```',
    '',
  ].join('\n');
}
