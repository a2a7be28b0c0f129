// Schemas of the event stream.

import { z } from 'zod';
import { lastEventId, numberQuery } from '../http/list-schemas.ts';
import { eventTypes } from './event-feed.ts';

const eventType = z.enum(eventTypes).meta({ id: 'EventType' });
export const eventQuery = z.strictObject({
  types: z
    .union([eventType.transform((one) => [one]), z.array(eventType).max(16)], `must be one of ${eventTypes.join(', ')}`)
    .optional()
    .describe('Only events of this type: the part of the action before the dot. Repeatable. Default: all types.')
    .meta({ 'x-examples': { loads: { value: ['load'] } } }),
  after: numberQuery.optional().describe('Only events with a higher number. 0: all stored events.'),
});
/** Accepts other headers. */
export const eventHeaders = z.looseObject({
  'last-event-id': lastEventId
    .optional()
    .describe('The `id` of the last event that the client received. The stream continues after it; takes precedence over `after`.'),
});
