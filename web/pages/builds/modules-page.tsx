// All modules that have builds, and the place where a build is pushed.

import { type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { usePages } from '../../live/pages.ts';
import { modulePath } from '../../navigation/paths.ts';
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

export function ModulesPage() {
  const { client, may } = useSignedIn();
  const modules = usePages<Schemas['Module']>(
    'modules',
    async (page, signal) => {
      const query = { ...page, sort: 'lastBuildAt', order: 'desc' } as const;
      return unwrapResponse(await client.GET('/v1/modules', { params: { query }, signal }));
    },
    { when: ({ action }) => action.startsWith('build.') },
  );
  return (
    <>
      <PageHead heading="Builds" />
      <Panel heading="Modules" note="latest build first">
        <Shown resource={modules} what="modules">
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
                    { heading: 'Latest build', cell: ({ lastBuildAt }) => <Moment at={lastBuildAt} /> },
                  ]}
                />
                <More pages={modules} shown={items.length} what={items.length === 1 ? 'module' : 'modules'} />
              </>
            )
          }
        </Shown>
      </Panel>
      {may('publisher') && <Push module={null} offered={modules.data?.map(({ name }) => name) ?? []} />}
    </>
  );
}
