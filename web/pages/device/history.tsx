// What has been in the module table of a device, stay by stay.

import { type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import type { LiveEvent } from '../../live/event-stream.ts';
import { usePages } from '../../live/pages.ts';
import { loadPath } from '../../navigation/paths.ts';
import { Module } from '../../parts/module.tsx';
import { More } from '../../parts/more.tsx';
import { counted } from '../../parts/numbers.ts';
import { Panel } from '../../parts/panel.tsx';
import { Shown } from '../../parts/shown.tsx';
import { Table } from '../../parts/table.tsx';
import { Moment } from '../../parts/times.tsx';
import { useSignedIn } from '../../session/session.tsx';

type Parts = { readonly device: string; readonly concerns: (event: LiveEvent) => boolean };
type Stay = Schemas['HistoryEntry'];

export function History({ device, concerns }: Parts) {
  const { client } = useSignedIn();
  const stays = usePages(
    device,
    async (page, signal) =>
      unwrapResponse(await client.GET('/v1/devices/{device}/history', { params: { path: { device }, query: page }, signal })),
    { when: concerns, limit: 10 },
  );
  return (
    <Panel heading="History" note="what its module table has named">
      <Shown resource={stays} what="the history">
        {(items) =>
          items.length === 0 ? (
            <p class="empty">Nothing has ever been in its module table.</p>
          ) : (
            <>
              <Table
                caption="History"
                rows={items}
                keyOf={({ module, installedAt, address }) => `${module} ${installedAt} ${address}`}
                columns={[
                  { heading: 'Build', cell: (stay) => <Module module={stay.module} version={stay.version} /> },
                  {
                    heading: 'Addresses',
                    isWide: true,
                    cell: ({ address, lastAddress }) => (
                      <code>
                        {address}–{lastAddress}
                      </code>
                    ),
                  },
                  { heading: 'Entered', cell: ({ installedAt }) => <Moment at={installedAt} /> },
                  { heading: 'Through', cell: ({ load, source }) => <Through load={load} source={source} /> },
                  {
                    heading: 'Left',
                    cell: ({ removedAt }) => (removedAt === null ? <strong>in the table now</strong> : <Moment at={removedAt} />),
                  },
                  { heading: 'Why', isWide: true, cell: why },
                ]}
              />
              <More pages={stays} shown={items.length} what={items.length === 1 ? 'stay' : 'stays'} />
            </>
          )
        }
      </Shown>
    </Panel>
  );
}

function Through({ load, source }: Pick<Stay, 'load' | 'source'>) {
  if (load !== null) return <a href={loadPath(load)}>the load</a>;
  return <span class="soft">{source === 'observed' ? 'observed, no load known' : 'put back after a restart'}</span>;
}

function why({ removalCause, replacedByLoad, interrupted, invalidation }: Stay) {
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
