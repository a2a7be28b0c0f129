// The modules of a device and what they import: a picture, and the same as a table.

import { type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { describeUnresolvedLink } from '../../../src/client/link-text.ts';
import { Badge } from '../../components/badge.tsx';
import { Module } from '../../components/module.tsx';
import { counted } from '../../components/numbers.ts';
import { Panel } from '../../components/panel.tsx';
import { ResourceView } from '../../components/resource-view.tsx';
import { type Column, Table } from '../../components/table.tsx';
import { useResource } from '../../live/resource.ts';
import { useSignedIn } from '../../session/session.tsx';
import type { DeviceDetail } from './device-data.ts';
import { type Edge, layOutModules, type Node, nodeHeight } from './module-layout.ts';
import './module-graph.css';

/** Maximum modules in the picture, including those that are only imported; the table has all. */
const drawnModules = 40;
/** Maximum exports and unresolved links that a cell names. */
const named = 5;

type Graph = Schemas['ModuleGraph'];
type Row = { readonly importer: Graph['modules'][number]; readonly link: Graph['modules'][number]['imports'][number] };

export function ModuleGraph({ device: { id, moduleTable, links } }: { readonly device: DeviceDetail }) {
  const { client } = useSignedIn();
  const drawn = new Set([...moduleTable.map(({ module }) => module), ...links.map(({ provider }) => provider.module)]).size;
  const versions = moduleTable.map(({ module, version }) => `${module}@${version}`).join();
  const graph = useResource(`${id} ${versions}`, async (signal) =>
    unwrapResponse(await client.GET('/v1/devices/{device}/module-graph', { params: { path: { device: id } }, signal })),
  );
  return (
    <Panel heading="Imports" note="an arrow points to the module that is imported">
      <div class="panel-body">
        {drawn <= drawnModules ? (
          <Picture modules={moduleTable} links={links} />
        ) : (
          <p class="soft">{counted(drawn, 'module')} are too many for a picture.</p>
        )}
      </div>
      <ResourceView resource={graph} what="the imports">
        {({ modules }) => (
          <Table
            caption="Imports"
            columns={columns}
            rows={modules.flatMap((importer) => importer.imports.map((link) => ({ importer, link })))}
            keyOf={({ importer, link }) => `${importer.module} ${link.module}`}
          />
        )}
      </ResourceView>
    </Panel>
  );
}

const columns: Column<Row>[] = [
  { heading: 'Module', cell: ({ importer: { module, version } }) => <Module module={module} version={version} /> },
  { heading: 'Imports', cell: ({ link: { module, version } }) => <Module module={module} version={version} /> },
  { heading: 'Range', cell: ({ link: { range } }) => (range === null ? null : <code>{range}</code>) },
  {
    heading: 'Exports',
    cell: ({ link: { exports, exportCount } }) => (exportCount === 0 ? null : <code>{listed(exports, exportCount)}</code>),
  },
  { heading: 'State', isWide: true, cell: ({ link }) => <LinkState link={link} /> },
];

const listed = (texts: readonly string[], count: number) =>
  `${texts.slice(0, named).join(', ')}${count > named ? ` and ${count - named} more` : ''}`;

function LinkState({ link: { resolved, unresolved, unresolvedLinks } }: Pick<Row, 'link'>) {
  if (resolved === null) return <Badge tone="plain">unknown</Badge>;
  if (resolved) return <Badge tone="good">resolved</Badge>;
  const more = unresolvedLinks - Math.min(named, unresolved.length);
  return (
    <>
      <Badge tone="bad">unresolved</Badge> {unresolved.slice(0, named).map(describeUnresolvedLink).join('; ')}
      {more > 0 && `; ${more} more`}
    </>
  );
}

function Picture({ modules, links }: { readonly modules: DeviceDetail['moduleTable']; readonly links: DeviceDetail['links'] }) {
  const { nodes, edges, width, height } = layOutModules(modules, links);
  const unresolved = links.filter(({ resolved }) => resolved === false);
  const pairs = unresolved.map(({ importer, provider }) => `${importer.module} to ${provider.module}`);
  const problems = pairs.length === 0 ? 'all resolved' : `unresolved: ${pairs.join(', ')}`;
  return (
    <svg
      class="module-graph"
      viewBox={`0 0 ${width} ${height}`}
      style={{ maxWidth: `${width}px` }}
      role="img"
      aria-label={`${counted(modules.length, 'module')} with ${counted(links.length, 'link')}, ${problems}. The table below lists them.`}
    >
      <defs>
        {['resolved', 'unresolved'].map((state) => (
          <marker key={state} id={`link-${state}`} viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
            <path d="M0 0L8 4L0 8Z" class={`arrow ${state}`} />
          </marker>
        ))}
      </defs>
      {edges.map((edge) => (
        <EdgeView key={`${edge.link.importer.module} ${edge.link.provider.module}`} edge={edge} />
      ))}
      {nodes.map((node) => (
        <NodeView key={node.module} node={node} />
      ))}
    </svg>
  );
}

function EdgeView({ edge: { link, path, label } }: { readonly edge: Edge }) {
  const state = link.resolved === false ? 'unresolved' : 'resolved';
  const text = link.resolved === false ? ['unresolved', link.range ?? ''].join(' ').trim() : link.range;
  return (
    <g class={`link ${state}`}>
      <path d={path} marker-end={`url(#link-${state})`} />
      {text !== null && (
        <text x={label.x} y={label.y} text-anchor="middle" dominant-baseline="middle">
          {text}
        </text>
      )}
    </g>
  );
}

function NodeView({ node: { label, isAbsent, x, y, width } }: { readonly node: Node }) {
  return (
    <g class={isAbsent ? 'module-node absent' : 'module-node'}>
      <rect x={x - width / 2} y={y - nodeHeight / 2} width={width} height={nodeHeight} rx="3" />
      <text x={x} y={y} text-anchor="middle" dominant-baseline="middle">
        {label}
      </text>
      {isAbsent && (
        <text class="absence" x={x} y={y + nodeHeight / 2 + 10} text-anchor="middle">
          not in memory
        </text>
      )}
    </g>
  );
}
