// All modules with builds, and the push form.

import { type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { ListEnd } from '../../components/list-end.tsx';
import { Module } from '../../components/module.tsx';
import { countText } from '../../components/numbers.ts';
import { PageHead } from '../../components/page-head.tsx';
import { Panel } from '../../components/panel.tsx';
import { ResourceView } from '../../components/resource-view.tsx';
import { Table } from '../../components/table.tsx';
import { Timestamp } from '../../components/times.tsx';
import { usePages } from '../../live/pages.ts';
import { modulePath } from '../../navigation/paths.ts';
import { useSignedIn } from '../../session/session.tsx';
import { PatchSets } from './patch-sets.tsx';
import { Push } from './push.tsx';

export function ModulesPage() {
  const { client, may } = useSignedIn();
  const modules = usePages<Schemas['Module']>(
    'modules',
    async (page, signal) => {
      const query = { ...page, sort: 'lastBuildAt', order: 'desc' } as const;
      return unwrapResponse(await client.GET('/v1/modules', { params: { query }, signal }));
    },
    { isRelevant: ({ action }) => action.startsWith('build.') },
  );
  return (
    <>
      <PageHead heading="Builds" />
      <Panel heading="Modules" note="latest build first">
        <ResourceView resource={modules} what="modules">
          {(items) =>
            items.length === 0 ? (
              <p class="empty">No builds yet. {may('publisher') ? 'Push one below.' : 'Pushing a build requires the role publisher.'}</p>
            ) : (
              <>
                <Table
                  caption="Modules"
                  rows={items}
                  keyOf={({ name }) => name}
                  columns={[
                    {
                      heading: 'Module',
                      cell: ({ name }) => (
                        <a href={modulePath(name)}>
                          <Module module={name} />
                        </a>
                      ),
                    },
                    { heading: 'Builds', isNumber: true, cell: ({ builds }) => countText(builds) },
                    { heading: 'Latest build', cell: ({ lastBuildAt }) => <Timestamp at={lastBuildAt} /> },
                  ]}
                />
                <ListEnd pages={modules} shown={items.length} what={items.length === 1 ? 'module' : 'modules'} />
              </>
            )
          }
        </ResourceView>
      </Panel>
      <PatchSets module={null} />
      {may('publisher') && <Push module={null} offered={modules.data?.map(({ name }) => name) ?? []} />}
    </>
  );
}
