// The stream of events in the API.

import { z } from 'zod';
import { lastEventId, numberQuery } from '../http/list-schemas.ts';
import { eventTypes } from './event-feed.ts';

const eventType = z.enum(eventTypes).meta({ id: 'EventType' });
export const eventQuery = z.strictObject({
  types: z
    .union([eventType.transform((one) => [one]), z.array(eventType).max(16)], `must be one of ${eventTypes.join(', ')}`)
    .optional()
    .describe('Only events whose action begins with this and a dot; may be repeated. Without it, all of them.')
    .meta({ 'x-examples': { loads: { value: ['load'] } } }),
  after: numberQuery.optional().describe('Only events with a greater number; 0 for all that there are.'),
});
/** Other headers are not its business. */
export const eventHeaders = z.looseObject({
  'last-event-id': lastEventId
    .optional()
    .describe('The `id` of the last event that the client has: the stream goes on after it, whatever `after` says.'),
});
