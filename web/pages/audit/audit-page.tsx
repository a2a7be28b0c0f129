// The audit trail: who did what, when, and how it ended, as it happens; and whether it is as it was written.

import { type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { auditOutcomes } from '../../../src/client/enum-values.ts';
import { type Pages, usePages } from '../../live/pages.ts';
import { useResource } from '../../live/resource.ts';
import { navigate, usePlace } from '../../navigation/location.ts';
import { withQuery } from '../../navigation/paths.ts';
import { ChoiceFilter, TextFilter } from '../../parts/filter-field.tsx';
import '../../parts/filters.css';
import { More } from '../../parts/more.tsx';
import { PageHead } from '../../parts/page-head.tsx';
import { Panel } from '../../parts/panel.tsx';
import { Shown } from '../../parts/shown.tsx';
import { TimeField } from '../../parts/time-field.tsx';
import { useSignedIn } from '../../session/session.tsx';
import { auditQueryOf, type FilterName, letsThrough, withFilter } from './audit-filter.ts';
import { EventsTable } from './events-table.tsx';
import { Verification } from './verification.tsx';

/** Hosts and keys that are known by name here. */
const nameLimit = 200;

export function AuditPage() {
  const { client, may } = useSignedIn();
  const { query } = usePlace();
  const asked = auditQueryOf(query);
  const events = usePages<Schemas['AuditEvent']>(
    JSON.stringify(asked),
    async (page, signal) => unwrapResponse(await client.GET('/v1/audit', { params: { query: { ...asked, ...page } }, signal })),
    { limit: 50, when: (event) => letsThrough(asked, event) },
  );
  const mayReadKeys = may('admin');
  const names = useResource('names', async (signal) => {
    const params = { query: { limit: nameLimit } };
    const [hosts, keys] = await Promise.all([
      client.GET('/v1/hosts', { params, signal }).then(unwrapResponse),
      mayReadKeys ? client.GET('/v1/keys', { params, signal }).then(unwrapResponse) : { items: [] },
    ]);
    return new Map([...hosts.items, ...keys.items].map(({ id, name }) => [id, name]));
  });
  const isNarrowed = Object.keys(asked).length > 0;
  return (
    <>
      <PageHead heading="Audit trail" />
      <Verification />
      <Panel heading="Events" note="newest first" actions={<Following query={query} events={events} />}>
        <Filters query={query} events={events} />
        <Shown resource={events} what="events">
          {(items) =>
            items.length === 0 ? (
              <p class="empty">
                {isNarrowed ? 'No event matches the filters. ' : 'No events yet.'}
                {isNarrowed && (
                  <button type="button" class="plain" onClick={() => navigate('/audit')}>
                    Show all events
                  </button>
                )}
              </p>
            ) : (
              <>
                <EventsTable events={items} names={names.data ?? new Map()} query={query} />
                <More pages={events} shown={items.length} what={items.length === 1 ? 'event' : 'events'} />
              </>
            )
          }
        </Shown>
      </Panel>
    </>
  );
}

type ListParts = { readonly query: URLSearchParams; readonly events: Pages<Schemas['AuditEvent']> };

/** What happens is shown as it happens, unless the list ends at a time: then it stands still. */
function Following({ query, events }: ListParts) {
  const isHeld = query.has('until');
  const newest = events.data?.[0];
  // After the newest that is shown, by the clock of the service.
  const after = () => new Date((newest === undefined ? Date.now() : Date.parse(newest.at)) + 1).toISOString();
  return (
    <>
      <span class="soft">{isHeld ? 'paused at a fixed end time' : 'updates live'}</span>
      <button type="button" onClick={() => navigate(withQuery('/audit', withFilter(query, 'until', isHeld ? '' : after())), 'replace')}>
        {isHeld ? 'Resume' : 'Pause'}
      </button>
    </>
  );
}

function Filters({ query, events }: ListParts) {
  const of = (name: FilterName) => ({
    value: query.get(name) ?? '',
    onChange: (value: string) => navigate(withQuery('/audit', withFilter(query, name, value)), 'replace'),
  });
  const offered = (name: 'action' | 'actor') => [...new Set((events.data ?? []).map((event) => event[name]))].toSorted();
  return (
    <search class="filters">
      <TextFilter label="Action" placeholder="load.completed" offered={offered('action')} {...of('action')} />
      <TextFilter label="Actor" placeholder="key_… or hst_…" offered={offered('actor')} {...of('actor')} />
      <TextFilter label="Object" placeholder="dev_…, lod_…" {...of('object')} />
      <TextFilter label="Request" placeholder="req_…" {...of('request')} />
      <ChoiceFilter label="Outcome" any="any" options={auditOutcomes} {...of('outcome')} />
      <TimeField label="From" {...of('from')} />
      <TimeField label="Until (exclusive)" {...of('until')} />
    </search>
  );
}
