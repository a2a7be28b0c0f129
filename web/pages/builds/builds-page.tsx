// The builds of a module: list, comparison of two versions, and the push form.

import { type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { Badge } from '../../components/badge.tsx';
import { Choice } from '../../components/fields.tsx';
import { usePages } from '../../live/pages.ts';
import { navigate, useLocation } from '../../navigation/location.ts';
import { buildPath, modulePath, type PageProps, withQuery } from '../../navigation/paths.ts';
import '../../components/filters.css';
import { InterfaceComparison } from '../../components/interface-comparison.tsx';
import { ListEnd } from '../../components/list-end.tsx';
import { Module } from '../../components/module.tsx';
import { countText } from '../../components/numbers.ts';
import { PageHead } from '../../components/page-head.tsx';
import { Panel } from '../../components/panel.tsx';
import { ResourceView } from '../../components/resource-view.tsx';
import { Table } from '../../components/table.tsx';
import { Timestamp } from '../../components/times.tsx';
import { useSignedIn } from '../../session/session.tsx';
import { PatchSets } from './patch-sets.tsx';
import { Push } from './push.tsx';

type Build = Schemas['Build'];

export function BuildsPage({ parameters }: PageProps) {
  const module = parameters['module'] ?? '';
  const { client, may } = useSignedIn();
  const builds = usePages<Build>(
    module,
    async (page, signal) => {
      const params = { path: { module }, query: page };
      return unwrapResponse(await client.GET('/v1/modules/{module}/builds', { params, signal }));
    },
    { limit: 50, isRelevant: ({ action, detail }) => action.startsWith('build.') && detail['module'] === module },
  );
  return (
    <>
      <PageHead heading={module} note={<a href="/builds">all modules</a>} />
      <Panel heading="Builds" note="newest first">
        <ResourceView resource={builds} what="builds">
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
                      cell: ({ version, yanked }) => (
                        <>
                          <a href={buildPath(module, version)}>
                            <Module module={module} version={version} />
                          </a>
                          {yanked !== null && (
                            <>
                              {' '}
                              <Badge tone="bad">yanked</Badge>
                            </>
                          )}
                        </>
                      ),
                    },
                    { heading: 'Language', cell: ({ language }) => language },
                    { heading: 'Bytes', isNumber: true, cell: ({ image }) => countText(image.bytes) },
                    { heading: 'Exports', isNumber: true, cell: (build) => countText(build.interface.exports.length) },
                    { heading: 'Signatures', isNumber: true, cell: ({ signedBy }) => countText(signedBy.length) },
                    { heading: 'Pushed', cell: ({ createdAt }) => <Timestamp at={createdAt} /> },
                    {
                      heading: 'Image',
                      isWide: true,
                      cell: ({ image }) => (image.prunedAt === null ? <code>{image.digest.slice(0, 19)}…</code> : 'pruned'),
                    },
                  ]}
                />
                <ListEnd pages={builds} shown={items.length} what={items.length === 1 ? 'build' : 'builds'} />
              </>
            )
          }
        </ResourceView>
      </Panel>
      {builds.data !== null && builds.data.length > 1 && <VersionComparison module={module} builds={builds.data} />}
      <PatchSets module={module} />
      {may('publisher') && <Push module={module} offered={[]} />}
    </>
  );
}

/** Compares the interfaces of the two versions in the address. */
function VersionComparison({ module, builds }: { readonly module: string; readonly builds: readonly Build[] }) {
  const { query } = useLocation();
  const versions = builds.map(({ version }) => version);
  const named = (name: string, index: number) => builds.find(({ version }) => version === query.get(name)) ?? builds[index];
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
