// All rollouts, the newest first: how far each is, and what it waits for.

import { unwrapResponse } from '../../../src/client/client.ts';
import { rolloutStates } from '../../../src/client/enum-values.ts';
import type { paths } from '../../../src/client/generated/api.ts';
import { usePages } from '../../live/pages.ts';
import { navigate, usePlace } from '../../navigation/location.ts';
import { rolloutPath, withQuery } from '../../navigation/paths.ts';
import { Badge } from '../../parts/badge.tsx';
import { ChoiceFilter, TextFilter } from '../../parts/filter-field.tsx';
import '../../parts/filters.css';
import { Module } from '../../parts/module.tsx';
import { More } from '../../parts/more.tsx';
import { PageHead } from '../../parts/page-head.tsx';
import { Panel } from '../../parts/panel.tsx';
import { Shown } from '../../parts/shown.tsx';
import { type Column, Table } from '../../parts/table.tsx';
import { Moment } from '../../parts/times.tsx';
import { useSignedIn } from '../../session/session.tsx';
import { Tally } from './tally.tsx';
import { nameOf, type Rollout, stateTones } from './words.ts';
import './rollouts.css';

type RolloutsQuery = NonNullable<paths['/v1/rollouts']['get']['parameters']['query']>;

/** Milliseconds between two looks while some are open: what is measured of them is no event. */
const interval = 5_000;

function rolloutsQueryOf(query: URLSearchParams): RolloutsQuery {
  const module = query.get('module') ?? '';
  const state = rolloutStates.find((one) => one === query.get('state'));
  return { ...(module === '' ? {} : { module }), ...(state === undefined ? {} : { state }) };
}

export function RolloutsPage() {
  const { client, may } = useSignedIn();
  const { query } = usePlace();
  const asked = rolloutsQueryOf(query);
  const rollouts = usePages<Rollout>(
    JSON.stringify(asked),
    async (page, signal) => unwrapResponse(await client.GET('/v1/rollouts', { params: { query: { ...asked, ...page } }, signal })),
    { limit: 25, every: interval, when: ({ action }) => action.startsWith('rollout.') },
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
              Roll a build out…
            </button>
          )
        }
      />
      <Panel heading="Rollouts" note="the newest first">
        <search class="filters">
          <ChoiceFilter label="State" any="any" options={rolloutStates} {...of('state')} />
          <TextFilter label="Module" placeholder="tcp" {...of('module')} />
        </search>
        <Shown resource={rollouts} what="rollouts">
          {(items) =>
            items.length === 0 ? (
              <p class="empty">
                {isNarrowed
                  ? 'No rollout is like that. '
                  : 'Nothing has been rolled out yet: a rollout brings one build to many devices, in waves.'}
                {isNarrowed && (
                  <button type="button" class="plain" onClick={() => navigate('/rollouts')}>
                    Show all rollouts
                  </button>
                )}
              </p>
            ) : (
              <>
                <Table caption="Rollouts" rows={items} keyOf={({ id }) => id} columns={columns} />
                <More pages={rollouts} shown={items.length} what={items.length === 1 ? 'rollout' : 'rollouts'} />
              </>
            )
          }
        </Shown>
      </Panel>
    </>
  );
}

const columns: readonly Column<Rollout>[] = [
  { heading: 'Rollout', cell: (rollout) => <a href={rolloutPath(rollout.id)}>{nameOf(rollout)}</a> },
  { heading: 'Build', cell: ({ module, version }) => <Module module={module} version={version} /> },
  { heading: 'State', cell: ({ state }) => <Badge tone={stateTones[state]}>{state}</Badge> },
  {
    heading: 'Wave',
    cell: ({ wave, waves }) => (wave === null ? <span class="soft">all {waves.length} passed</span> : `${wave} of ${waves.length}`),
  },
  { heading: 'Devices', isWide: true, cell: ({ deviceCounts }) => <Tally deviceCounts={deviceCounts} /> },
  { heading: 'Requested', cell: ({ requestedAt }) => <Moment at={requestedAt} /> },
  { heading: 'Ended', cell: ({ endedAt }) => (endedAt === null ? null : <Moment at={endedAt} />) },
];
