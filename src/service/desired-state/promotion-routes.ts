// Routes under /v1/channels/{channel}/promotions: promotes versions to channels, and withdraws them.

import { z } from 'zod';
import { toPromotion } from '../channels/routes.ts';
import { channelParameter, Promotion } from '../channels/schemas.ts';
import { postProblems, problems } from '../http/problem-schemas.ts';
import { type Api, type CreatedResponse, getRequester, toStoredResponse } from '../http/route.ts';
import type { WantedContent } from '../rollouts/content.ts';
import type { Promoted, Promotions } from './promotions.ts';
import { NewPromotion, PromotionResult, promotionParameters } from './schemas.ts';

const tags = ['desired state'];

export function addPromotionRoutes(app: Api, { promotions }: { readonly promotions: Promotions }): void {
  app.post(
    '/v1/channels/:channel/promotions',
    {
      config: { access: 'operator' },
      schema: {
        operationId: 'promoteVersion',
        tags,
        summary: 'Promote a version to a channel',
        description:
          'Adds a build or a patch set to the channel. For each enforced assignment of which it is the newest version, starts a rollout to the connected devices that need it, with the waves of the assignment. ' +
          'Other devices get the version when the rollout is completed. If the version is promoted already, starts the rollouts again that were aborted or rolled back.',
        params: channelParameter,
        body: NewPromotion,
        response: {
          201: PromotionResult.describe('The version is promoted. `Location` is the path of the promotion.'),
          ...postProblems('not-found', 'image-pruned', 'build-yanked', 'too-many-promotions', 'too-many-rollouts'),
        },
      },
    },
    async (request, reply) => {
      const promoted = await promotions.promote(request.params.channel, toWanted(request.body), getRequester(request), (result) =>
        toStoredResponse(toCreated(result)),
      );
      const { status, location, body } = toCreated(promoted);
      return reply.status(status).header('location', location).send(body);
    },
  );

  app.get(
    '/v1/channels/:channel/promotions/:promotion',
    {
      config: { access: 'viewer', scope: 'unrelated' },
      schema: {
        operationId: 'getPromotion',
        tags,
        summary: 'Get a promotion',
        params: promotionParameters,
        response: { 200: Promotion.describe('The promotion.'), ...problems('not-found') },
      },
    },
    async ({ params }) => toPromotion(await promotions.find(params.channel, params.promotion)),
  );

  app.delete(
    '/v1/channels/:channel/promotions/:promotion',
    {
      config: { access: 'operator' },
      schema: {
        operationId: 'withdrawPromotion',
        tags,
        summary: 'Withdraw a promotion',
        description:
          'Removes the version from the channel, and aborts its open rollouts. The newest remaining version is the desired one again. Devices that have the withdrawn version keep it and are reported as `newer-installed`: roll them back if they should not have it.',
        params: promotionParameters,
        response: { 204: z.null().describe('The promotion was withdrawn.'), ...problems('not-found') },
      },
    },
    async (request, reply) => {
      const { channel, promotion } = request.params;
      await promotions.withdraw(channel, promotion, getRequester(request));
      return reply.status(204).send(null);
    },
  );
}

function toWanted(body: z.infer<typeof NewPromotion>): WantedContent {
  const { module = '', version = '', patchSet } = body;
  return patchSet === undefined ? { module, version } : { patchSet };
}

function toCreated({ channel, promotion, assignments }: Promoted): CreatedResponse<201, z.infer<typeof PromotionResult>> {
  return {
    status: 201,
    location: `/v1/channels/${channel.id}/promotions/${promotion.id}`,
    body: { ...toPromotion(promotion), assignments: assignments.map((assignment) => ({ ...assignment })) },
  };
}
