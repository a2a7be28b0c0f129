// All loads, the newest first, by what became of them.

import { loadStates, outcomes } from '../../../src/cli/client/choices.ts';
import { answerOf, type Schemas } from '../../../src/cli/client/client.ts';
import type { paths } from '../../../src/cli/generated/api.ts';
import { usePages } from '../../live/pages.ts';
import { useResource } from '../../live/resource.ts';
import { navigate, usePlace } from '../../navigation/location.ts';
import { withQuery } from '../../navigation/paths.ts';
import { ChoiceFilter, TextFilter } from '../../parts/filter-field.tsx';
import '../../parts/filters.css';
import { LoadsTable } from '../../parts/loads-table.tsx';
import { More } from '../../parts/more.tsx';
import { PageHead } from '../../parts/page-head.tsx';
import { Panel } from '../../parts/panel.tsx';
import { Shown } from '../../parts/shown.tsx';
import { useSignedIn } from '../../session/session.tsx';

type LoadsQuery = NonNullable<paths['/v1/loads']['get']['parameters']['query']>;
const texts = ['module', 'version', 'device', 'batch'] as const;
type FilterName = (typeof texts)[number] | 'state' | 'outcome';
/** Devices that are known by name here. */
const nameLimit = 200;

function loadsQueryOf(query: URLSearchParams): LoadsQuery {
  const state = loadStates.find((one) => one === query.get('state'));
  const outcome = outcomes.find((one) => one === query.get('outcome'));
  const given = texts.flatMap((name) => ((query.get(name) ?? '') === '' ? [] : [[name, query.get(name) ?? ''] as const]));
  return { ...Object.fromEntries(given), ...(state === undefined ? {} : { state }), ...(outcome === undefined ? {} : { outcome }) };
}

export function LoadsPage() {
  const { client } = useSignedIn();
  const { query } = usePlace();
  const asked = loadsQueryOf(query);
  const loads = usePages<Schemas['Load']>(
    JSON.stringify(asked),
    async (page, signal) => answerOf(await client.GET('/v1/loads', { params: { query: { ...asked, ...page } }, signal })),
    { when: ({ action }) => action.startsWith('load.') },
  );
  const names = useResource('names', async (signal) => {
    const { items } = answerOf(await client.GET('/v1/devices', { params: { query: { limit: nameLimit, sort: 'name' } }, signal }));
    return new Map(items.map(({ id, name }) => [id, name]));
  });
  const of = (name: FilterName) => ({
    value: query.get(name) ?? '',
    onChange: (value: string) => {
      const changed = new URLSearchParams(query);
      if (value === '') changed.delete(name);
      else changed.set(name, value);
      navigate(withQuery('/loads', changed), 'replace');
    },
  });
  const isNarrowed = Object.keys(asked).length > 0;
  return (
    <>
      <PageHead heading="Loads" />
      <Panel heading="Loads" note="the newest first">
        <search class="filters">
          <ChoiceFilter label="State" any="any" options={loadStates} {...of('state')} />
          <ChoiceFilter label="Outcome" any="any" options={outcomes} {...of('outcome')} />
          <TextFilter label="Module" placeholder="tcp" {...of('module')} />
          <TextFilter label="Version" placeholder="1.1.0" maxLength={256} {...of('version')} />
          <TextFilter label="Device" placeholder="dev_…" {...of('device')} />
          <TextFilter label="Request" placeholder="bat_…" {...of('batch')} />
        </search>
        <Shown resource={loads} what="loads">
          {(items) =>
            items.length === 0 ? (
              <p class="empty">
                {isNarrowed ? 'No load is like that. ' : 'Nothing has been loaded yet: open a device, and load a build there.'}
                {isNarrowed && (
                  <button type="button" class="plain" onClick={() => navigate('/loads')}>
                    Show all loads
                  </button>
                )}
              </p>
            ) : (
              <>
                <LoadsTable loads={items} deviceNames={names.data ?? new Map()} />
                <More pages={loads} shown={items.length} what={items.length === 1 ? 'load' : 'loads'} />
              </>
            )
          }
        </Shown>
      </Panel>
    </>
  );
}
