// Programs of a device that held on to the addresses of code that had gone: the findings of the ABI test.

import { unwrapResponse } from '../../../src/client/client.ts';
import { useResource } from '../../live/resource.ts';
import { Module } from '../../parts/module.tsx';
import { countText } from '../../parts/numbers.ts';
import { Panel } from '../../parts/panel.tsx';
import { Shown } from '../../parts/shown.tsx';
import { Table } from '../../parts/table.tsx';
import { Moment } from '../../parts/times.tsx';
import { useSignedIn } from '../../session/session.tsx';
import type { DeviceDetail } from './watched.ts';

const shown = 20;
/** Milliseconds between two looks: who faults goes on to. */
const interval = 5_000;

export function Violations({ device: { id, abiViolations } }: { readonly device: DeviceDetail }) {
  const { client } = useSignedIn();
  const violations = useResource(
    `${id} ${abiViolations}`,
    async (signal) =>
      unwrapResponse(
        await client.GET('/v1/devices/{device}/abi-violations', { params: { path: { device: id }, query: { limit: shown } }, signal }),
      ),
    { every: interval },
  );
  return (
    <Panel heading="ABI violations" note="they keep an address, and faulted there">
      <Shown resource={violations} what="the violations">
        {({ items }) => (
          <Table
            caption="ABI violations"
            rows={items}
            keyOf={({ program, address, firstFaultAt }) => `${program} ${address} ${firstFaultAt}`}
            columns={[
              { heading: 'Program', cell: ({ programName }) => programName },
              { heading: 'Keeps', cell: ({ module, version }) => <Module module={module} version={version} /> },
              { heading: 'Address', cell: ({ address }) => <code>{address}</code> },
              { heading: 'Fault', cell: ({ flag }) => <span class="code">{flag}</span> },
              { heading: 'Faults', isNumber: true, cell: ({ faults }) => countText(faults) },
              { heading: 'Last', cell: ({ lastFaultAt }) => <Moment at={lastFaultAt} /> },
            ]}
          />
        )}
      </Shown>
    </Panel>
  );
}
