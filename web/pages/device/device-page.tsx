// The page of a device: memory, module table, programs, history and actions.

import { useMemo, useState } from 'preact/hooks';
import { type Client, unwrapResponse } from '../../../src/client/client.ts';
import { DeviceBadge } from '../../components/badge.tsx';
import { countText } from '../../components/numbers.ts';
import { PageHead } from '../../components/page-head.tsx';
import { ResourceView } from '../../components/resource-view.tsx';
import { Age } from '../../components/times.tsx';
import type { LiveEvent } from '../../live/event-stream.ts';
import { useResource } from '../../live/resource.ts';
import { type PageProps, withQuery } from '../../navigation/paths.ts';
import { useSignedIn } from '../../session/session.tsx';
import { DecommissionDialog } from './decommission-dialog.tsx';
import { DesiredVersions } from './desired-versions.tsx';
import type { DeviceData } from './device-data.ts';
import { DeviceLoads } from './device-loads.tsx';
import { DeviceSamples } from './device-samples.ts';
import { History } from './history.tsx';
import { LoadDialog } from './load-dialog.tsx';
import { Memory } from './memory.tsx';
import { ModuleGraph } from './module-graph.tsx';
import { ModuleTable } from './module-table.tsx';
import { MoveDialog } from './move-dialog.tsx';
import { Programs } from './programs.tsx';
import { RenameDialog } from './rename-dialog.tsx';
import { RollbackDialog } from './rollback-dialog.tsx';
import { UnloadDialog } from './unload-dialog.tsx';
import { Violations } from './violations.tsx';
import './device.css';

/** Polling interval in milliseconds. */
const interval = 1_000;
/** Maximum programs shown, newest first. */
const programLimit = 20;

/** The open dialog: load a build (of one module or any), roll a module back, unload it; rename, move or decommission the device. */
type OpenDialog =
  | { readonly kind: 'load'; readonly module: string | null }
  | { readonly kind: 'rollback' | 'unload'; readonly module: string }
  | { readonly kind: 'rename' | 'move' | 'decommission' };

export function DevicePage({ parameters }: PageProps) {
  const id = parameters['device'] ?? '';
  const { client, may, mayAcrossFleet } = useSignedIn();
  const mayReadHosts = mayAcrossFleet('viewer');
  const samples = useMemo(() => new DeviceSamples(), []);
  const [asking, setAsking] = useState<OpenDialog | null>(null);
  const concerns = ({ object, detail }: LiveEvent) => object === id || detail['device'] === id;
  const watched = useResource(
    id,
    async (signal) => {
      const found = await fetchDevice(client, id, mayReadHosts, signal);
      samples.addReferences(found.device.moduleTable, Date.now());
      if (found.device.reportedAt !== null) samples.addPrograms(found.programs, Date.parse(found.device.reportedAt), Date.now());
      return found;
    },
    { pollMilliseconds: interval, isRelevant: concerns },
  );
  const device = watched.data?.device;
  const mayLoad = may('operator') && device?.status !== 'decommissioned';
  const close = () => setAsking(null);
  return (
    <>
      <PageHead
        heading={device?.name ?? 'Device'}
        note={device !== undefined && <DeviceBadge status={device.status} />}
        actions={
          mayLoad && (
            <>
              {mayAcrossFleet('operator') && (
                <>
                  <button type="button" disabled={device === undefined} onClick={() => setAsking({ kind: 'rename' })}>
                    Rename…
                  </button>
                  <button type="button" disabled={device === undefined} onClick={() => setAsking({ kind: 'move' })}>
                    Move…
                  </button>
                  <button type="button" disabled={device === undefined} onClick={() => setAsking({ kind: 'decommission' })}>
                    Decommission…
                  </button>
                </>
              )}
              <button type="button" class="main" disabled={device === undefined} onClick={() => setAsking({ kind: 'load', module: null })}>
                Load a build…
              </button>
            </>
          )
        }
      />
      <ResourceView resource={watched} what="the device">
        {(found) => (
          <div class="device">
            <Facts {...found} />
            <div class="halves">
              <Memory device={found.device} />
              <div class="stack">
                <ModuleTable
                  device={found.device}
                  references={samples.references}
                  ask={mayLoad ? (kind, module) => setAsking({ kind, module }) : null}
                />
                {found.device.abiViolations > 0 && <Violations device={found.device} />}
              </div>
            </div>
            {found.device.linkCount > 0 && <ModuleGraph device={found.device} />}
            <Programs {...found} samples={samples} />
            <DesiredVersions device={id} concerns={concerns} />
            <History device={id} concerns={concerns} />
            <DeviceLoads device={id} concerns={concerns} />
          </div>
        )}
      </ResourceView>
      {device !== undefined && asking?.kind === 'load' && <LoadDialog device={device} given={asking.module} onClose={close} />}
      {device !== undefined && asking?.kind === 'rename' && <RenameDialog device={device} onClose={close} />}
      {device !== undefined && asking?.kind === 'move' && <MoveDialog device={device} onClose={close} />}
      {device !== undefined && asking?.kind === 'decommission' && <DecommissionDialog device={device} onClose={close} />}
      {device !== undefined && asking?.kind === 'unload' && <UnloadDialog device={device} module={asking.module} onClose={close} />}
      {device !== undefined && asking?.kind === 'rollback' && <RollbackDialog device={device} module={asking.module} onClose={close} />}
    </>
  );
}

