// The requests for loads on several devices, newest first.

import { type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { ListEnd } from '../../components/list-end.tsx';
import { countText } from '../../components/numbers.ts';
import { ObjectName } from '../../components/object-name.tsx';
import { PageHead } from '../../components/page-head.tsx';
import { Panel } from '../../components/panel.tsx';
import { ResourceView } from '../../components/resource-view.tsx';
import { Table } from '../../components/table.tsx';
import { Timestamp } from '../../components/times.tsx';
import { usePages } from '../../live/pages.ts';
import { loadBatchPath } from '../../navigation/paths.ts';
import { useActorNames } from '../../session/names.ts';
import { useSignedIn } from '../../session/session.tsx';
import { contentText, selectionText } from './load-batch-text.ts';

export function LoadBatchesPage() {
  const { client } = useSignedIn();
  const names = useActorNames();
  const batches = usePages<Schemas['LoadBatch']>(
    'batches',
    async (page, signal) => unwrapResponse(await client.GET('/v1/load-batches', { params: { query: page }, signal })),
    { limit: 50, isRelevant: ({ action }) => action === 'load.requested' },
  );
  return (
    <>
      <PageHead heading="Requests for loads" note={<a href="/loads">all loads</a>} />
      <Panel heading="Requests for several devices" note="newest first">
        <ResourceView resource={batches} what="requests">
          {(items) =>
            items.length === 0 ? (
              <p class="empty">No request for several devices yet.</p>
            ) : (
              <>
                <Table
                  caption="Requests for several devices"
                  rows={items}
                  keyOf={({ id }) => id}
                  columns={[
                    { heading: 'Request', cell: (batch) => <a href={loadBatchPath(batch.id)}>{contentText(batch)}</a> },
                    { heading: 'Loads', isNumber: true, cell: ({ loads }) => countText(loads) },
                    { heading: 'Devices', cell: selectionText },
                    { heading: 'Requested', cell: ({ requestedAt }) => <Timestamp at={requestedAt} /> },
                    {
                      heading: 'By',
                      cell: ({ requestedBy }) => (requestedBy === null ? null : <ObjectName id={requestedBy} names={names} />),
                    },
                  ]}
                />
                <ListEnd pages={batches} shown={items.length} what={items.length === 1 ? 'request' : 'requests'} />
              </>
            )
          }
        </ResourceView>
      </Panel>
    </>
  );
}
