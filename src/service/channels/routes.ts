// Routes under /v1/channels: named lists of promoted versions. Promotions have routes of their own, because they start rollouts.

import { z } from 'zod';
import type { DamagedRows } from '../database/damaged-rows.ts';
import { computeEntityTag, ifMatchHeaders, matchesIfMatch } from '../http/entity-tags.ts';
import { parsePageByTime, sendPage } from '../http/pages.ts';
import { postProblems, problems } from '../http/problem-schemas.ts';
import { type Api, type CreatedResponse, getRequester, toStoredResponse } from '../http/route.ts';
import type { ChannelRequest, Channels } from './channels.ts';
import type { ChannelRecord, PromotionRecord } from './repository.ts';
import { Channel, ChannelDetail, ChannelPage, channelListQuery, channelParameter, NewChannel, type Promotion } from './schemas.ts';

const tags = ['desired state'];

type Uses = { readonly channels: Channels; readonly damagedRows: DamagedRows };

export function addChannelRoutes(app: Api, uses: Uses): void {
  addCreationRoute(app, uses);
  addReadingRoutes(app, uses);
  addChangingRoutes(app, uses);
}

function addCreationRoute(app: Api, { channels }: Uses): void {
  app.post(
    '/v1/channels',
    {
      config: { access: 'operator' },
      schema: {
        operationId: 'createChannel',
        tags,
        summary: 'Create a channel',
        description: 'Creates a channel without versions. `promoteVersion` adds one; assignments follow the channel.',
        body: NewChannel,
        response: { 201: Channel.describe('The channel was created.'), ...postProblems('name-taken', 'too-many-channels') },
      },
    },
    async (request, reply) => {
      const created = await channels.create(toRequest(request.body), getRequester(request), (channel) =>
        toStoredResponse(toCreated(channel)),
      );
      const { status, location, body } = toCreated(created);
      return reply.status(status).header('location', location).send(body);
    },
  );
}

function addReadingRoutes(app: Api, { channels, damagedRows }: Uses): void {
  app.get(
    '/v1/channels',
    {
      config: { access: 'viewer', scope: 'unrelated' },
      schema: {
        operationId: 'listChannels',
        tags,
        summary: 'List channels',
        querystring: channelListQuery,
        response: { 200: ChannelPage.describe('A page of channels, sorted by `createdAt`.'), ...problems() },
      },
    },
    async (request, reply) => {
      const page = await channels.list(parsePageByTime(request));
      return sendPage(request, reply, page, { kind: 'channel', schema: Channel, idOf: ({ id }) => id, toItem: toChannel, damagedRows });
    },
  );

  app.get(
    '/v1/channels/:channel',
    {
      config: { access: 'viewer', scope: 'unrelated' },
      schema: {
        operationId: 'getChannel',
        tags,
        summary: 'Get a channel',
        description:
          'Returns the channel with its promoted versions. The response has an `ETag` of the channel without these. Send it as `If-Match` to replace or delete the channel only if it has not changed.',
        params: channelParameter,
        response: { 200: ChannelDetail.describe('The channel, with its promoted versions.'), ...problems('not-found') },
      },
    },
    async ({ params }, reply) => {
      const { promotions, ...channel } = await channels.view(params.channel);
      const detail = { ...toChannel(channel), promotions: promotions.map(toPromotion) };
      return reply.header('etag', computeEntityTag(toChannel(channel))).send(detail);
    },
  );
}

function addChangingRoutes(app: Api, { channels }: Uses): void {
  app.put(
    '/v1/channels/:channel',
    {
      config: { access: 'operator' },
      schema: {
        operationId: 'replaceChannel',
        tags,
        summary: 'Replace a channel',
        description:
          'Renames the channel or changes its description. Its promoted versions and the assignments that follow it remain. ' +
          'With `If-Match`, the request fails with 412 if the channel has changed since it was read.',
        params: channelParameter,
        headers: ifMatchHeaders,
        body: NewChannel,
        response: {
          200: Channel.describe('The new channel, with its `ETag`.'),
          ...problems('not-found', 'precondition-failed', 'name-taken', 'too-large', 'unsupported-media-type'),
        },
      },
    },
    async (request, reply) => {
      const { params, headers, body } = request;
      const replaced = await channels.replace(params.channel, toRequest(body), isExpectedBy(headers), getRequester(request));
      const channel = toChannel(replaced);
      return reply.header('etag', computeEntityTag(channel)).send(channel);
    },
  );

  app.delete(
    '/v1/channels/:channel',
    {
      config: { access: 'operator' },
      schema: {
        operationId: 'deleteChannel',
        tags,
        summary: 'Delete a channel',
        description:
          'Deletes the channel and its promotions. Fails if an assignment follows it. With `If-Match`, the request fails with 412 if the channel has changed since it was read.',
        params: channelParameter,
        headers: ifMatchHeaders,
        response: { 204: z.null().describe('The channel was deleted.'), ...problems('not-found', 'precondition-failed', 'channel-in-use') },
      },
    },
    async (request, reply) => {
      await channels.remove(request.params.channel, isExpectedBy(request.headers), getRequester(request));
      return reply.status(204).send(null);
    },
  );
}

function isExpectedBy(headers: z.output<typeof ifMatchHeaders>): (current: ChannelRecord) => boolean {
  return (current) => matchesIfMatch(headers, computeEntityTag(toChannel(current)));
}

function toRequest({ name, description }: z.infer<typeof NewChannel>): ChannelRequest {
  return { name, description: description ?? null };
}

function toCreated(channel: ChannelRecord): CreatedResponse<201, z.infer<typeof Channel>> {
  return { status: 201, location: `/v1/channels/${channel.id}`, body: toChannel(channel) };
}

function toChannel({ id, name, description, createdAt }: ChannelRecord): z.infer<typeof Channel> {
  return { id, name, description, createdAt: createdAt.toISOString() };
}

export function toPromotion({ id, kind, name, version, contentId, promotedAt, promotedBy }: PromotionRecord): z.infer<typeof Promotion> {
  const patchSet = kind === 'patch-set' ? contentId : null;
  return { id, module: name, version, patchSet, promotedAt: promotedAt.toISOString(), promotedBy };
}
