// The builds of one module: listed, two of them compared, and another one pushed.

import { type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { usePages } from '../../live/pages.ts';
import { navigate, usePlace } from '../../navigation/location.ts';
import { buildPath, modulePath, type PageParts, withQuery } from '../../navigation/paths.ts';
import { Choice } from '../../parts/fields.tsx';
import '../../parts/filters.css';
import { InterfaceComparison } from '../../parts/interface-comparison.tsx';
import { Module } from '../../parts/module.tsx';
import { More } from '../../parts/more.tsx';
import { countText } from '../../parts/numbers.ts';
import { PageHead } from '../../parts/page-head.tsx';
import { Panel } from '../../parts/panel.tsx';
import { Shown } from '../../parts/shown.tsx';
import { Table } from '../../parts/table.tsx';
import { Moment } from '../../parts/times.tsx';
import { useSignedIn } from '../../session/session.tsx';
import { Push } from './push.tsx';

type Build = Schemas['Build'];

export function BuildsPage({ parameters }: PageParts) {
  const module = parameters['module'] ?? '';
  const { client, may } = useSignedIn();
  const builds = usePages<Build>(
    module,
    async (page, signal) => {
      const params = { path: { module }, query: page };
      return unwrapResponse(await client.GET('/v1/modules/{module}/builds', { params, signal }));
    },
    { limit: 50, when: ({ action, detail }) => action.startsWith('build.') && detail['module'] === module },
  );
  return (
    <>
      <PageHead heading={module} note={<a href="/builds">all modules</a>} />
      <Panel heading="Builds" note="newest first">
        <Shown resource={builds} what="builds">
          {(items) =>
            items.length === 0 ? (
              <p class="empty">{module} has no builds.</p>
            ) : (
              <>
                <Table
                  caption={`Builds of ${module}`}
                  rows={items}
                  keyOf={({ id }) => id}
                  columns={[
                    {
                      heading: 'Build',
                      cell: ({ version }) => (
                        <a href={buildPath(module, version)}>
                          <Module module={module} version={version} />
                        </a>
                      ),
                    },
                    { heading: 'Language', cell: ({ language }) => language },
                    { heading: 'Bytes', isNumber: true, cell: ({ image }) => countText(image.bytes) },
                    { heading: 'Exports', isNumber: true, cell: (build) => countText(build.interface.exports.length) },
                    { heading: 'Signatures', isNumber: true, cell: ({ signedBy }) => countText(signedBy.length) },
                    { heading: 'Pushed', cell: ({ createdAt }) => <Moment at={createdAt} /> },
                    {
                      heading: 'Image',
                      isWide: true,
                      cell: ({ image }) => (image.prunedAt === null ? <code>{image.digest.slice(0, 19)}…</code> : 'pruned'),
                    },
                  ]}
                />
                <More pages={builds} shown={items.length} what={items.length === 1 ? 'build' : 'builds'} />
              </>
            )
          }
        </Shown>
      </Panel>
      {builds.data !== null && builds.data.length > 1 && <Difference module={module} builds={builds.data} />}
      {may('publisher') && <Push module={module} offered={[]} />}
    </>
  );
}

/** What changes between two versions that are chosen, in the address, for those who call the module. */
function Difference({ module, builds }: { readonly module: string; readonly builds: readonly Build[] }) {
  const { query } = usePlace();
  const versions = builds.map(({ version }) => version);
  const named = (name: string, usual: number) => builds.find(({ version }) => version === query.get(name)) ?? builds[usual];
  const [old, next] = [named('from', 1), named('to', 0)];
  if (old === undefined || next === undefined) return null;
  const choose = (name: 'from' | 'to') => (version: string) => {
    const changed = new URLSearchParams(query);
    changed.set(name, version);
    navigate(withQuery(modulePath(module), changed), 'replace');
  };
  return (
    <Panel heading="Compare two versions">
      <div class="filters">
        <Choice label="From" value={old.version} options={versions} onChange={choose('from')} />
        <Choice label="To" value={next.version} options={versions} onChange={choose('to')} />
      </div>
      <div class="panel-body">
        <InterfaceComparison old={old} next={next} />
      </div>
    </Panel>
  );
}
