// One device: its memory, its module table, its programs, what it has run, and what can be done with it.

import { useMemo, useState } from 'preact/hooks';
import { type Client, unwrapResponse } from '../../../src/client/client.ts';
import type { LiveEvent } from '../../live/event-stream.ts';
import { useResource } from '../../live/resource.ts';
import { type PageParts, withQuery } from '../../navigation/paths.ts';
import { DeviceBadge } from '../../parts/badge.tsx';
import { countText } from '../../parts/numbers.ts';
import { PageHead } from '../../parts/page-head.tsx';
import { Shown } from '../../parts/shown.tsx';
import { Age } from '../../parts/times.tsx';
import { useSignedIn } from '../../session/session.tsx';
import { DeviceLoads } from './device-loads.tsx';
import { DeviceSamples } from './device-samples.ts';
import { History } from './history.tsx';
import { LoadDialog } from './load-dialog.tsx';
import { Memory } from './memory.tsx';
import { ModuleTable } from './module-table.tsx';
import { Programs } from './programs.tsx';
import { RollbackDialog } from './rollback-dialog.tsx';
import { Violations } from './violations.tsx';
import type { Watched } from './watched.ts';
import './device.css';

/** Milliseconds between two looks at the device. */
const interval = 1_000;
/** Programs that are watched: the newest. */
const programLimit = 20;

/** What is being asked of the user: to load a build, of a module or of any; or to go back to an earlier one. */
type Asking = { readonly kind: 'load'; readonly module: string | null } | { readonly kind: 'rollback'; readonly module: string };

export function DevicePage({ parameters }: PageParts) {
  const id = parameters['device'] ?? '';
  const { client, may } = useSignedIn();
  const samples = useMemo(() => new DeviceSamples(), []);
  const [asking, setAsking] = useState<Asking | null>(null);
  const concerns = ({ object, detail }: LiveEvent) => object === id || detail['device'] === id;
  const watched = useResource(
    id,
    async (signal) => {
      const found = await look(client, id, signal);
      samples.addReferences(found.device.moduleTable, Date.now());
      if (found.device.reportedAt !== null) samples.addPrograms(found.programs, Date.parse(found.device.reportedAt), Date.now());
      return found;
    },
    { every: interval, when: concerns },
  );
  const mayLoad = may('operator');
  const device = watched.data?.device;
  const close = () => setAsking(null);
  return (
    <>
      <PageHead
        heading={device?.name ?? 'Device'}
        note={device !== undefined && <DeviceBadge status={device.status} />}
        actions={
          mayLoad && (
            <button type="button" class="main" disabled={device === undefined} onClick={() => setAsking({ kind: 'load', module: null })}>
              Load a build…
            </button>
          )
        }
      />
      <Shown resource={watched} what="the device">
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
            <Programs {...found} samples={samples} />
            <History device={id} concerns={concerns} />
            <DeviceLoads device={id} concerns={concerns} />
          </div>
        )}
      </Shown>
      {device !== undefined && asking?.kind === 'load' && <LoadDialog device={device} given={asking.module} onClose={close} />}
      {device !== undefined && asking?.kind === 'rollback' && <RollbackDialog device={device} module={asking.module} onClose={close} />}
    </>
  );
}

async function look(client: Client, id: string, signal: AbortSignal): Promise<Watched> {
  const path = { device: id };
  const [device, programs] = await Promise.all([
    client.GET('/v1/devices/{device}', { params: { path }, signal }).then(unwrapResponse),
    client.GET('/v1/devices/{device}/programs', { params: { path, query: { limit: programLimit } }, signal }).then(unwrapResponse),
  ]);
  return { device, host: await hostName(client, device.host, signal), programs: programs.items, hasMorePrograms: programs.next !== null };
}

const hostNames = new Map<string, string>();

/** The name of a host, which it keeps. */
async function hostName(client: Client, id: string, signal: AbortSignal): Promise<string> {
  if (!hostNames.has(id)) {
    const { items } = unwrapResponse(await client.GET('/v1/hosts', { params: { query: { limit: 200 } }, signal }));
    for (const host of items) hostNames.set(host.id, host.name);
  }
  return hostNames.get(id) ?? id;
}

function Facts({ device, host }: Watched) {
  const { id, labels, memoryMap, ramPages, reportedAt, attachFailure } = device;
  return (
    <section class="device-facts" aria-label="Facts">
      {device.status === 'unreachable' && (
        <p class="notice" data-is="warning">
          The host of this device is unreachable. The values below are the last that it reported.
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
