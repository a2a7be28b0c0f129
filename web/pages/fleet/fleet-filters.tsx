// The filters of the fleet. The address contains their values, so that a filtered list can be shared.

import { useState } from 'preact/hooks';
import { unwrapResponse } from '../../../src/client/client.ts';
import { deviceStatuses } from '../../../src/client/enum-values.ts';
import { ChoiceFilter, TextFilter } from '../../components/filter-field.tsx';
import { maxSelectorLength, selectorFault } from '../../components/label-selector.ts';
import { useResource } from '../../live/resource.ts';
import { navigate } from '../../navigation/location.ts';
import { withQuery } from '../../navigation/paths.ts';
import '../../components/filters.css';
import { useGroupNames } from '../../session/group-names.ts';
import { useSignedIn } from '../../session/session.tsx';
import {
  type FilterName,
  isNarrowed,
  labelsOf,
  requirementsOf,
  withFilter,
  withoutLabel,
  withoutRequirement,
  withSelector,
} from './fleet-filter.ts';

/** Maximum suggested modules and versions; others can be typed. */
const offeredLimit = 200;

export function FleetFilters({ query, hosts }: { readonly query: URLSearchParams; readonly hosts: readonly string[] }) {
  const { client } = useSignedIn();
  const groups = useGroupNames();
  const module = query.get('module') ?? '';
  const modules = useResource(
    'modules',
    async (signal) => unwrapResponse(await client.GET('/v1/modules', { params: { query: { limit: offeredLimit } }, signal })).items,
    { isRelevant: ({ action }) => action.startsWith('build.') },
  );
  const versions = useResource(module, async (signal) => {
    if (!(modules.data ?? []).some(({ name }) => name === module)) return [];
    const params = { path: { module }, query: { limit: offeredLimit } };
    return unwrapResponse(await client.GET('/v1/modules/{module}/builds', { params, signal })).items;
  });
  const go = (changed: URLSearchParams) => navigate(withQuery('/', changed), 'replace');
  const of = (name: FilterName) => ({ value: query.get(name) ?? '', onChange: (value: string) => go(withFilter(query, name, value)) });
  const labels = labelsOf(query);
  return (
    <>
      <search class="filters">
        <TextFilter label="Name begins with" placeholder="router-" {...of('name')} />
        <ChoiceFilter label="State" any="any" options={deviceStatuses} {...of('status')} />
        <ChoiceFilter label="Host" any="any" options={hosts} {...of('host')} />
        <TextFilter label="Module in memory" placeholder="tcp" offered={modules.data?.map(({ name }) => name) ?? []} {...of('module')} />
        <TextFilter
          label="Version in memory"
          placeholder="1.1.0"
          offered={versions.data?.map(({ version }) => version) ?? []}
          maxLength={256}
          {...of('version')}
        />
        <TextFilter label="Group" placeholder="north" offered={groups} {...of('group')} />
        <SelectorField onAdd={(selector) => go(withSelector(query, selector))} />
        <ChoiceFilter label="Order" any="by name" options={['createdAt']} {...of('sort')} />
      </search>
      {isNarrowed(query) && (
        <div class="chosen">
          {labels.map((label) => (
            <button key={label} type="button" onClick={() => go(withoutLabel(query, label))} aria-label={`Remove the label ${label}`}>
              {label} ×
            </button>
          ))}
          {requirementsOf(query).map((requirement) => (
            <button
              key={requirement}
              type="button"
              onClick={() => go(withoutRequirement(query, requirement))}
              aria-label={`Remove the requirement ${requirement}`}
            >
              {requirement} ×
            </button>
          ))}
          <button type="button" class="plain" onClick={() => navigate('/')}>
            Clear all filters
          </button>
        </div>
      )}
    </>
  );
}

function SelectorField({ onAdd }: { readonly onAdd: (selector: string) => void }) {
  const [text, setText] = useState('');
  const add = (event: Event) => {
    event.preventDefault();
    onAdd(text.trim());
    setText('');
  };
  return (
    <form onSubmit={add}>
      <label>
        <span>Label selector (press Enter)</span>
        <input
          autoComplete="off"
          spellcheck={false}
          placeholder="zone in (north,south),!beta"
          required
          maxLength={maxSelectorLength}
          value={text}
          onInput={({ currentTarget }) => {
            currentTarget.setCustomValidity(selectorFault(currentTarget.value) ?? '');
            setText(currentTarget.value);
          }}
        />
      </label>
    </form>
  );
}
