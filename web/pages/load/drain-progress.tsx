// The progress of a draining load: the accesses that it waits for, by program.

import { type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { counted, countText } from '../../components/numbers.ts';
import { Panel } from '../../components/panel.tsx';
import { ResourceView } from '../../components/resource-view.tsx';
import { Table } from '../../components/table.tsx';
import { Timestamp } from '../../components/times.tsx';
import { useResource } from '../../live/resource.ts';
import { useSignedIn } from '../../session/session.tsx';

/** Polling interval in milliseconds: devices report changes about twice a second. */
const interval = 1_000;
/** Maximum programs listed and named. */
const limit = 200;

type Load = Schemas['LoadDetail'];

export function DrainProgress({ load: { id, device } }: { readonly load: Load }) {
  const { client } = useSignedIn();
  const drain = useResource(
    id,
    async (signal) => {
      const { progress } = unwrapResponse(await client.GET('/v1/loads/{load}', { params: { path: { load: id } }, signal }));
      return { progress };
    },
    { pollMilliseconds: interval, isRelevant: ({ object }) => object === id },
  );
  const names = useResource(device, async (signal) => {
    const { items } = unwrapResponse(
      await client.GET('/v1/devices/{device}/programs', { params: { path: { device }, query: { limit } }, signal }),
    );
    return new Map(items.map(({ id: program, name }) => [program, name]));
  });
  return (
    <Panel heading="Waiting for accesses">
      <ResourceView resource={drain} what="the progress">
        {({ progress }) => <Progress progress={progress} nameOf={(program) => names.data?.get(program) ?? program} />}
      </ResourceView>
    </Panel>
  );
}

type Parts = { readonly progress: Load['progress']; readonly nameOf: (program: string) => string };

function Progress({ progress, nameOf }: Parts) {
  if (progress === null) return <p class="empty">The drain has ended.</p>;
  const { accesses, module, previousVersion, since, programs, requested } = progress;
  return (
    <>
      <p class="panel-body" role="status">
        {counted(accesses, 'access', 'accesses')} inside <span class="code">{`${module}@${previousVersion}`}</span>, since{' '}
        <Timestamp at={since} />
        {requested.length > 0 && <span class="soft">. Requested: {requested.join(', ')}</span>}
      </p>
      <Table
        caption="Programs with accesses inside the old version"
        rows={programs.slice(0, limit)}
        keyOf={({ program }) => program}
        columns={[
          { heading: 'Program', cell: ({ program }) => nameOf(program) },
          { heading: 'Threads inside', isNumber: true, cell: ({ threads }) => countText(threads) },
        ]}
      />
    </>
  );
}
