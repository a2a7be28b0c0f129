// A channel with its promoted versions, and dialogs that promote, withdraw and delete.

import { useState } from 'preact/hooks';
import { assertSuccess, type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { ObjectName } from '../../components/object-name.tsx';
import { PageHead } from '../../components/page-head.tsx';
import { Panel } from '../../components/panel.tsx';
import { ResourceView } from '../../components/resource-view.tsx';
import { type Column, Table } from '../../components/table.tsx';
import { Timestamp } from '../../components/times.tsx';
import { useResource } from '../../live/resource.ts';
import { navigate } from '../../navigation/location.ts';
import { buildPath, type PageProps } from '../../navigation/paths.ts';
import { type Names, useActorNames } from '../../session/names.ts';
import { useSignedIn } from '../../session/session.tsx';
import { ConfirmDialog } from './confirm-dialog.tsx';
import { PromoteDialog } from './promote-dialog.tsx';

type Channel = Schemas['ChannelDetail'];
type Promotion = Schemas['Promotion'];
type Opened = { readonly kind: 'promote' | 'delete' } | { readonly kind: 'withdraw'; readonly promotion: Promotion } | null;

export function ChannelPage({ parameters }: PageProps) {
  const id = parameters['channel'] ?? '';
  const { client, mayAcrossFleet } = useSignedIn();
  const names = useActorNames();
  const [opened, setOpened] = useState<Opened>(null);
  const params = { path: { channel: id } };
  const found = useResource<Channel>(id, async (signal) => unwrapResponse(await client.GET('/v1/channels/{channel}', { params, signal })), {
    isRelevant: ({ action }) => action.startsWith('channel.'),
  });
  const close = () => {
    setOpened(null);
    found.refresh();
  };
  const channel = found.data;
  const actions = channel !== null && mayAcrossFleet('operator') && (
    <>
      <button type="button" onClick={() => setOpened({ kind: 'delete' })}>
        Delete…
      </button>
      <button type="button" class="main" onClick={() => setOpened({ kind: 'promote' })}>
        Promote a version…
      </button>
    </>
  );
  const withdraw = mayAcrossFleet('operator') ? (promotion: Promotion) => setOpened({ kind: 'withdraw', promotion }) : null;
  return (
    <>
      <PageHead
        heading={channel === null ? 'Channel' : `Channel ${channel.name}`}
        note={<a href="/desired-state">all channels</a>}
        actions={actions}
      />
      <ResourceView resource={found} what="the channel">
        {({ description, promotions }) => (
          <Panel heading="Promoted versions" note={description ?? 'newest promotion first'}>
            {promotions.length === 0 ? (
              <p class="empty">No promoted versions yet.</p>
            ) : (
              <Table caption="Promoted versions" rows={promotions} keyOf={(one) => one.id} columns={columns(names, withdraw)} />
            )}
          </Panel>
        )}
      </ResourceView>
      {opened?.kind === 'promote' && channel !== null && <PromoteDialog channel={channel} onClose={close} />}
      {opened?.kind === 'withdraw' && (
        <ConfirmDialog
          heading={`Withdraw ${opened.promotion.module}@${opened.promotion.version}`}
          text="Its open rollouts are aborted, and the newest remaining version is the desired one again. Devices that have the version keep it."
          button="Withdraw"
          act={async () => {
            const path = { channel: id, promotion: opened.promotion.id };
            assertSuccess(await client.DELETE('/v1/channels/{channel}/promotions/{promotion}', { params: { path } }));
          }}
          onClose={close}
        />
      )}
      {opened?.kind === 'delete' && (
        <ConfirmDialog
          heading={`Delete ${channel?.name}`}
          text="Devices are not changed. A channel that an assignment follows cannot be deleted."
          button="Delete the channel"
          act={async () => {
            assertSuccess(await client.DELETE('/v1/channels/{channel}', { params }));
            navigate('/desired-state');
          }}
          onClose={() => setOpened(null)}
        />
      )}
    </>
  );
}

/** @param withdraw Opens the dialog; null if the key may not withdraw versions. */
function columns(names: Names, withdraw: ((promotion: Promotion) => void) | null): Column<Promotion>[] {
  const actions: Column<Promotion> = {
    heading: 'Actions',
    cell: (promotion) => (
      <button type="button" aria-label={`Withdraw ${promotion.module}@${promotion.version}`} onClick={() => withdraw?.(promotion)}>
        Withdraw…
      </button>
    ),
  };
  return [
    {
      heading: 'Version',
      cell: ({ module, version, patchSet }) =>
        patchSet === null ? <a href={buildPath(module, version)}>{`${module}@${version}`}</a> : `${module}@${version} (patch set)`,
    },
    { heading: 'Promoted', cell: ({ promotedAt }) => <Timestamp at={promotedAt} /> },
    { heading: 'By', cell: ({ promotedBy }) => <ObjectName id={promotedBy} names={names} /> },
    ...(withdraw === null ? [] : [actions]),
  ];
}
