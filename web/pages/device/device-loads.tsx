// The newest loads of a device.

import { unwrapResponse } from '../../../src/client/client.ts';
import type { LiveEvent } from '../../live/event-stream.ts';
import { useResource } from '../../live/resource.ts';
import { LoadsTable } from '../../parts/loads-table.tsx';
import { Panel } from '../../parts/panel.tsx';
import { Shown } from '../../parts/shown.tsx';
import { useSignedIn } from '../../session/session.tsx';

const shown = 5;

export function DeviceLoads({ device, concerns }: { readonly device: string; readonly concerns: (event: LiveEvent) => boolean }) {
  const { client } = useSignedIn();
  const loads = useResource(
    device,
    async (signal) => unwrapResponse(await client.GET('/v1/loads', { params: { query: { device, limit: shown } }, signal })),
    { when: concerns },
  );
  return (
    <Panel heading="Loads" note={<a href={`/loads?device=${encodeURIComponent(device)}`}>all loads of this device</a>}>
      <Shown resource={loads} what="loads">
        {({ items }) => (items.length === 0 ? <p class="empty">No loads yet.</p> : <LoadsTable loads={items} />)}
      </Shown>
    </Panel>
  );
}
