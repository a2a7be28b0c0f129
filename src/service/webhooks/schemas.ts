// Schemas of webhooks.

import { z } from 'zod';
import { exampleTimes } from '../../protocol/examples.ts';
import { DisplayName, exampleIdentifier, GroupReference, LabelSelectorText } from '../../protocol/identifiers.ts';
import { eventTypes as eventKinds } from '../audit/event-feed.ts';
import { AuditEvent } from '../audit/schemas.ts';
import { count, identifier, pageQuery, pageSchema, timestamp } from '../http/common-schemas.ts';
import { orderQuery } from '../http/list-schemas.ts';
import { webhookFormats } from './messages.ts';

export const webhookParameter = z.object({ webhook: identifier('webhook') });

/** Limits of the content of a webhook. */
const limits = { eventTypes: 50, eventType: 64, url: 2_048, replayedEvents: 100 } as const;

const url = z.string().max(limits.url).describe('URL that the service posts each event to: `https` or `http`, without credentials.');
const eventType = z
  .string()
  .max(limits.eventType)
  .regex(/^(\*|[a-z-]+\.(\*|[a-z-]+))$/, 'must be an action such as load.completed, a kind such as load.*, or *')
  .refine(
    (type) => type === '*' || eventKinds.some((kind) => type.startsWith(`${kind}.`)),
    `must begin with a kind of event: ${eventKinds.join(', ')}`,
  );
const eventTypes = z
  .array(eventType)
  .min(1)
  .max(limits.eventTypes)
  .describe('Event types that are sent: actions such as `load.completed`, kinds such as `load.*`, or `*` for all.')
  .meta({ examples: [['load.completed', 'rollout.*']] });
const format = z.enum(webhookFormats).meta({
  id: 'WebhookFormat',
  description: 'Format of the messages: CloudEvents 1.0 in JSON, or a message for an incoming webhook of Slack or Microsoft Teams.',
});

const example = {
  name: 'fleet-events',
  url: 'https://example.com/hooks/patchbay',
  eventTypes: ['load.completed', 'rollout.*'],
  format: 'cloudevents' as const,
  enabled: true,
};

export const NewWebhook = z
  .strictObject({
    name: DisplayName.describe('Display name, unique among webhooks.'),
    url,
    eventTypes,
    selector: LabelSelectorText.optional().describe(
      'Only events about devices that match this label selector when the event is sent; with `group`, that match both. Default: events about any object.',
    ),
    group: GroupReference.optional().describe(
      'Identifier or name of a group. Only events about devices that are in the group when the event is sent.',
    ),
    format: format.default('cloudevents'),
    enabled: z.boolean().default(true).describe('Whether events are sent. A disabled webhook keeps its position.'),
  })
  .meta({ id: 'NewWebhook', examples: [example] });

const WebhookDelivery = z
  .object({
    status: z
      .enum(['delivering', 'failing', 'disabled'])
      .describe('`failing`: the last attempt failed. `disabled`: no events are sent.')
      .meta({ id: 'WebhookStatus' }),
    deliveredThrough: count.describe('Number of the last audit event that was delivered, parked, or is not for this webhook.'),
    lastDeliveredAt: timestamp.nullable(),
    failingSince: timestamp
      .nullable()
      .describe('When the first attempt failed since the last delivery. Null if the last attempt succeeded.'),
    lastError: z.string().nullable().describe('Why the last attempt failed. Null if it succeeded.'),
    attempts: count.describe('Failed attempts of the next event.'),
    nextAttemptAt: timestamp.nullable().describe('When the next event is attempted again. Null if it is not waiting.'),
    parkedEvents: count.describe('Number of events that were attempted for 24 hours without success.'),
    skipped: z
      .object({ after: count, through: count, at: timestamp })
      .nullable()
      .describe('The last gap: events after `after`, up to `through`, were pruned before they were sent. Null if there was none.'),
  })
  .meta({ id: 'WebhookDelivery', description: 'The progress of a webhook. Not covered by its `ETag`.' });

const webhookMembers = {
  id: identifier('webhook'),
  name: z.string(),
  url: z.string(),
  eventTypes: z.array(z.string()).describe('Event types that are sent.'),
  selector: z
    .string()
    .nullable()
    .describe('Only events about devices that match this label selector. Null, and without `group`: events about any object.'),
  group: z.string().nullable().describe('Identifier of the group: only events about its devices. Null if it has none.'),
  format,
  enabled: z.boolean(),
  disabledReason: z.string().nullable().describe('Why the service disabled the webhook. Null if it did not.'),
  previousSecretUntil: timestamp.nullable().describe('Until when the secret before the last rotation signs too. Null if there is none.'),
  createdAt: timestamp,
  createdBy: z.string(),
  delivery: WebhookDelivery,
};
const exampleWebhook = {
  id: exampleIdentifier('webhook'),
  ...example,
  selector: null,
  group: null,
  disabledReason: null,
  previousSecretUntil: null,
  createdAt: exampleTimes.registered,
  createdBy: exampleIdentifier('key'),
  delivery: {
    status: 'delivering' as const,
    deliveredThrough: 16,
    lastDeliveredAt: exampleTimes.completed,
    failingSince: null,
    lastError: null,
    attempts: 0,
    nextAttemptAt: null,
    parkedEvents: 0,
    skipped: null,
  },
};

