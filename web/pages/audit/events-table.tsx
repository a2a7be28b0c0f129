// The table of audit events with expandable details.

import type { ComponentChildren } from 'preact';
import type { Schemas } from '../../../src/client/client.ts';
import { Badge, type Tone } from '../../components/badge.tsx';
import { countText } from '../../components/numbers.ts';
import { ObjectName, shortened } from '../../components/object-name.tsx';
import { Table } from '../../components/table.tsx';
import { Timestamp } from '../../components/times.tsx';
import { buildPath, devicePath, loadPath, rolloutPath, withQuery } from '../../navigation/paths.ts';
import { type FilterName, withFilter } from './audit-filter.ts';
import './events-table.css';

type Event = Schemas['AuditEvent'];
type Parts = {
  readonly events: readonly Event[];
  /** Known names by ID. */
  readonly names: ReadonlyMap<string, string>;
  readonly query: URLSearchParams;
};

const tones: Readonly<Record<Event['outcome'], Tone>> = { succeeded: 'good', refused: 'warn', failed: 'bad' };
/** Details shown before a row is expanded. */
const summaryMembers = 3;
/** Maximum characters of each such value. */
const summaryValueLength = 40;

export function EventsTable({ events, names, query }: Parts) {
  const only = (name: FilterName, value: string, children: ComponentChildren) => (
    <a href={withQuery('/audit', withFilter(query, name, value))} title={`Only events with this ${name}`}>
      {children}
    </a>
  );
  return (
    <div class="events">
      <Table
        caption="Events"
        rows={events}
        keyOf={({ number }) => String(number)}
        columns={[
          {
            heading: 'Event',
            cell: ({ number, at }) => (
              <span class="event">
                <strong>{countText(number)}</strong> <Timestamp at={at} />
              </span>
            ),
          },
          { heading: 'Action', cell: ({ action }) => <span class="code">{only('action', action, action)}</span> },
          { heading: 'Object', cell: (event) => <ObjectOf event={event} names={names} /> },
          { heading: 'Actor', cell: ({ actor }) => only('actor', actor, <ObjectName id={actor} names={names} />) },
          { heading: 'Outcome', cell: ({ outcome }) => <Badge tone={tones[outcome]}>{outcome}</Badge> },
          { heading: 'Details', isWide: true, cell: (event) => <Detail event={event} only={only} /> },
        ]}
      />
    </div>
  );
}

function ObjectOf({ event, names }: { readonly event: Event; readonly names: Parts['names'] }) {
  const { object } = event;
  const path = pathOf(event);
  const name = <ObjectName id={object} names={names} />;
  return path === null ? name : <a href={path}>{name}</a>;
}

/** Returns the path of the object's page; null if it has none. */
function pathOf({ object, action, detail }: Event): string | null {
  if (object.startsWith('dev_') && action !== 'device.removed') return devicePath(object);
  if (object.startsWith('lod_')) return loadPath(object);
  if (object.startsWith('rol_')) return rolloutPath(object);
  const { module, version } = detail;
  return object.startsWith('bld_') && typeof module === 'string' && typeof version === 'string' ? buildPath(module, version) : null;
}

type DetailParts = {
  readonly event: Event;
  readonly only: (name: FilterName, value: string, children: ComponentChildren) => ComponentChildren;
};

function Detail({ event: { number, object, request, detail, previous, hash }, only }: DetailParts) {
  const members = Object.entries(detail);
  return (
    <details>
      <summary>
        <span class="unseen">Event {number}: </span>
        {summaryOf(members)}
      </summary>
      <dl class="facts">
        {members.map(([name, value]) => (
          <Fact key={name} term={name}>
            {valueText(value)}
          </Fact>
        ))}
        <Fact term="object">{only('object', object, object)}</Fact>
        {request !== null && <Fact term="request">{only('request', request, request)}</Fact>}
        <Fact term="hash">{hash}</Fact>
        <Fact term="previous hash">{previous ?? 'none (first event)'}</Fact>
      </dl>
    </details>
  );
}

function Fact({ term, children }: { readonly term: string; readonly children: ComponentChildren }) {
  return (
    <>
      <dt>{term}</dt>
      <dd>
        <code>{children}</code>
      </dd>
    </>
  );
}

type Value = Event['detail'][string];

function summaryOf(members: readonly (readonly [string, Value])[]): string {
  const shown = members.filter(([, value]) => value !== null && typeof value !== 'object').slice(0, summaryMembers);
  return shown.map(([name, value]) => `${name} ${cut(shortened(String(value)))}`).join(', ') || 'more';
}

const cut = (text: string) => (text.length <= summaryValueLength ? text : `${text.slice(0, summaryValueLength - 1)}…`);

function valueText(value: Value): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}
