// Routes under /v1/webhooks: administrators define where events are sent, and see whether they arrive.

import { z } from 'zod';
import type { DamagedRows } from '../database/damaged-rows.ts';
import type { ParkedEventModel } from '../database/generated/models.ts';
import { computeEntityTag, ifMatchHeaders, matchesIfMatch } from '../http/entity-tags.ts';
import { parsePageByNumber, parsePageByTime, sendPage } from '../http/pages.ts';
import { postProblems, problems } from '../http/problem-schemas.ts';
import { type Api, type CreatedResponse, getRequester, toStoredResponse } from '../http/route.ts';
import type { WebhookRecord } from './repository.ts';
import {
  CreatedWebhook,
  NewWebhook,
  ParkedEvent,
  ParkedEventPage,
  parkedEventQuery,
  RequestedReplay,
  StoredParkedEvent,
  Webhook,
  WebhookPage,
  WebhookReplay,
  WebhookTest,
  webhookParameter,
  webhookQuery,
} from './schemas.ts';
import type { Replay, WebhookRequest, Webhooks, WebhookView, WebhookWithSecret } from './webhooks.ts';

const tags = ['webhooks'];

type Uses = { readonly webhooks: Webhooks; readonly damagedRows: DamagedRows };

export function addWebhookRoutes(app: Api, uses: Uses): void {
  addSecretRoutes(app, uses);
  addReadingRoutes(app, uses);
  addChangingRoutes(app, uses);
  addDeliveryRoutes(app, uses);
}

function addSecretRoutes(app: Api, { webhooks }: Uses): void {
  app.post(
    '/v1/webhooks',
    {
      config: { access: 'admin', respondsWithSecret: true },
      schema: {
        operationId: 'createWebhook',
        tags,
        summary: 'Create a webhook',
        description:
          'The service posts each matching audit event that follows to the URL, in order, and signed according to Standard Webhooks. An event can arrive more than once, with the same `webhook-id`. ' +
          'A response with status 2xx confirms an event. Other events wait until an event is confirmed, or parked after 24 hours of attempts. ' +
          'The response contains the secret, which is shown only once.',
        body: NewWebhook,
        response: { 201: CreatedWebhook.describe('The webhook was created.'), ...postProblems('name-taken', 'too-many-webhooks') },
      },
    },
    async (request, reply) => {
      const created = await webhooks.create(toRequest(request.body), getRequester(request), (created) =>
        toStoredResponse(toCreated(created)),
      );
      const { status, location, body } = toCreated(created);
      return reply.status(status).header('location', location).header('cache-control', 'no-store').send(body);
    },
  );

  app.post(
    '/v1/webhooks/:webhook/rotate-secret',
    {
      config: { access: 'admin', respondsWithSecret: true },
      schema: {
        operationId: 'rotateWebhookSecret',
        tags,
        summary: 'Rotate the secret of a webhook',
        description:
          'Returns a new secret, which is shown only once. For 24 hours, messages have a signature of the previous secret too, so that receivers can change the secret in that time.',
        params: webhookParameter,
        response: { 201: CreatedWebhook.describe('The webhook with its new secret.'), ...postProblems('not-found') },
      },
    },
    async (request, reply) => {
      const rotated = await webhooks.rotateSecret(request.params.webhook, getRequester(request), (created) =>
        toStoredResponse(toCreated(created)),
      );
      const { status, location, body } = toCreated(rotated);
      return reply.status(status).header('location', location).header('cache-control', 'no-store').send(body);
    },
  );
}

