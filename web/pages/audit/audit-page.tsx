// The audit page: live events with filters, and verification of the audit trail.

import { type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { auditOutcomes } from '../../../src/client/enum-values.ts';
import { ChoiceFilter, TextFilter } from '../../components/filter-field.tsx';
import { type Pages, usePages } from '../../live/pages.ts';
import { navigate, useLocation } from '../../navigation/location.ts';
import { withQuery } from '../../navigation/paths.ts';
import '../../components/filters.css';
import { ListEnd } from '../../components/list-end.tsx';
import { PageHead } from '../../components/page-head.tsx';
import { Panel } from '../../components/panel.tsx';
import { ResourceView } from '../../components/resource-view.tsx';
import { TimeField } from '../../components/time-field.tsx';
import { useActorNames } from '../../session/names.ts';
import { useSignedIn } from '../../session/session.tsx';
import { auditQueryOf, type FilterName, matchesFilter, withFilter } from './audit-filter.ts';
import { EventsTable } from './events-table.tsx';
import { Verification } from './verification.tsx';

export function AuditPage() {
  const { mayAcrossFleet } = useSignedIn();
  if (mayAcrossFleet('viewer')) return <AuditTrail />;
  return (
    <>
      <PageHead heading="Audit trail" />
      <p class="empty">The audit trail is about the whole fleet. Keys and users with a scope cannot read it.</p>
    </>
  );
}

function AuditTrail() {
  const { client } = useSignedIn();
  const { query } = useLocation();
  const asked = auditQueryOf(query);
  const events = usePages<Schemas['AuditEvent']>(
    JSON.stringify(asked),
    async (page, signal) => unwrapResponse(await client.GET('/v1/audit', { params: { query: { ...asked, ...page } }, signal })),
    { limit: 50, isRelevant: (event) => matchesFilter(asked, event) },
  );
  const names = useActorNames();
  const isNarrowed = Object.keys(asked).length > 0;
  return (
    <>
      <PageHead heading="Audit trail" />
      <Verification />
      <Panel heading="Events" note="newest first" actions={<Following query={query} events={events} />}>
        <Filters query={query} events={events} />
        <ResourceView resource={events} what="events">
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
                <EventsTable events={items} names={names} query={query} />
                <ListEnd pages={events} shown={items.length} what={items.length === 1 ? 'event' : 'events'} />
              </>
            )
          }
        </ResourceView>
      </Panel>
    </>
  );
}

type ListParts = { readonly query: URLSearchParams; readonly events: Pages<Schemas['AuditEvent']> };

/** Pauses the list at a fixed end time, or resumes live updates. */
function Following({ query, events }: ListParts) {
  const isHeld = query.has('until');
  const newest = events.data?.[0];
  // Just after the newest event shown, by the service's clock.
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
