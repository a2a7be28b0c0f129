// ABI violations: programs of a device that called a stale address.

import { unwrapResponse } from '../../../src/client/client.ts';
import { Module } from '../../components/module.tsx';
import { countText } from '../../components/numbers.ts';
import { Panel } from '../../components/panel.tsx';
import { ResourceView } from '../../components/resource-view.tsx';
import { Table } from '../../components/table.tsx';
import { Timestamp } from '../../components/times.tsx';
import { useResource } from '../../live/resource.ts';
import { useSignedIn } from '../../session/session.tsx';
import type { DeviceDetail } from './device-data.ts';

const shown = 20;
/** Polling interval in milliseconds: a program with a stale address keeps faulting. */
const interval = 5_000;

export function Violations({ device: { id, abiViolations } }: { readonly device: DeviceDetail }) {
  const { client } = useSignedIn();
  const violations = useResource(
    `${id} ${abiViolations}`,
    async (signal) =>
      unwrapResponse(
        await client.GET('/v1/devices/{device}/abi-violations', { params: { path: { device: id }, query: { limit: shown } }, signal }),
      ),
    { pollMilliseconds: interval },
  );
  return (
    <Panel heading="ABI violations" note="programs that called a stale address">
      <ResourceView resource={violations} what="the ABI violations">
        {({ items }) => (
          <Table
            caption="ABI violations"
            rows={items}
            keyOf={({ program, address, firstFaultAt }) => `${program} ${address} ${firstFaultAt}`}
            columns={[
              { heading: 'Program', cell: ({ programName }) => programName },
              { heading: 'Stale build', cell: ({ module, version }) => <Module module={module} version={version} /> },
              { heading: 'Address', cell: ({ address }) => <code>{address}</code> },
              { heading: 'Fault', cell: ({ flag }) => <span class="code">{flag}</span> },
              { heading: 'Faults', isNumber: true, cell: ({ faults }) => countText(faults) },
              { heading: 'Last', cell: ({ lastFaultAt }) => <Timestamp at={lastFaultAt} /> },
            ]}
          />
        )}
      </ResourceView>
    </Panel>
  );
}
