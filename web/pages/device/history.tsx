// The module history of a device: each period in which a version was installed.

import { type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { ListEnd } from '../../components/list-end.tsx';
import { Module } from '../../components/module.tsx';
import { counted } from '../../components/numbers.ts';
import { Panel } from '../../components/panel.tsx';
import { ResourceView } from '../../components/resource-view.tsx';
import { Table } from '../../components/table.tsx';
import { Timestamp } from '../../components/times.tsx';
import type { LiveEvent } from '../../live/event-stream.ts';
import { usePages } from '../../live/pages.ts';
import { loadPath } from '../../navigation/paths.ts';
import { useSignedIn } from '../../session/session.tsx';

type Parts = { readonly device: string; readonly concerns: (event: LiveEvent) => boolean };
type Residency = Schemas['HistoryEntry'];

export function History({ device, concerns }: Parts) {
  const { client } = useSignedIn();
  const residencies = usePages(
    device,
    async (page, signal) =>
      unwrapResponse(await client.GET('/v1/devices/{device}/history', { params: { path: { device }, query: page }, signal })),
    { isRelevant: concerns, limit: 10 },
  );
  return (
    <Panel heading="History" note="each period in which a version was installed">
      <ResourceView resource={residencies} what="the history">
        {(items) =>
          items.length === 0 ? (
            <p class="empty">No module has been installed yet.</p>
          ) : (
            <>
              <Table
                caption="History"
                rows={items}
                keyOf={({ module, installedAt, address }) => `${module} ${installedAt} ${address}`}
                columns={[
                  { heading: 'Build', cell: (residency) => <Module module={residency.module} version={residency.version} /> },
                  {
                    heading: 'Addresses',
                    isWide: true,
                    cell: ({ address, lastAddress }) => (
                      <code>
                        {address}–{lastAddress}
                      </code>
                    ),
                  },
                  { heading: 'Installed', cell: ({ installedAt }) => <Timestamp at={installedAt} /> },
                  { heading: 'By', cell: ({ load, source }) => <Through load={load} source={source} /> },
                  {
                    heading: 'Removed',
                    cell: ({ removedAt }) => (removedAt === null ? <strong>installed</strong> : <Timestamp at={removedAt} />),
                  },
                  { heading: 'Cause', isWide: true, cell: why },
                ]}
              />
              <ListEnd pages={residencies} shown={items.length} what={items.length === 1 ? 'residency' : 'residencies'} />
            </>
          )
        }
      </ResourceView>
    </Panel>
  );
}

function Through({ load, source }: Pick<Residency, 'load' | 'source'>) {
  if (load !== null) return <a href={loadPath(load)}>load</a>;
  return <span class="soft">{source === 'observed' ? 'observed, load unknown' : 'restored after a restart'}</span>;
}

function why({ removalCause, replacedByLoad, interrupted, invalidation }: Residency) {
  if (removalCause === null) return null;
  const facts = [
    ...(interrupted === null || interrupted === 0 ? [] : [`${counted(interrupted, 'access', 'accesses')} interrupted`]),
    ...(invalidation === null ? [] : [`pages: ${invalidation}`]),
  ];
  return (
    <>
      {replacedByLoad === null ? removalCause : <a href={loadPath(replacedByLoad)}>{removalCause}</a>}
      {facts.length > 0 && <span class="soft">, {facts.join(', ')}</span>}
    </>
  );
}