function addReadingRoutes(app: Api, { webhooks, damagedRows }: Uses): void {
  app.get(
    '/v1/webhooks',
    {
      config: { access: 'admin' },
      schema: {
        operationId: 'listWebhooks',
        tags,
        summary: 'List webhooks',
        querystring: webhookQuery,
        response: { 200: WebhookPage.describe('A page of webhooks, sorted by `createdAt`.'), ...problems() },
      },
    },
    async (request, reply) => {
      const page = await webhooks.list(parsePageByTime(request));
      return sendPage(request, reply, page, { kind: 'webhook', schema: Webhook, idOf: ({ id }) => id, toItem: toWebhook, damagedRows });
    },
  );

  app.get(
    '/v1/webhooks/:webhook',
    {
      config: { access: 'admin' },
      schema: {
        operationId: 'getWebhook',
        tags,
        summary: 'Get a webhook',
        description:
          'The response has an `ETag` of all members except `delivery`. Send it as `If-Match` to replace or delete the webhook only if it has not changed.',
        params: webhookParameter,
        response: { 200: Webhook.describe('The webhook, with the progress of its deliveries.'), ...problems('not-found') },
      },
    },
    async ({ params }, reply) => {
      const webhook = await webhooks.find(params.webhook);
      return reply.header('etag', etagOf(webhook)).send(toWebhook(webhook));
    },
  );
}

function addChangingRoutes(app: Api, { webhooks }: Uses): void {
  app.put(
    '/v1/webhooks/:webhook',
    {
      config: { access: 'admin' },
      schema: {
        operationId: 'replaceWebhook',
        tags,
        summary: 'Replace a webhook',
        description:
          'Replaces the content of the webhook atomically. Its secret, position and parked events remain, and an attempt that waits is due at once. ' +
          'With `If-Match`, the request fails with 412 if the webhook has changed since it was read.',
        params: webhookParameter,
        headers: ifMatchHeaders,
        body: NewWebhook,
        response: {
          200: Webhook.describe('The new webhook, with its `ETag`.'),
          ...problems('not-found', 'precondition-failed', 'name-taken', 'too-large', 'unsupported-media-type'),
        },
      },
    },
    async (request, reply) => {
      const isExpected = (current: WebhookRecord) => matchesIfMatch(request.headers, etagOf(current));
      const replaced = await webhooks.replace(request.params.webhook, toRequest(request.body), isExpected, getRequester(request));
      return reply.header('etag', etagOf(replaced)).send(toWebhook(replaced));
    },
  );

  app.delete(
    '/v1/webhooks/:webhook',
    {
      config: { access: 'admin' },
      schema: {
        operationId: 'deleteWebhook',
        tags,
        summary: 'Delete a webhook',
        description:
          'Deletes the webhook with its parked events. With `If-Match`, the request fails with 412 if the webhook has changed since it was read.',
        params: webhookParameter,
        headers: ifMatchHeaders,
        response: { 204: z.null().describe('The webhook was deleted.'), ...problems('not-found', 'precondition-failed') },
      },
    },
    async (request, reply) => {
      const isExpected = (current: WebhookRecord) => matchesIfMatch(request.headers, etagOf(current));
      await webhooks.remove(request.params.webhook, isExpected, getRequester(request));
      return reply.status(204).send(null);
    },
  );
}

function addDeliveryRoutes(app: Api, { webhooks, damagedRows }: Uses): void {
  app.post(
    '/v1/webhooks/:webhook/test',
    {
      config: { access: 'admin' },
      schema: {
        operationId: 'testWebhook',
        tags,
        summary: 'Send a test event',
        description: 'Sends the event `webhook.test` now, once, even if the webhook is disabled, and returns the result.',
        params: webhookParameter,
        response: { 200: WebhookTest.describe('The result of the attempt.'), ...postProblems('not-found') },
      },
    },
    async (request) => {
      const attempt = await webhooks.test(request.params.webhook, getRequester(request));
      const { event, status, milliseconds } = attempt;
      const error = attempt.result === 'failed' ? attempt.reason : null;
      return { delivered: error === null, event, status, error, milliseconds };
    },
  );

  app.post(
    '/v1/webhooks/:webhook/replay',
    {
      config: { access: 'admin' },
      schema: {
        operationId: 'replayWebhook',
        tags,
        summary: 'Replay events',
        description:
          'Sends events again, in the background. A parked event is sent once: if that fails, it remains parked. ' +
          'With `after`, the webhook continues after that event: receivers see events that they know by the same `webhook-id`.',
        params: webhookParameter,
        body: WebhookReplay,
        response: { 202: RequestedReplay.describe('The replay was requested.'), ...postProblems('not-found', 'pruned') },
      },
    },
    async (request, reply) => {
      const requested = await webhooks.replay(request.params.webhook, toReplay(request.body), getRequester(request));
      return reply.status(202).send({ webhook: toWebhook(requested.webhook), parkedEvents: requested.parkedEvents });
    },
  );

  app.get(
    '/v1/webhooks/:webhook/parked-events',
    {
      config: { access: 'admin' },
      schema: {
        operationId: 'listParkedEvents',
        tags,
        summary: 'List parked events',
        params: webhookParameter,
        querystring: parkedEventQuery,
        response: { 200: ParkedEventPage.describe('A page of parked events, sorted by number.'), ...problems('not-found') },
      },
    },
    async (request, reply) => {
      const page = await webhooks.parkedEvents(request.params.webhook, parsePageByNumber(request));
      const listing = { kind: 'parked event', schema: ParkedEvent, idOf: idOfParked, toItem: toParkedEvent, damagedRows };
      return sendPage(request, reply, page, listing);
    },
  );
}

