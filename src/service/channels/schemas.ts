// Schemas of channels.

import { z } from 'zod';
import { exampleTimes } from '../../protocol/examples.ts';
import { DisplayName, exampleIdentifier } from '../../protocol/identifiers.ts';
import { identifier, pageQuery, pageSchema, timestamp, version } from '../http/common-schemas.ts';
import { orderQuery } from '../http/list-schemas.ts';

export const channelParameter = z.object({
  channel: z
    .string()
    .max(64)
    .describe('Identifier or name of a channel.')
    .meta({ examples: [exampleIdentifier('channel')] }),
});

const exampleChannel = { name: 'stable', description: 'Versions that have passed the tests in the lab' };

export const NewChannel = z
  .strictObject({
    name: DisplayName.describe('Name, unique among channels. It must not have the form of an identifier.'),
    description: z.string().max(1_000).optional().describe('Description, for readers.'),
  })
  .meta({ id: 'NewChannel', examples: [exampleChannel] });

const channelShape = {
  id: identifier('channel'),
  name: z.string(),
  description: z.string().nullable(),
  createdAt: timestamp,
};
const exampleResponse = { id: exampleIdentifier('channel'), ...exampleChannel, createdAt: exampleTimes.registered };

export const Channel = z
  .object(channelShape)
  .meta({ id: 'Channel', description: 'A named list of promoted versions, which assignments follow.', examples: [exampleResponse] });

export const promotionShape = {
  id: identifier('promotion'),
  module: z.string().describe('Name of the module or of the patch set.'),
  version,
  patchSet: identifier('patch set').nullable().describe('Identifier of the patch set. Null for a build.'),
  promotedAt: timestamp,
  promotedBy: z
    .string()
    .describe('Identifier of the API key or user that promoted it.')
    .meta({ examples: [exampleIdentifier('key')] }),
};
export const examplePromotion = {
  id: exampleIdentifier('promotion'),
  module: 'net-2026-11',
  version: '1.0.0',
  patchSet: exampleIdentifier('patch set'),
  promotedAt: exampleTimes.requested,
  promotedBy: exampleIdentifier('key'),
};

export const Promotion = z
  .object(promotionShape)
  .meta({ id: 'Promotion', description: 'A version that is promoted to a channel.', examples: [examplePromotion] });

export const ChannelDetail = z
  .object({ ...channelShape, promotions: z.array(Promotion).describe('The promoted versions, newest promotion first.') })
  .meta({ id: 'ChannelDetail', examples: [{ ...exampleResponse, promotions: [examplePromotion] }] });

export const ChannelPage = pageSchema('ChannelPage', Channel);
export const channelListQuery = z.strictObject({ ...pageQuery, ...orderQuery });
