// All rollouts, newest first, with their progress.

import { unwrapResponse } from '../../../src/client/client.ts';
import { rolloutStates } from '../../../src/client/enum-values.ts';
import type { paths } from '../../../src/client/generated/api.ts';
import { Badge } from '../../components/badge.tsx';
import { ChoiceFilter, TextFilter } from '../../components/filter-field.tsx';
import { usePages } from '../../live/pages.ts';
import { navigate, useLocation } from '../../navigation/location.ts';
import { rolloutPath, withQuery } from '../../navigation/paths.ts';
import '../../components/filters.css';
import { ListEnd } from '../../components/list-end.tsx';
import { Module } from '../../components/module.tsx';
import { PageHead } from '../../components/page-head.tsx';
import { Panel } from '../../components/panel.tsx';
import { ResourceView } from '../../components/resource-view.tsx';
import { type Column, Table } from '../../components/table.tsx';
import { Timestamp } from '../../components/times.tsx';
import { rolloutName } from '../../session/names.ts';
import { useSignedIn } from '../../session/session.tsx';
import { DeviceCounts } from './device-counts.tsx';
import { type Rollout, stateTones } from './rollout-text.ts';
import './rollouts.css';

type RolloutsQuery = NonNullable<paths['/v1/rollouts']['get']['parameters']['query']>;

/** Polling interval in milliseconds while rollouts run: measurements cause no events. */
const interval = 5_000;

function rolloutsQueryOf(query: URLSearchParams): RolloutsQuery {
  const module = query.get('module') ?? '';
  const state = rolloutStates.find((one) => one === query.get('state'));
  return { ...(module === '' ? {} : { module }), ...(state === undefined ? {} : { state }) };
}

export function RolloutsPage() {
  const { client, may } = useSignedIn();
  const { query } = useLocation();
  const asked = rolloutsQueryOf(query);
  const rollouts = usePages<Rollout>(
    JSON.stringify(asked),
    async (page, signal) => unwrapResponse(await client.GET('/v1/rollouts', { params: { query: { ...asked, ...page } }, signal })),
    { limit: 25, pollMilliseconds: interval, isRelevant: ({ action }) => action.startsWith('rollout.') },
  );
  const of = (name: 'module' | 'state') => ({
    value: query.get(name) ?? '',
    onChange: (value: string) => {
      const changed = new URLSearchParams(query);
      if (value === '') changed.delete(name);
      else changed.set(name, value);
      navigate(withQuery('/rollouts', changed), 'replace');
    },
  });
  const isNarrowed = Object.keys(asked).length > 0;
  return (
    <>
      <PageHead
        heading="Rollouts"
        actions={
          may('operator') && (
            <button type="button" class="main" onClick={() => navigate('/rollouts/new')}>
              New rollout…
            </button>
          )
        }
      />
      <Panel heading="Rollouts" note="newest first">
        <search class="filters">
          <ChoiceFilter label="State" any="any" options={rolloutStates} {...of('state')} />
          <TextFilter label="Module or patch set" placeholder="tcp" {...of('module')} />
        </search>
        <ResourceView resource={rollouts} what="rollouts">
          {(items) =>
            items.length === 0 ? (
              <p class="empty">
                {isNarrowed
                  ? 'No rollout matches the filters. '
                  : 'No rollouts yet. A rollout loads one build or patch set on many devices, in waves.'}
                {isNarrowed && (
                  <button type="button" class="plain" onClick={() => navigate('/rollouts')}>
                    Show all rollouts
                  </button>
                )}
              </p>
            ) : (
              <>
                <Table caption="Rollouts" rows={items} keyOf={({ id }) => id} columns={columns} />
                <ListEnd pages={rollouts} shown={items.length} what={items.length === 1 ? 'rollout' : 'rollouts'} />
              </>
            )
          }
        </ResourceView>
      </Panel>
    </>
  );
}

function Content({ rollout: { module, version, patchSet } }: { readonly rollout: Rollout }) {
  if (patchSet === null) return <Module module={module} version={version} />;
  return (
    <span class="code">
      {patchSet.name}@{patchSet.version}
    </span>
  );
}

const columns: readonly Column<Rollout>[] = [
  { heading: 'Rollout', cell: (rollout) => <a href={rolloutPath(rollout.id)}>{rolloutName(rollout)}</a> },
  { heading: 'Content', cell: (rollout) => <Content rollout={rollout} /> },
  { heading: 'State', cell: ({ state }) => <Badge tone={stateTones[state]}>{state}</Badge> },
  {
    heading: 'Wave',
    cell: ({ wave, waves }) => (wave === null ? <span class="soft">all {waves.length} passed</span> : `${wave} of ${waves.length}`),
  },
  { heading: 'Devices', isWide: true, cell: ({ deviceCounts }) => <DeviceCounts deviceCounts={deviceCounts} /> },
  { heading: 'Requested', cell: ({ requestedAt }) => <Timestamp at={requestedAt} /> },
  { heading: 'Ended', cell: ({ endedAt }) => (endedAt === null ? null : <Timestamp at={endedAt} />) },
];
