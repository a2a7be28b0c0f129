// The devices of a rollout in rollout order, with filters by wave and state.

import { type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { rolloutDeviceStates } from '../../../src/client/enum-values.ts';
import { Badge } from '../../components/badge.tsx';
import { ChoiceFilter } from '../../components/filter-field.tsx';
import { usePages } from '../../live/pages.ts';
import { navigate, useLocation } from '../../navigation/location.ts';
import { devicePath, loadPath, rolloutPath, withQuery } from '../../navigation/paths.ts';
import '../../components/filters.css';
import { Download } from '../../components/download.tsx';
import { ListEnd } from '../../components/list-end.tsx';
import { countText } from '../../components/numbers.ts';
import { Panel } from '../../components/panel.tsx';
import { ResourceView } from '../../components/resource-view.tsx';
import { type Column, Table } from '../../components/table.tsx';
import { microsecondsText } from '../../components/times.tsx';
import { rolloutName } from '../../session/names.ts';
import { useSignedIn } from '../../session/session.tsx';
import { deviceTones, type Rollout } from './rollout-text.ts';

type Device = Schemas['RolloutDevice'];
/** @property every Polling interval in milliseconds; null after the end of the rollout. */
type Parts = { readonly rollout: Rollout; readonly every: number | null };

export function RolloutDevices({ rollout, every }: Parts) {
  const { id, waves } = rollout;
  const { client } = useSignedIn();
  const { query } = useLocation();
  const state = rolloutDeviceStates.find((one) => one === query.get('state'));
  const wave = waves.find(({ number }) => String(number) === query.get('wave'))?.number;
  const asked = { ...(state === undefined ? {} : { state }), ...(wave === undefined ? {} : { wave }) };
  const devices = usePages<Device>(
    JSON.stringify([id, asked]),
    async (page, signal) => {
      const params = { path: { rollout: id }, query: { ...asked, ...page } };
      return unwrapResponse(await client.GET('/v1/rollouts/{rollout}/devices', { params, signal }));
    },
    { pollMilliseconds: every, limit: 50, isRelevant: ({ object }) => object === id },
  );
  const of = (name: 'state' | 'wave') => ({
    value: query.get(name) ?? '',
    onChange: (value: string) => {
      const changed = new URLSearchParams(query);
      if (value === '') changed.delete(name);
      else changed.set(name, value);
      navigate(withQuery(rolloutPath(id), changed), 'replace');
    },
  });
  return (
    <Panel
      heading="Devices"
      note="in rollout order"
      actions={
        <Download
          label="Save report"
          name={`${rolloutName(rollout).replaceAll(/[^A-Za-z0-9._@-]+/g, '-')}.csv`}
          type="text/csv"
          fetchFile={async (signal) => {
            const params = { path: { rollout: id }, query: { format: 'csv' as const } };
            return unwrapResponse(await client.GET('/v1/rollouts/{rollout}/report', { params, parseAs: 'stream', signal }));
          }}
          alternative={`The command line has no size limit: patchbay rollout report ${id} --csv --output FILE`}
        />
      }
    >
      <search class="filters">
        <ChoiceFilter label="State" any="any" options={rolloutDeviceStates} {...of('state')} />
        <ChoiceFilter label="Wave" any="any" options={waves.map(({ number }) => String(number))} {...of('wave')} />
      </search>
      <ResourceView resource={devices} what="devices">
        {(items) =>
          items.length === 0 ? (
            <p class="empty">No device matches the filters.</p>
          ) : (
            <>
              <Table caption="Devices of the rollout" rows={items} keyOf={({ device }) => device} columns={columns} />
              <ListEnd pages={devices} shown={items.length} what={items.length === 1 ? 'device' : 'devices'} />
            </>
          )
        }
      </ResourceView>
    </Panel>
  );
}

const latency = (microseconds: number | null) => (microseconds === null ? '–' : microsecondsText(microseconds));

const columns: readonly Column<Device>[] = [
  {
    heading: 'Device',
    cell: ({ device, deviceName }) => (
      <a class="whole" href={devicePath(device)}>
        {deviceName}
      </a>
    ),
  },
  { heading: 'Wave', isNumber: true, cell: ({ wave }) => wave },
  { heading: 'State', cell: ({ state }) => <Badge tone={deviceTones[state]}>{state}</Badge> },
  {
    heading: 'Version',
    cell: ({ version, previousVersion }) => (
      <span class="code whole">
        {previousVersion ?? 'none'} to {version === '' ? 'none' : version}
      </span>
    ),
  },
  {
    heading: 'Load',
    cell: ({ load, outcome, attempts }) =>
      load === null ? null : (
        <>
          <a class="whole" href={loadPath(load)}>
            {outcome ?? 'in progress'}
          </a>
          {attempts > 1 && <span class="soft">, attempt {attempts}</span>}
        </>
      ),
  },
  { heading: 'Interrupted', isNumber: true, cell: ({ interruptedAccesses }) => interruptedAccesses },
  { heading: 'Calls', isNumber: true, cell: ({ measured }) => (measured === null ? null : countText(measured.calls)) },
  { heading: 'Failed', isNumber: true, cell: ({ measured }) => (measured === null ? null : countText(measured.failedCalls)) },
  {
    heading: 'p99 (before)',
    isNumber: true,
    cell: ({ measured }) =>
      measured === null ? null : (
        <>
          {latency(measured.p99Microseconds)} <span class="soft">({latency(measured.before.p99Microseconds)})</span>
        </>
      ),
  },
  { heading: 'Reason', isWide: true, cell: ({ reason }) => reason },
];
