// Whether an audit trail is whole: every event is there, and time does not run backwards.

import type { Schemas } from '../client/client.ts';

type Event = Schemas['AuditEvent'];

/** What is known of a trail: how many events are good, and the first that is not, with why. */
export type Verification = { readonly events: number; readonly bad: { readonly event: Event; readonly why: string } | null };

/** Looks at the events from the first on, which has the number 1, up to the first that is bad. */
export async function verifyTrail(events: AsyncIterable<Event>): Promise<Verification> {
  let before: Event | null = null;
  let count = 0;
  for await (const event of events) {
    const why = faultOf(event, before);
    if (why !== null) return { events: count, bad: { event, why } };
    before = event;
    count++;
  }
  return { events: count, bad: null };
}

function faultOf({ number, at }: Event, before: Event | null): string | null {
  const expected = (before?.number ?? 0) + 1;
  if (number !== expected) return `its number should be ${expected}: events are missing before it, or it is there twice`;
  if (Number.isNaN(Date.parse(at))) return `its time, "${at}", is none`;
  if (before !== null && Date.parse(at) < Date.parse(before.at)) return `it is of ${at}, earlier than the event before it (${before.at})`;
  return null;
}
