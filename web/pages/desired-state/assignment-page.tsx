// An assignment with the devices that do not have its version, and dialogs that edit and delete it.

import { useState } from 'preact/hooks';
import { assertSuccess, type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { Badge } from '../../components/badge.tsx';
import { stateTones } from '../../components/desired-state-text.ts';
import { counted } from '../../components/numbers.ts';
import { PageHead } from '../../components/page-head.tsx';
import { Panel } from '../../components/panel.tsx';
import { ResourceView } from '../../components/resource-view.tsx';
import { type Column, Table } from '../../components/table.tsx';
import { Timestamp } from '../../components/times.tsx';
import { windowText } from '../../components/window-fields.tsx';
import { useResource } from '../../live/resource.ts';
import { navigate } from '../../navigation/location.ts';
import { channelPath, devicePath, loadPath, type PageProps, rolloutPath, withQuery } from '../../navigation/paths.ts';
import { useSignedIn } from '../../session/session.tsx';
import { AssignmentDialog } from './assignment-dialog.tsx';
import { contentText, modeTones, wavesText } from './assignment-text.ts';
import { ConfirmDialog } from './confirm-dialog.tsx';

type Assignment = Schemas['AssignmentDetail'];
type Found = { readonly assignment: Assignment; readonly etag: string | null };

/** Interval of the refresh while the page is visible, in milliseconds: no event reports the state of a device. */
const refreshInterval = 5_000;

export function AssignmentPage({ parameters }: PageProps) {
  const id = parameters['assignment'] ?? '';
  const { client, mayAcrossFleet } = useSignedIn();
  const [opened, setOpened] = useState<'edit' | 'delete' | null>(null);
  const params = { path: { assignment: id } };
  const found = useResource<Found>(
    id,
    async (signal) => {
      const read = await client.GET('/v1/assignments/{assignment}', { params, signal });
      return { assignment: unwrapResponse(read), etag: read.response.headers.get('etag') };
    },
    { pollMilliseconds: refreshInterval, isRelevant: ({ action }) => action.startsWith('assignment.') || action.startsWith('channel.') },
  );
  const close = () => {
    setOpened(null);
    found.refresh();
  };
  const assignment = found.data?.assignment ?? null;
  const actions = assignment !== null && mayAcrossFleet('operator') && (
    <>
      <button type="button" onClick={() => setOpened('delete')}>
        Delete…
      </button>
      <button type="button" class="main" onClick={() => setOpened('edit')}>
        Edit…
      </button>
    </>
  );
  return (
    <>
      <PageHead
        heading={assignment === null ? 'Assignment' : `Assignment ${assignment.name}`}
        note={<a href="/desired-state">all assignments</a>}
        actions={actions}
      />
      <ResourceView resource={found} what="the assignment">
        {(known) => <AssignmentView assignment={known.assignment} />}
      </ResourceView>
      {opened === 'edit' && assignment !== null && (
        <AssignmentDialog assignment={assignment} etag={found.data?.etag ?? null} onClose={close} />
      )}
      {opened === 'delete' && (
        <ConfirmDialog
          heading={`Delete ${assignment?.name}`}
          text="Devices keep their versions, and open rollouts continue."
          button="Delete the assignment"
          act={async () => {
            assertSuccess(await client.DELETE('/v1/assignments/{assignment}', { params }));
            navigate('/desired-state');
          }}
          onClose={() => setOpened(null)}
        />
      )}
    </>
  );
}

function AssignmentView({ assignment }: { readonly assignment: Assignment }) {
  const {
    groupName,
    channel,
    channelName,
    mode,
    priority,
    devicesPerMinute,
    waves,
    onFailure,
    window,
    desiredVersion,
    held,
    deviceCounts,
    unmet,
  } = assignment;
  return (
    <>
      <section class="wide" aria-label="Facts">
        <dl class="facts">
          <dt>Version</dt>
          <dd>
            <code>{contentText(assignment)}</code> from <a href={channelPath(channel)}>{channelName}</a>: {desiredVersion ?? 'none'}
          </dd>
          {held.map(({ version, rollout, state }) => (
            <>
              <dt>Held version</dt>
              <dd>
                {version}, by the {state} <a href={rolloutPath(rollout)}>rollout</a>
              </dd>
            </>
          ))}
          <dt>Group</dt>
          <dd>
            <a href={withQuery('/', new URLSearchParams({ group: groupName }))}>{groupName}</a>
          </dd>
          <dt>Mode</dt>
          <dd>
            <Badge tone={modeTones[mode]}>{mode}</Badge>, priority {priority}, {counted(devicesPerMinute, 'device')} per minute
          </dd>
          <dt>Rollouts</dt>
          <dd>
            waves {wavesText(waves)}; on failure {onFailure}
            {window !== null && `; only ${windowText(window)}`}
          </dd>
          <dt>Devices</dt>
          <dd>
            {deviceCounts.satisfied} satisfied, {deviceCounts.pending} pending, {deviceCounts.unsatisfied} unsatisfied
          </dd>
        </dl>
      </section>
      {unmet.map((group) => (
        <Panel
          key={`${group.state} ${group.reason}`}
          heading={`${group.state}: ${group.reason}`}
          note={<Badge tone={stateTones[group.state]}>{counted(group.devices, 'device')}</Badge>}
        >
          <Table caption={`Devices: ${group.reason}`} rows={group.first} keyOf={({ device }) => device} columns={columns} />
        </Panel>
      ))}
    </>
  );
}

const columns: Column<Schemas['UnmetDevice']>[] = [
  { heading: 'Device', cell: ({ device, deviceName }) => <a href={devicePath(device)}>{deviceName}</a> },
  { heading: 'Detail', isWide: true, cell: ({ detail }) => detail },
  { heading: 'Load', cell: ({ load }) => (load === null ? null : <a href={loadPath(load)}>the load</a>) },
  { heading: 'Failed attempts', isNumber: true, cell: ({ attempts }) => attempts },
  { heading: 'Next attempt', cell: ({ nextAttemptAt }) => (nextAttemptAt === null ? null : <Timestamp at={nextAttemptAt} />) },
];
