// The fleet page: health, and the devices with their versions.

import { useState } from 'preact/hooks';
import { type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { DeviceBadge } from '../../components/badge.tsx';
import { ListEnd } from '../../components/list-end.tsx';
import { Module } from '../../components/module.tsx';
import { PageHead } from '../../components/page-head.tsx';
import { Panel } from '../../components/panel.tsx';
import { ResourceView } from '../../components/resource-view.tsx';
import { type Column, Table } from '../../components/table.tsx';
import type { LiveEvent } from '../../live/event-stream.ts';
import { usePages } from '../../live/pages.ts';
import { useResource } from '../../live/resource.ts';
import { navigate, useLocation } from '../../navigation/location.ts';
import { devicePath, withQuery } from '../../navigation/paths.ts';
import { useSignedIn } from '../../session/session.tsx';
import { fleetQueryOf, isNarrowed, withLabel } from './fleet-filter.ts';
import { FleetFilters } from './fleet-filters.tsx';
import { Health } from './health.tsx';
import { LabelsDialog } from './labels-dialog.tsx';

/** Maximum hosts whose names are shown. */
const hostLimit = 200;

const isOfTheFleet = ({ action }: LiveEvent) => /^(device|host|load)\./.test(action);

export function FleetPage() {
  const { client, mayAcrossFleet } = useSignedIn();
  const mayReadHosts = mayAcrossFleet('viewer');
  const { query } = useLocation();
  const [areLabelsEdited, setLabelsEdited] = useState(false);
  const asked = fleetQueryOf(query);
  const devices = usePages(
    JSON.stringify(asked),
    async (page, signal) => unwrapResponse(await client.GET('/v1/devices', { params: { query: { ...asked, ...page } }, signal })),
    { isRelevant: isOfTheFleet },
  );
  const hosts = useResource(
    'hosts',
    async (signal) =>
      !mayReadHosts
        ? []
        : unwrapResponse(await client.GET('/v1/hosts', { params: { query: { sort: 'name', limit: hostLimit } }, signal })).items,
    // Moves and registrations change the number of devices of a host.
    { isRelevant: ({ action }) => /^(host|device)\./.test(action) },
  );
  const hostNames = new Map(hosts.data?.map(({ id, name }) => [id, name]));
  return (
    <>
      <PageHead heading="Fleet" />
      {mayReadHosts && <Health hosts={hosts} />}
      <Panel heading="Devices">
        <FleetFilters query={query} hosts={[...hostNames.values()]} />
        <ResourceView resource={devices} what="devices">
          {(items) =>
            items.length === 0 ? (
              <NoDevices query={query} />
            ) : (
              <>
                <Table caption="Devices" columns={columns(query, hostNames)} rows={items} keyOf={({ id }) => id} />
                <ListEnd pages={devices} shown={items.length} what={items.length === 1 ? 'device' : 'devices'} />
                {mayAcrossFleet('operator') && (
                  <button type="button" onClick={() => setLabelsEdited(true)}>
                    Edit labels of these devices…
                  </button>
                )}
                {areLabelsEdited && (
                  <LabelsDialog
                    devices={items.filter(({ status }) => status !== 'decommissioned').map(({ id }) => id)}
                    hasMore={devices.more !== null || devices.isTruncated}
                    onClose={() => setLabelsEdited(false)}
                  />
                )}
              </>
            )
          }
        </ResourceView>
      </Panel>
    </>
  );
}

function columns(query: URLSearchParams, hostNames: ReadonlyMap<string, string>): Column<Schemas['Device']>[] {
  return [
    { heading: 'Device', cell: ({ id, name }) => <a href={devicePath(id)}>{name}</a> },
    { heading: 'State', cell: (device) => <DeviceBadge status={device.status} /> },
    { heading: 'Host', cell: ({ host }) => hostNames.get(host) ?? <code>{host}</code> },
    {
      heading: 'Modules',
      isWide: true,
      cell: ({ modules }) => {
        const entries = Object.entries(modules);
        if (entries.length === 0) return <span class="soft">none</span>;
        return (
          <span class="modules">
            {entries.map(([module, version]) => (
              <Module key={module} module={module} version={version} />
            ))}
          </span>
        );
      },
    },
    {
      heading: 'Labels',
      isWide: true,
      cell: ({ labels }) => {
        const entries = Object.entries(labels);
        if (entries.length === 0) return null;
        return (
          <span class="tags">
            {entries.map(([key, value]) => (
              <a
                key={key}
                class="tag"
                href={withQuery('/', withLabel(query, `${key}=${value}`))}
                title={`Only devices with ${key}=${value}`}
              >
                {key}={value}
              </a>
            ))}
          </span>
        );
      },
    },
    { heading: 'RAM pages', isNumber: true, cell: ({ ramPages }) => ramPages },
  ];
}

function NoDevices({ query }: { readonly query: URLSearchParams }) {
  if (isNarrowed(query))
    return (
      <p class="empty">
        No device matches the filters.{' '}
        <button type="button" class="plain" onClick={() => navigate('/')}>
          Show all devices
        </button>
      </p>
    );
  return (
    <p class="empty">
      No devices yet. Start a device host: <code>npm run host -- --control {location.origin} --name rack-1 --devices 4</code>
    </p>
  );
}
