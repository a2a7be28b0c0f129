// The versions that assignments give to a device, and why it does not have them.

import { type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { Badge } from '../../components/badge.tsx';
import { stateTones } from '../../components/desired-state-text.ts';
import { Panel } from '../../components/panel.tsx';
import { ResourceView } from '../../components/resource-view.tsx';
import { type Column, Table } from '../../components/table.tsx';
import { Timestamp } from '../../components/times.tsx';
import type { LiveEvent } from '../../live/event-stream.ts';
import { useResource } from '../../live/resource.ts';
import { assignmentPath, loadPath } from '../../navigation/paths.ts';
import { useSignedIn } from '../../session/session.tsx';

/** Polling interval in milliseconds: no event reports the state of a device. */
const interval = 5_000;

export function DesiredVersions({ device, concerns }: { readonly device: string; readonly concerns: (event: LiveEvent) => boolean }) {
  const { client } = useSignedIn();
  const desired = useResource(
    device,
    async (signal) => unwrapResponse(await client.GET('/v1/devices/{device}/desired-state', { params: { path: { device } }, signal })),
    { pollMilliseconds: interval, isRelevant: concerns },
  );
  return (
    <Panel heading="Desired versions" note={<a href="/desired-state">all assignments</a>}>
      <ResourceView resource={desired} what="the desired versions">
        {({ versions, overridden }) => (
          <>
            {versions.length === 0 ? (
              <p class="empty">No assignment decides for this device.</p>
            ) : (
              <Table caption="Desired versions" rows={versions} keyOf={({ assignment }) => assignment} columns={columns} />
            )}
            {overridden.map(({ assignment, assignmentName, by, byName }) => (
              <p key={assignment} class="panel-body soft">
                The assignment <a href={assignmentPath(assignment)}>{assignmentName}</a> is overridden by{' '}
                <a href={assignmentPath(by)}>{byName}</a>.
              </p>
            ))}
          </>
        )}
      </ResourceView>
    </Panel>
  );
}

const columns: Column<Schemas['DesiredVersion']>[] = [
  { heading: 'Content', cell: ({ module, patchSet }) => <code>{module ?? `${patchSet} (patch set)`}</code> },
  { heading: 'Desired', cell: ({ desiredVersion }) => desiredVersion ?? 'none' },
  { heading: 'Installed', cell: ({ installedVersion }) => installedVersion ?? 'none' },
  { heading: 'State', cell: ({ state }) => <Badge tone={stateTones[state]}>{state}</Badge> },
  { heading: 'Reason', isWide: true, cell: reasonOf },
  { heading: 'Next attempt', cell: ({ nextAttemptAt }) => (nextAttemptAt === null ? null : <Timestamp at={nextAttemptAt} />) },
  { heading: 'Assignment', cell: ({ assignment, assignmentName }) => <a href={assignmentPath(assignment)}>{assignmentName}</a> },
  { heading: 'Mode', cell: ({ mode }) => mode },
];

function reasonOf({ reason, detail, load }: Schemas['DesiredVersion']) {
  if (reason === null) return null;
  const text = detail === null ? reason : `${reason}: ${detail}`;
  return load === null ? text : <a href={loadPath(load)}>{text}</a>;
}
