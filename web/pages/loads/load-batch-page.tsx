// The page of a request for loads on several devices: its loads by state and outcome, cancel and retry.

import { type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { outcomes } from '../../../src/client/enum-values.ts';
import { LoadBadge } from '../../components/badge.tsx';
import { counted, countText } from '../../components/numbers.ts';
import { ObjectName } from '../../components/object-name.tsx';
import { PageHead } from '../../components/page-head.tsx';
import { Panel } from '../../components/panel.tsx';
import { FailureNotice, ResourceView } from '../../components/resource-view.tsx';
import { Table } from '../../components/table.tsx';
import { Timestamp } from '../../components/times.tsx';
import { unreachableText } from '../../components/unreachable-text.ts';
import { useResource } from '../../live/resource.ts';
import { navigate } from '../../navigation/location.ts';
import { loadBatchPath, type PageProps, rolloutPath, withQuery } from '../../navigation/paths.ts';
import { useAction } from '../../session/action.ts';
import { useActorNames } from '../../session/names.ts';
import { useSignedIn } from '../../session/session.tsx';
import { contentText, selectionText } from './load-batch-text.ts';

type Batch = Schemas['LoadBatchDetail'];

export function LoadBatchPage({ parameters }: PageProps) {
  const id = parameters['batch'] ?? '';
  const { client, may } = useSignedIn();
  const params = { path: { batch: id } };
  const found = useResource<Batch>(id, async (signal) => unwrapResponse(await client.GET('/v1/load-batches/{batch}', { params, signal })), {
    isRelevant: ({ action }) => action.startsWith('load.'),
  });
  const cancel = useAction(
    async (headers) => unwrapResponse(await client.POST('/v1/load-batches/{batch}/cancel', { params, headers })),
    found.refresh,
  );
  const retry = useAction(
    async (headers) => unwrapResponse(await client.POST('/v1/load-batches/{batch}/retry', { params, headers })),
    ({ batch }) => navigate(loadBatchPath(batch)),
  );
  const batch = found.data;
  const failed = batch === null ? 0 : failedLoads(batch);
  return (
    <>
      <PageHead
        heading={batch === null ? 'Request for loads' : contentText(batch)}
        note={<a href="/load-batches">all requests for several devices</a>}
        actions={
          batch !== null &&
          may('operator') && (
            <>
              {failed > 0 && batch.rollout === null && (
                <button type="button" disabled={retry.isUnderWay} onClick={retry.run}>
                  Retry {counted(failed, 'failed load')}
                </button>
              )}
              {batch.states.queued > 0 && (
                <button type="button" disabled={cancel.isUnderWay} onClick={cancel.run}>
                  Cancel {counted(batch.states.queued, 'queued load')}
                </button>
              )}
            </>
          )
        }
      />
      {cancel.failure !== null && <FailureNotice failure={cancel.failure} />}
      {retry.failure !== null && <FailureNotice failure={retry.failure} />}
      <ResourceView resource={found} what="the request">
        {(known) => <BatchView batch={known} />}
      </ResourceView>
    </>
  );
}

/** Returns the number of loads that a retry repeats: those that failed, expired or were refused. */
function failedLoads({ outcomes: counts }: Batch): number {
  const repeated = outcomes.filter((outcome) => outcome === 'failed' || outcome === 'expired' || outcome.startsWith('refused-'));
  return repeated.reduce((total, outcome) => total + (counts[outcome] ?? 0), 0);
}

function BatchView({ batch }: { readonly batch: Batch }) {
  const names = useActorNames();
  const { states, rollout, retryOf, requestedBy } = batch;
  const unreachable = unreachableText(batch.unreachableDevices);
  const rows = [
    ...(['queued', 'dispatched'] as const).map((state) => ({ state, outcome: null, loads: states[state] })),
    ...outcomes.map((outcome) => ({ state: 'completed' as const, outcome, loads: batch.outcomes[outcome] ?? 0 })),
  ].filter(({ loads }) => loads > 0);
  const listOf = (row: (typeof rows)[number]) => {
    const filter = row.outcome === null ? { state: row.state } : { outcome: row.outcome };
    return withQuery('/loads', new URLSearchParams({ batch: batch.id, ...filter }));
  };
  return (
    <>
      <section class="wide" aria-label="Facts">
        <dl class="facts">
          <dt>Loads</dt>
          <dd>
            <a href={withQuery('/loads', new URLSearchParams({ batch: batch.id }))}>{counted(batch.loads, 'load')}</a>
          </dd>
          <dt>Devices</dt>
          <dd>
            {selectionText(batch)}
            {retryOf !== null && (
              <>
                {' '}
                (<a href={loadBatchPath(retryOf)}>the request</a>)
              </>
            )}
          </dd>
          {unreachable !== null && (
            <>
              <dt>Unreachable</dt>
              <dd>{unreachable}</dd>
            </>
          )}
          <dt>Requested</dt>
          <dd>
            <Timestamp at={batch.requestedAt} />
            {requestedBy !== null && (
              <>
                {' '}
                by <ObjectName id={requestedBy} names={names} />
              </>
            )}
          </dd>
          <dt>Load options</dt>
          <dd class="code">
            {batch.strategy}, {batch.invalidation}
          </dd>
          {rollout !== null && (
            <>
              <dt>Rollout</dt>
              <dd>
                <a href={rolloutPath(rollout)}>{rollout}</a>
              </dd>
            </>
          )}
        </dl>
      </section>
      <Panel heading="Loads by outcome">
        <Table
          caption="Loads by outcome"
          rows={rows}
          keyOf={({ state, outcome }) => outcome ?? state}
          columns={[
            {
              heading: 'Outcome',
              cell: (row) => (
                <a href={listOf(row)}>
                  <LoadBadge state={row.state} outcome={row.outcome} />
                </a>
              ),
            },
            { heading: 'Loads', isNumber: true, cell: ({ loads }) => countText(loads) },
          ]}
        />
      </Panel>
    </>
  );
}
