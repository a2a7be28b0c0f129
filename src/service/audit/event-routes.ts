// /v1/events: streams the events of the audit trail.

import type { AuditRecord } from '../audit-events/repository.ts';
import { DamagedItem, type DamagedRows, readOrMark } from '../database/damaged-rows.ts';
import { actorName, type Caller, getCaller } from '../http/access.ts';
import { problems } from '../http/problem-schemas.ts';
import { type Api, sendRaw } from '../http/route.ts';
import { eventStream, eventStreamHeaders, type ServerSentEvent } from '../http/server-sent-events.ts';
import { type EventFeed, type EventType, eventTypes } from './event-feed.ts';
import { eventHeaders, eventQuery } from './event-schemas.ts';
import { toAuditEvent } from './routes.ts';
import { AuditEvent } from './schemas.ts';

type Uses = { readonly events: EventFeed; readonly damagedRows: DamagedRows };

export function addEventRoutes(app: Api, { events, damagedRows }: Uses): void {
  app.get(
    '/v1/events',
    {
      // HEAD would open a stream that sends no body.
      exposeHeadRoute: false,
      config: { access: 'viewer' },
      schema: {
        operationId: 'streamEvents',
        tags: ['operations'],
        summary: 'Stream events',
        description:
          'Streams each audit event once, in order, as a server-sent event: `event` is its action, `data` an AuditEvent, `id` its number. ' +
          'The stream starts after `Last-Event-ID`, otherwise after `after`, otherwise with the next new event, and continues with new events. ' +
          'A client that reconnects with the last `id` that it received, as EventSource does, misses no event. ' +
          'A comment line is sent at once and after each 15 s without an event. The stream ends when the service stops or the API key is revoked.',
        querystring: eventQuery,
        headers: eventHeaders,
        response: {
          200: { description: 'The event stream.', content: { 'text/event-stream': { schema: AuditEvent } } },
          ...problems('busy', 'pruned'),
        },
      },
    },
    async (request, reply) => {
      const { query, headers } = request;
      const stream = await eventStream(request, reply.raw, async (closed) => {
        // Read before the response starts, so that all later events are in the stream.
        const after = headers['last-event-id'] ?? query.after ?? (await events.lastNumber());
        await events.checkAvailable(after);
        const types = query.types ?? eventTypes;
        const followed = events.follow(after, [...new Set<EventType>([...types, 'key', 'user'])], closed);
        return serverSentEvents(untilSignedOut(followed, getCaller(request)), types, damagedRows);
      });
      return sendRaw(reply.status(200).headers(eventStreamHeaders), stream);
    },
  );
}

/** Yields the events up to and including the one that revokes the key, or signs the user out. */
async function* untilSignedOut(events: AsyncIterable<AuditRecord>, caller: Caller): AsyncGenerator<AuditRecord> {
  const ending = caller.kind === 'user' ? 'user.signed-out' : 'key.revoked';
  for await (const event of events) {
    yield event;
    if (event.action === ending && event.object === actorName(caller)) return;
  }
}

async function* serverSentEvents(
  events: AsyncIterable<AuditRecord>,
  types: readonly EventType[],
  damagedRows: DamagedRows,
): AsyncGenerator<ServerSentEvent> {
  for await (const event of events) {
    if (!types.some((type) => event.action.startsWith(`${type}.`))) continue;
    const data = readOrMark(event, String(event.number), toAuditEvent);
    // A damaged event is left out, so that it does not end the stream.
    if (data instanceof DamagedItem) damagedRows.record('audit event', data);
    else yield { id: event.number, event: event.action, data };
  }
}
