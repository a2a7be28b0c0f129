// Signature policies in the API.

import { z } from 'zod';
import { policyLimits } from '../../protocol/agent.ts';
import { exampleTimes } from '../../protocol/examples.ts';
import { DeviceId, DisplayName, exampleIdentifier, Labels, ModuleName, PublisherKeyId } from '../../protocol/identifiers.ts';
import { identifier, pageQuery, pageSchema, timestamp } from '../http/common-schemas.ts';
import { orderQuery } from '../http/list-schemas.ts';

export const signaturePolicyParameter = z.object({ signaturePolicy: identifier('signature policy') });

const publisherKeys = z.array(PublisherKeyId).min(1).max(policyLimits.publisherKeys);
const threshold = z.int().min(1).max(policyLimits.publisherKeys);

const examplePolicy = { name: 'released', labels: { zone: 'north' }, publisherKeys: [exampleIdentifier('publisher key')], threshold: 1 };

export const NewSignaturePolicy = z
  .strictObject({
    name: DisplayName.describe('What the policy is known by.'),
    device: DeviceId.optional().describe('The device that demands it. Either this or `labels`.'),
    labels: Labels.optional().describe('Every device that has all of these labels demands it. Either this or `device`.'),
    module: ModuleName.optional().describe('Of builds of this module; left out: of every module.'),
    publisherKeys: publisherKeys.describe('Publisher keys whose signatures count.'),
    threshold: threshold.optional().describe('How many of them are to have signed; left out: all of them.'),
  })
  .refine(({ device, labels }) => (device === undefined) !== (labels === undefined), 'give either device or labels')
  .refine(({ labels }) => labels === undefined || Object.keys(labels).length > 0, {
    path: ['labels'],
    message: 'must have at least one label',
  })
  .refine(({ publisherKeys: keys }) => new Set(keys).size === keys.length, { path: ['publisherKeys'], message: 'names a key twice' })
  .refine(({ publisherKeys: keys, threshold: needed }) => needed === undefined || needed <= keys.length, {
    path: ['threshold'],
    message: 'is more than there are publisher keys: name more of them, or ask for fewer',
  })
  .meta({ id: 'NewSignaturePolicy', examples: [examplePolicy] });

export const SignaturePolicy = z
  .object({
    id: identifier('signature policy'),
    name: z.string(),
    device: z.string().nullable().describe('The device that demands it; null where devices with `labels` do.'),
    labels: z
      .record(z.string(), z.string())
      .nullable()
      .describe('Every device that has all of these demands it; null where `device` does.'),
    module: z.string().nullable().describe('Of builds of this module; null: of every module.'),
    publisherKeys: z.array(z.string()).describe('Publisher keys whose signatures count, unless they are revoked.'),
    threshold: threshold.describe('How many of them are to have signed.'),
    createdAt: timestamp,
  })
  .meta({
    id: 'SignaturePolicy',
    description: 'What a device demands of builds before it loads them: signatures of publishers.',
    examples: [
      { id: exampleIdentifier('signature policy'), device: null, module: 'tcp', ...examplePolicy, createdAt: exampleTimes.registered },
    ],
  });
export const SignaturePolicyPage = pageSchema('SignaturePolicyPage', SignaturePolicy);
export const signaturePolicyQuery = z.strictObject({ ...pageQuery, ...orderQuery });