function toRequest(body: z.infer<typeof NewWebhook>): WebhookRequest {
  const { enabled, selector = null, group = null, ...rest } = body;
  return { ...rest, selector, group, isEnabled: enabled };
}

function toReplay({ parked, events, after = 0 }: z.infer<typeof WebhookReplay>): Replay {
  if (parked !== undefined) return { parked };
  return events === undefined ? { after } : { parked: events };
}

function toCreated({ webhook, secret }: WebhookWithSecret): CreatedResponse<201, z.infer<typeof CreatedWebhook>> {
  return { status: 201, location: `/v1/webhooks/${webhook.id}`, body: { ...toWebhook(webhook), secret } };
}

/** Returns the ETag of a webhook; it does not change with its deliveries. */
function etagOf(webhook: WebhookRecord): string {
  return computeEntityTag(toContent(webhook));
}

function toContent(webhook: WebhookRecord) {
  const { id, name, url, eventTypes, selector, groupId, format, isEnabled, disabledReason } = webhook;
  const { previousSecretUntil, createdAt, createdBy } = webhook;
  return {
    id,
    name,
    url,
    eventTypes: [...eventTypes],
    selector,
    group: groupId,
    format: Webhook.shape.format.parse(format),
    enabled: isEnabled,
    disabledReason,
    previousSecretUntil: previousSecretUntil?.toISOString() ?? null,
    createdAt: createdAt.toISOString(),
    createdBy,
  };
}

function toWebhook(webhook: WebhookView): z.infer<typeof Webhook> {
  return { ...toContent(webhook), delivery: toDelivery(webhook) };
}

function toDelivery(webhook: WebhookView): z.infer<typeof Webhook>['delivery'] {
  const { isEnabled, failingSince, skippedAfter, skippedThrough, skippedAt } = webhook;
  const enabledStatus = failingSince === null ? 'delivering' : 'failing';
  const hasGap = skippedAfter !== null && skippedThrough !== null && skippedAt !== null;
  return {
    status: isEnabled ? enabledStatus : 'disabled',
    deliveredThrough: webhook.cursor,
    lastDeliveredAt: webhook.lastDeliveredAt?.toISOString() ?? null,
    failingSince: failingSince?.toISOString() ?? null,
    lastError: webhook.lastError,
    attempts: webhook.attempts,
    nextAttemptAt: webhook.nextAttemptAt?.toISOString() ?? null,
    parkedEvents: webhook.parked,
    skipped: hasGap ? { after: skippedAfter, through: skippedThrough, at: skippedAt.toISOString() } : null,
  };
}

const idOfParked = ({ number }: ParkedEventModel) => String(number);

function toParkedEvent(parked: ParkedEventModel): z.infer<typeof ParkedEvent> {
  const { id: event, data } = StoredParkedEvent.parse(parked.event);
  const { number, attempts, firstAttemptAt, parkedAt, lastError, replayRequestedAt } = parked;
  return {
    number,
    event,
    action: data.action,
    attempts,
    firstAttemptAt: firstAttemptAt.toISOString(),
    parkedAt: parkedAt.toISOString(),
    lastError,
    replayRequestedAt: replayRequestedAt?.toISOString() ?? null,
    data,
  };
}
