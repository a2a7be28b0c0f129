// /v1/events: operators follow what happens as it happens.

import type { AuditRecord } from '../audit-events/repository.ts';
import { DamagedItem, type DamagedRows, readOrMark } from '../database/damaged-rows.ts';
import { actorName, getCaller } from '../http/access.ts';
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
      // A HEAD would follow the events and have no use of them.
      exposeHeadRoute: false,
      config: { access: 'viewer' },
      schema: {
        operationId: 'streamEvents',
        tags: ['operations'],
        summary: 'Follow the events',
        description:
          'Server-sent events, one for each line of the audit trail, in order and each once: `event` its action, `data` an AuditEvent, `id` its number. ' +
          'The stream begins with the events after `Last-Event-ID`, or else after `after`, or else with those from now on, and goes on with those to come. ' +
          'A client that lost its stream misses nothing when it comes back with the last `id` that it has, as EventSource does by itself. ' +
          'A comment line comes at once, and after every 15 s without an event. The stream ends when the service stops, or when the key that it was asked for with is revoked.',
        querystring: eventQuery,
        headers: eventHeaders,
        response: {
          200: { description: 'The stream of events.', content: { 'text/event-stream': { schema: AuditEvent } } },
          ...problems('busy', 'pruned'),
        },
      },
    },
    async (request, reply) => {
      const { query, headers } = request;
      const stream = await eventStream(reply.raw, async (gone) => {
        // Read before the client is answered: what happens from then on is after it.
        const after = headers['last-event-id'] ?? query.after ?? (await events.lastNumber());
        await events.checkAvailable(after);
        const types = query.types ?? eventTypes;
        const followed = events.follow(after, [...new Set<EventType>([...types, 'key'])], gone);
        return serverSentEvents(untilRevoked(followed, actorName(getCaller(request))), types.includes('key'), damagedRows);
      });
      return sendRaw(reply.status(200).headers(eventStreamHeaders), stream);
    },
  );
}

/** The events up to that by which a key is of no use any more. */
async function* untilRevoked(events: AsyncIterable<AuditRecord>, key: string): AsyncGenerator<AuditRecord> {
  for await (const event of events) {
    yield event;
    if (event.action === 'key.revoked' && event.object === key) return;
  }
}

async function* serverSentEvents(
  events: AsyncIterable<AuditRecord>,
  withKeys: boolean,
  damagedRows: DamagedRows,
): AsyncGenerator<ServerSentEvent> {
  for await (const event of events) {
    if (!withKeys && event.action.startsWith('key.')) continue;
    const data = readOrMark(event, String(event.number), toAuditEvent);
    // One that is damaged is left out: it must not end the stream for all that come after it.
    if (data instanceof DamagedItem) damagedRows.record('audit event', data);
    else yield { id: event.number, event: event.action, data };
  }
}
