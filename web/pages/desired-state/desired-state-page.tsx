// All assignments and channels, with dialogs that create them.

import { useState } from 'preact/hooks';
import { type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { Badge } from '../../components/badge.tsx';
import { ListEnd } from '../../components/list-end.tsx';
import { PageHead } from '../../components/page-head.tsx';
import { Panel } from '../../components/panel.tsx';
import { ResourceView } from '../../components/resource-view.tsx';
import { type Column, Table } from '../../components/table.tsx';
import { Timestamp } from '../../components/times.tsx';
import { usePages } from '../../live/pages.ts';
import { assignmentPath, channelPath } from '../../navigation/paths.ts';
import { useSignedIn } from '../../session/session.tsx';
import { AssignmentDialog } from './assignment-dialog.tsx';
import { contentText, modeTones } from './assignment-text.ts';
import { ChannelDialog } from './channel-dialog.tsx';

export function DesiredStatePage() {
  const { client, mayAcrossFleet } = useSignedIn();
  const [opened, setOpened] = useState<'assignment' | 'channel' | null>(null);
  const assignments = usePages<Schemas['Assignment']>(
    'assignments',
    async (query, signal) => unwrapResponse(await client.GET('/v1/assignments', { params: { query }, signal })),
    { isRelevant: ({ action }) => action.startsWith('assignment.') },
  );
  const channels = usePages<Schemas['Channel']>(
    'channels',
    async (query, signal) => unwrapResponse(await client.GET('/v1/channels', { params: { query }, signal })),
    { isRelevant: ({ action }) => action.startsWith('channel.') },
  );
  const close = () => {
    setOpened(null);
    assignments.refresh();
    channels.refresh();
  };
  const actions = mayAcrossFleet('operator') && (
    <>
      <button type="button" onClick={() => setOpened('channel')}>
        New channel…
      </button>
      <button type="button" class="main" onClick={() => setOpened('assignment')}>
        New assignment…
      </button>
    </>
  );
  return (
    <>
      <PageHead heading="Desired state" actions={actions} />
      <Panel heading="Assignments" note="newest first">
        <ResourceView resource={assignments} what="assignments">
          {(items) =>
            items.length === 0 ? (
              <p class="empty">No assignments yet. An assignment gives a group of devices the versions of a channel.</p>
            ) : (
              <>
                <Table caption="Assignments" rows={items} keyOf={({ id }) => id} columns={assignmentColumns} />
                <ListEnd pages={assignments} shown={items.length} what={items.length === 1 ? 'assignment' : 'assignments'} />
              </>
            )
          }
        </ResourceView>
      </Panel>
      <Panel heading="Channels" note="newest first">
        <ResourceView resource={channels} what="channels">
          {(items) =>
            items.length === 0 ? (
              <p class="empty">No channels yet. A channel has the versions that you promote to it.</p>
            ) : (
              <>
                <Table caption="Channels" rows={items} keyOf={({ id }) => id} columns={channelColumns} />
                <ListEnd pages={channels} shown={items.length} what={items.length === 1 ? 'channel' : 'channels'} />
              </>
            )
          }
        </ResourceView>
      </Panel>
      {opened === 'assignment' && <AssignmentDialog assignment={null} etag={null} onClose={close} />}
      {opened === 'channel' && <ChannelDialog onClose={close} />}
    </>
  );
}

const assignmentColumns: Column<Schemas['Assignment']>[] = [
  { heading: 'Assignment', cell: ({ id, name }) => <a href={assignmentPath(id)}>{name}</a> },
  { heading: 'Group', cell: ({ groupName }) => groupName },
  { heading: 'Version', cell: (assignment) => <code>{contentText(assignment)}</code> },
  { heading: 'Channel', cell: ({ channel, channelName }) => <a href={channelPath(channel)}>{channelName}</a> },
  { heading: 'Mode', cell: ({ mode }) => <Badge tone={modeTones[mode]}>{mode}</Badge> },
  { heading: 'Priority', isNumber: true, cell: ({ priority }) => priority },
];

const channelColumns: Column<Schemas['Channel']>[] = [
  { heading: 'Channel', cell: ({ id, name }) => <a href={channelPath(id)}>{name}</a> },
  { heading: 'Description', isWide: true, cell: ({ description }) => description },
  { heading: 'Created', cell: ({ createdAt }) => <Timestamp at={createdAt} /> },
];
