// Health of the fleet: status with reasons, and counts of devices, hosts and loads.

import { useState } from 'preact/hooks';
import { type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { Badge } from '../../components/badge.tsx';
import { LinkedText } from '../../components/linked.tsx';
import { countText } from '../../components/numbers.ts';
import { Panel } from '../../components/panel.tsx';
import { ResourceView } from '../../components/resource-view.tsx';
import { type Resource, useResource } from '../../live/resource.ts';
import { useObjectNames } from '../../session/names.ts';
import { useSignedIn } from '../../session/session.tsx';
import { DecommissionDialog } from './decommission-dialog.tsx';
import { MoveDialog } from './move-dialog.tsx';
import './health.css';

/** Polling interval in milliseconds: a silent host causes no event until it counts as unreachable. */
const interval = 5_000;
/** Maximum hosts shown; the filter offers all. */
const hostsShown = 12;

type Health = Schemas['FleetHealth'];
type Host = Schemas['Host'];

export function Health({ hosts }: { readonly hosts: Resource<readonly Host[]> }) {
  const { client } = useSignedIn();
  const health = useResource('health', async (signal) => unwrapResponse(await client.GET('/v1/health', { signal })), {
    pollMilliseconds: interval,
    isRelevant: ({ action }) => /^(device|host|load|rollout)\./.test(action),
  });
  return (
    <Panel
      heading="Health"
      note={health.data !== null && <Badge tone={health.data.status === 'healthy' ? 'good' : 'bad'}>{health.data.status}</Badge>}
    >
      <ResourceView resource={health} what="the health of the fleet">
        {(known) => (
          <>
            {known.reasons.length > 0 && <Reasons reasons={known.reasons} />}
            <Gauges health={known} />
          </>
        )}
      </ResourceView>
      <Hosts hosts={hosts.data ?? []} />
    </Panel>
  );
}

function Reasons({ reasons }: { readonly reasons: readonly string[] }) {
  const names = useObjectNames(...reasons);
  return (
    <ul class="reasons" aria-label="Why the fleet is degraded">
      {reasons.map((reason) => (
        <li key={reason}>
          <LinkedText text={reason} names={names} />
        </li>
      ))}
    </ul>
  );
}

function Gauges({ health: { devices, hosts, loads, accesses } }: { readonly health: Health }) {
  const outcomes = Object.entries(loads.outcomes).toSorted(([, left], [, right]) => right - left);
  return (
    <dl class="gauges">
      <Gauge heading="Devices" value={devices.connected} of="connected" href="/?status=connected">
        {[
          ['attaching', devices.attaching, '/?status=attaching'],
          ['unreachable', devices.unreachable, '/?status=unreachable'],
        ]}
      </Gauge>
      <Gauge heading="Hosts" value={hosts.connected} of="connected">
        {[['unreachable', hosts.unreachable, null]]}
      </Gauge>
      <Gauge heading="Open loads" value={loads.dispatched} of="dispatched" href="/loads?state=dispatched">
        {[['queued', loads.queued, '/loads?state=queued']]}
      </Gauge>
      <Gauge heading="Ended loads" value={loads.completed} of="ended" href="/loads">
        {outcomes.map(([outcome, count]) => [outcome, count, `/loads?outcome=${outcome}`] as const)}
      </Gauge>
      <Gauge heading="Accesses interrupted" value={accesses.interrupted} of="in total">
        {[['failed', accesses.failed, null]]}
      </Gauge>
    </dl>
  );
}

type GaugeParts = {
  readonly heading: string;
  readonly value: number;
  readonly of: string;
  readonly href?: string;
  /** Further counts, shown if not zero: label, count and link. */
  readonly children: readonly (readonly [word: string, count: number, href: string | null])[];
};

function Gauge({ heading, value, of, href, children }: GaugeParts) {
  return (
    <div class="gauge">
      <dt>{heading}</dt>
      <dd>
        <strong>{countText(value)}</strong> {href === undefined ? of : <a href={href}>{of}</a>}
      </dd>
      {children
        .filter(([, count]) => count > 0)
        .map(([word, count, to]) => (
          <dd key={word} class="gauge-more">
            {countText(count)} {to === null ? word : <a href={to}>{word}</a>}
          </dd>
        ))}
    </div>
  );
}

function Hosts({ hosts }: { readonly hosts: readonly Host[] }) {
  const [ending, setEnding] = useState<Host | null>(null);
  const [leaving, setLeaving] = useState<Host | null>(null);
  const mayChange = useSignedIn().may('operator');
  if (hosts.length === 0) return null;
  const isConnected = ({ status }: Host) => status === 'connected';
  // Those that need attention first.
  const shown = [...hosts.filter((host) => !isConnected(host)), ...hosts.filter(isConnected)].slice(0, hostsShown);
  return (
    <>
      {ending !== null && <DecommissionDialog host={ending} onClose={() => setEnding(null)} />}
      {leaving !== null && <MoveDialog host={leaving} onClose={() => setLeaving(null)} />}
      <ul class="hosts" aria-label="Hosts">
        {shown.map((host) => (
          <HostItem
            key={host.id}
            host={host}
            actions={mayChange ? { decommission: () => setEnding(host), move: () => setLeaving(host) } : null}
          />
        ))}
        {hosts.length > shown.length && <li class="soft">and {countText(hosts.length - shown.length)} more</li>}
      </ul>
    </>
  );
}

type HostItemParts = { readonly host: Host; readonly actions: { readonly decommission: () => void; readonly move: () => void } | null };

function HostItem({ host: { name, status, devices, capacity }, actions }: HostItemParts) {
  return (
    <li>
      <a href={`/?host=${encodeURIComponent(name)}`}>{name}</a> <Badge tone={status === 'connected' ? 'good' : 'bad'}>{status}</Badge>
      <span class="soft">
        {countText(devices)} of {countText(capacity)} devices
      </span>
      {actions !== null && (
        <>
          {devices > 0 && (
            <button type="button" class="plain" aria-label={`Move devices of the host ${name}`} onClick={actions.move}>
              Move devices…
            </button>
          )}
          <button type="button" class="plain" aria-label={`Decommission the host ${name}`} onClick={actions.decommission}>
            Decommission…
          </button>
        </>
      )}
    </li>
  );
}