/** @param mayReadHosts Whether the key can read the name of the host; without it, the identifier is shown. */
async function fetchDevice(client: Client, id: string, mayReadHosts: boolean, signal: AbortSignal): Promise<DeviceData> {
  const path = { device: id };
  const [device, programs] = await Promise.all([
    client.GET('/v1/devices/{device}', { params: { path }, signal }).then(unwrapResponse),
    client.GET('/v1/devices/{device}/programs', { params: { path, query: { limit: programLimit } }, signal }).then(unwrapResponse),
  ]);
  const host = mayReadHosts ? await hostName(client, device.host, signal) : device.host;
  const newHost = mayReadHosts && device.movingTo !== null ? await hostName(client, device.movingTo, signal) : device.movingTo;
  return { device, host, newHost, programs: programs.items, hasMorePrograms: programs.next !== null };
}

const hostNames = new Map<string, string>();

/** Returns the name of a host, from a cache after the first request. */
async function hostName(client: Client, id: string, signal: AbortSignal): Promise<string> {
  if (!hostNames.has(id)) {
    const host = unwrapResponse(await client.GET('/v1/hosts/{host}', { params: { path: { host: id } }, signal }));
    hostNames.set(id, host.name);
  }
  return hostNames.get(id) ?? id;
}

function Facts({ device, host, newHost }: DeviceData) {
  const { id, labels, memoryMap, ramPages, reportedAt, attachFailure, decommissioned } = device;
  return (
    <section class="device-facts" aria-label="Facts">
      {device.status === 'unreachable' && (
        <p class="notice" data-is="warning">
          The host of this device is unreachable. The values below are the last that it reported.
        </p>
      )}
      {decommissioned !== null && (
        <p class="notice" data-is="warning">
          Decommissioned <Age of={decommissioned.at} />: {decommissioned.reason}. The values below are the last that it reported.
        </p>
      )}
      {newHost !== null && (
        <p class="notice" data-is="warning">
          The device moves to the host {newHost} when {host} reports that it dropped the device.
        </p>
      )}
      {attachFailure !== null && (
        <p class="notice" data-is="warning">
          Not completely restored after a restart of its host: {attachFailure}
        </p>
      )}
      <dl class="strip">
        <div>
          <dt>Host</dt>
          <dd>
            <a href={withQuery('/', new URLSearchParams({ host }))}>{host}</a>
          </dd>
        </div>
        <div>
          <dt>Labels</dt>
          <dd class="tags">
            {Object.entries(labels).map(([key, value]) => (
              <a key={key} class="tag" href={withQuery('/', new URLSearchParams({ label: `${key}=${value}` }))}>
                {key}={value}
              </a>
            ))}
            {Object.keys(labels).length === 0 && <span class="soft">none</span>}
          </dd>
        </div>
        <div>
          <dt>Memory</dt>
          <dd>
            {memoryMap === null ? '?' : countText(memoryMap.usedPages)} of {countText(ramPages)} pages
          </dd>
        </div>
        <div>
          <dt>Reported</dt>
          <dd>{reportedAt === null ? 'not since the host started' : <Age of={reportedAt} />}</dd>
        </div>
        <div>
          <dt>Identifier</dt>
          <dd>
            <code>{id}</code>
          </dd>
        </div>
      </dl>
    </section>
  );
}