export const Webhook = z.object(webhookMembers).meta({
  id: 'Webhook',
  description: 'An endpoint that audit events are sent to, in order. An event can arrive more than once.',
  examples: [exampleWebhook],
});
export const WebhookPage = pageSchema('WebhookPage', Webhook);
export const webhookQuery = z.strictObject({ ...pageQuery, ...orderQuery });

export const CreatedWebhook = z
  .object({
    ...webhookMembers,
    secret: z.string().describe('The secret that signs the messages (Standard Webhooks). Shown only once.'),
  })
  .meta({
    id: 'CreatedWebhook',
    description: 'A webhook with its secret.',
    examples: [{ ...exampleWebhook, secret: `whsec_${'A'.repeat(43)}=` }],
  });

export const WebhookTest = z
  .object({
    delivered: z.boolean(),
    event: z.string().describe('Identifier of the test event: the header `webhook-id`.'),
    status: z.int().nullable().describe('HTTP status of the response. Null if there was none.'),
    error: z.string().nullable().describe('Why the event was not delivered. Null if it was.'),
    milliseconds: count.describe('Duration of the attempt.'),
  })
  .meta({
    id: 'WebhookTest',
    description: 'The result of a test event.',
    examples: [{ delivered: true, event: 'evt_test_01a207bda9c07b1e9d2f4c6a8b0d1e2f', status: 204, error: null, milliseconds: 38 }],
  });

export const WebhookReplay = z
  .strictObject({
    parked: z.literal('all').optional().describe('Sends all parked events once each. Give this, `events` or `after`.'),
    events: z
      .array(z.int().min(1))
      .min(1)
      .max(limits.replayedEvents)
      .optional()
      .describe('Sends these parked events, by number, once each. Give this, `parked` or `after`.'),
    after: count
      .optional()
      .describe(
        'Continues after the audit event with this number: later events are sent, again if they were sent before. 0: after the first.',
      ),
  })
  .refine(
    ({ parked, events, after }) => [parked, events, after].filter((one) => one !== undefined).length === 1,
    'give exactly one of parked, events and after',
  )
  .refine(({ events = [] }) => new Set(events).size === events.length, { path: ['events'], message: 'contains a number twice' })
  .meta({ id: 'WebhookReplay', minProperties: 1, examples: [{ parked: 'all' }] });

export const RequestedReplay = z
  .object({ webhook: Webhook, parkedEvents: count.describe('Number of parked events that will be sent.') })
  .meta({
    id: 'RequestedReplay',
    description: 'A webhook whose events will be sent again.',
    examples: [{ webhook: exampleWebhook, parkedEvents: 2 }],
  });

/** The number of an event sorts its parked events. */
export const parkedEventQuery = z.strictObject({ ...pageQuery, ...orderQuery });

export const ParkedEvent = z
  .object({
    number: z.int().positive().describe('Number of the audit event.'),
    event: z.string().describe('Identifier of the event: the header `webhook-id`.'),
    action: z.string(),
    attempts: count.describe('Number of failed attempts, with those of replays.'),
    firstAttemptAt: timestamp,
    parkedAt: timestamp,
    lastError: z.string(),
    replayRequestedAt: timestamp.nullable().describe('When a replay was requested that was not attempted yet. Null if there is none.'),
    data: AuditEvent.describe('The audit event. Remains when the event is pruned from the trail.'),
  })
  .meta({
    id: 'ParkedEvent',
    description: 'An event that could not be delivered within 24 hours.',
    examples: [
      {
        number: 16,
        event: 'evt_16_9f2b6c1d8e4a7053',
        action: 'load.completed',
        attempts: 31,
        firstAttemptAt: exampleTimes.completed,
        parkedAt: exampleTimes.faulted,
        lastError: 'the receiver responded with 503',
        replayRequestedAt: null,
        data: z.array(AuditEvent).parse(AuditEvent.meta()?.['examples'])[0],
      },
    ],
  });
export const ParkedEventPage = pageSchema('ParkedEventPage', ParkedEvent);

/** A parked event as stored. */
export const StoredParkedEvent = z.object({ id: z.string(), data: AuditEvent });
