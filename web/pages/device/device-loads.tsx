// The latest loads of a device.

import { unwrapResponse } from '../../../src/client/client.ts';
import { LoadsTable } from '../../components/loads-table.tsx';
import { Panel } from '../../components/panel.tsx';
import { ResourceView } from '../../components/resource-view.tsx';
import type { LiveEvent } from '../../live/event-stream.ts';
import { useResource } from '../../live/resource.ts';
import { useSignedIn } from '../../session/session.tsx';

const shown = 5;

export function DeviceLoads({ device, concerns }: { readonly device: string; readonly concerns: (event: LiveEvent) => boolean }) {
  const { client } = useSignedIn();
  const loads = useResource(
    device,
    async (signal) => unwrapResponse(await client.GET('/v1/loads', { params: { query: { device, limit: shown } }, signal })),
    { isRelevant: concerns },
  );
  return (
    <Panel heading="Loads" note={<a href={`/loads?device=${encodeURIComponent(device)}`}>all loads of this device</a>}>
      <ResourceView resource={loads} what="loads">
        {({ items }) => (items.length === 0 ? <p class="empty">No loads yet.</p> : <LoadsTable loads={items} />)}
      </ResourceView>
    </Panel>
  );
}
