// All loads, newest first, with filters.

import { useRef } from 'preact/hooks';
import { type Client, type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { loadStates, outcomes } from '../../../src/client/enum-values.ts';
import type { paths } from '../../../src/client/generated/api.ts';
import { ChoiceFilter, TextFilter } from '../../components/filter-field.tsx';
import { maxSelectorLength, selectorFault } from '../../components/label-selector.ts';
import { usePages } from '../../live/pages.ts';
import { navigate, useLocation } from '../../navigation/location.ts';
import { withQuery } from '../../navigation/paths.ts';
import '../../components/filters.css';
import { ListEnd } from '../../components/list-end.tsx';
import { LoadsTable } from '../../components/loads-table.tsx';
import { PageHead } from '../../components/page-head.tsx';
import { Panel } from '../../components/panel.tsx';
import { ResourceView } from '../../components/resource-view.tsx';
import { useGroupNames } from '../../session/group-names.ts';
import { useSignedIn } from '../../session/session.tsx';

type LoadsQuery = NonNullable<paths['/v1/loads']['get']['parameters']['query']>;
const texts = ['module', 'version', 'device', 'batch', 'group'] as const;
type FilterName = (typeof texts)[number] | 'state' | 'outcome' | 'selector';
/** A load with the name of its device; null if the device no longer exists. */
type NamedLoad = Schemas['Load'] & { readonly deviceName: string | null };
/** Loads per page, and maximum devices that one request names. */
const pageLimit = 100;
/** Maximum device names cached. */
const maxCachedNames = 10_000;

function loadsQueryOf(query: URLSearchParams): LoadsQuery {
  const state = loadStates.find((one) => one === query.get('state'));
  const outcome = outcomes.find((one) => one === query.get('outcome'));
  const given = texts.flatMap((name) => ((query.get(name) ?? '') === '' ? [] : [[name, query.get(name) ?? ''] as const]));
  const selector = query.get('selector') ?? '';
  const isSelector = selector !== '' && selectorFault(selector) === null;
  return {
    ...Object.fromEntries(given),
    ...(isSelector ? { selector } : {}),
    ...(state === undefined ? {} : { state }),
    ...(outcome === undefined ? {} : { outcome }),
  };
}

/** Requests the unknown device names of a page of loads. */
async function fetchDeviceNames(
  client: Client,
  names: Map<string, string>,
  loads: readonly Schemas['Load'][],
  signal: AbortSignal,
): Promise<void> {
  if (names.size > maxCachedNames) names.clear();
  const unknown = [...new Set(loads.map(({ device }) => device))].filter((device) => !names.has(device));
  if (unknown.length === 0) return;
  const params = { query: { id: unknown, limit: pageLimit } };
  for (const { id, name } of unwrapResponse(await client.GET('/v1/devices', { params, signal })).items) names.set(id, name);
}

export function LoadsPage() {
  const { client } = useSignedIn();
  const { query } = useLocation();
  const groups = useGroupNames();
  const asked = loadsQueryOf(query);
  /** Device names never change. */
  const names = useRef(new Map<string, string>());
  const loads = usePages<NamedLoad>(
    JSON.stringify(asked),
    async (page, signal) => {
      const { items, ...rest } = unwrapResponse(await client.GET('/v1/loads', { params: { query: { ...asked, ...page } }, signal }));
      await fetchDeviceNames(client, names.current, items, signal);
      return { items: items.map((load) => ({ ...load, deviceName: names.current.get(load.device) ?? null })), ...rest };
    },
    { limit: pageLimit, isRelevant: ({ action }) => action.startsWith('load.') },
  );
  const of = (name: FilterName) => ({
    value: query.get(name) ?? '',
    onChange: (value: string) => {
      const changed = new URLSearchParams(query);
      if (value === '') changed.delete(name);
      else changed.set(name, value);
      navigate(withQuery('/loads', changed), 'replace');
    },
  });
  const selector = query.get('selector') ?? '';
  const fault = selector === '' ? null : selectorFault(selector);
  const isNarrowed = Object.keys(asked).length > 0;
  return (
    <>
      <PageHead heading="Loads" note={<a href="/load-batches">requests for several devices</a>} />
      <Panel heading="Loads" note="newest first">
        <search class="filters">
          <ChoiceFilter label="State" any="any" options={loadStates} {...of('state')} />
          <ChoiceFilter label="Outcome" any="any" options={outcomes} {...of('outcome')} />
          <TextFilter label="Module" placeholder="tcp" {...of('module')} />
          <TextFilter label="Version" placeholder="1.1.0" maxLength={256} {...of('version')} />
          <TextFilter label="Device" placeholder="router-7" {...of('device')} />
          <TextFilter label="Group" placeholder="north" offered={groups} {...of('group')} />
          <TextFilter label="Label selector" placeholder="zone in (north,south)" maxLength={maxSelectorLength} {...of('selector')} />
          <TextFilter label="Request" placeholder="bat_…" {...of('batch')} />
        </search>
        {fault !== null && (
          <p class="error-message" role="alert">
            Invalid label selector: {fault}
          </p>
        )}
        <ResourceView resource={loads} what="loads">
          {(items) =>
            items.length === 0 ? (
              <p class="empty">
                {isNarrowed ? 'No load matches the filters. ' : 'No loads yet. Open a device to load a build.'}
                {isNarrowed && (
                  <button type="button" class="plain" onClick={() => navigate('/loads')}>
                    Show all loads
                  </button>
                )}
              </p>
            ) : (
              <>
                <LoadsTable loads={items} deviceNameOf={({ deviceName }) => deviceName} />
                <ListEnd pages={loads} shown={items.length} what={items.length === 1 ? 'load' : 'loads'} />
              </>
            )
          }
        </ResourceView>
      </Panel>
    </>
  );
}
