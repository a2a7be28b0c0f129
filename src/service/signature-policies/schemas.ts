// Schemas of signature policies.

import { z } from 'zod';
import { policyLimits } from '../../protocol/agent.ts';
import { exampleTimes } from '../../protocol/examples.ts';
import {
  DeviceReference,
  DisplayName,
  exampleIdentifier,
  GroupReference,
  LabelSelectorText,
  Labels,
  ModuleName,
  PublisherKeyId,
} from '../../protocol/identifiers.ts';
import { identifier, pageQuery, pageSchema, timestamp } from '../http/common-schemas.ts';
import { orderQuery } from '../http/list-schemas.ts';

export const signaturePolicyParameter = z.object({ signaturePolicy: identifier('signature policy') });

const publisherKeys = z.array(PublisherKeyId).min(1).max(policyLimits.publisherKeys);
const threshold = z.int().min(1).max(policyLimits.publisherKeys);

const examplePolicy = { name: 'released', labels: { zone: 'north' }, publisherKeys: [exampleIdentifier('publisher key')], threshold: 1 };

export const NewSignaturePolicy = z
  .strictObject({
    name: DisplayName.describe('Display name, unique among signature policies.'),
    device: DeviceReference.optional().describe(
      'Identifier or name of the device that the policy applies to. Give either this, or one or more of `labels`, `selector` and `group`.',
    ),
    labels: Labels.optional().describe(
      'The policy applies to each device that has all of these labels; with `selector` or `group`, that matches all.',
    ),
    selector: LabelSelectorText.optional().describe(
      'The policy applies to each device that matches this label selector; with `labels` or `group`, that matches all.',
    ),
    group: GroupReference.optional().describe(
      'Identifier or name of a group. The policy applies to each device that is in the group when a load is requested.',
    ),
    module: ModuleName.optional().describe('The module that the policy applies to. Default: all modules.'),
    publisherKeys: publisherKeys.describe('Identifiers of the publisher keys whose signatures count.'),
    threshold: threshold.optional().describe('Number of these keys that must have signed the build. Default: all of them.'),
  })
  .refine(
    ({ device, labels, selector, group }) => (device === undefined) !== [labels, selector, group].every((one) => one === undefined),
    'give either device, or one or more of labels, selector and group',
  )
  .refine(({ labels }) => labels === undefined || Object.keys(labels).length > 0, {
    path: ['labels'],
    message: 'must not be empty',
  })
  .refine(({ publisherKeys: keys }) => new Set(keys).size === keys.length, { path: ['publisherKeys'], message: 'contains a key twice' })
  .refine(({ publisherKeys: keys, threshold: needed }) => needed === undefined || needed <= keys.length, {
    path: ['threshold'],
    message: 'exceeds the number of publisher keys: add keys or lower the threshold',
  })
  .meta({ id: 'NewSignaturePolicy', examples: [examplePolicy] });

export const SignaturePolicy = z
  .object({
    id: identifier('signature policy'),
    name: z.string(),
    device: z
      .string()
      .nullable()
      .describe('Identifier of the device that the policy applies to. Null if it applies by `labels`, `selector` or `group`.'),
    labels: z
      .record(z.string(), z.string())
      .nullable()
      .describe('The policy applies to each device that has all of these labels. Null if it does not depend on labels.'),
    selector: z.string().nullable().describe('The policy applies to each device that matches this label selector. Null if it has none.'),
    group: z.string().nullable().describe('Identifier of the group whose devices the policy applies to. Null if it has none.'),
    module: z.string().nullable().describe('The module that the policy applies to. Null: all modules.'),
    publisherKeys: z.array(z.string()).describe('Identifiers of the publisher keys whose signatures count, unless revoked.'),
    threshold: threshold.describe('Number of these keys that must have signed the build.'),
    createdAt: timestamp,
  })
  .meta({
    id: 'SignaturePolicy',
    description: 'The publisher signatures that devices require of a build before they load it.',
    examples: [
      {
        id: exampleIdentifier('signature policy'),
        device: null,
        selector: null,
        group: null,
        module: 'tcp',
        ...examplePolicy,
        createdAt: exampleTimes.registered,
      },
    ],
  });
export const SignaturePolicyPage = pageSchema('SignaturePolicyPage', SignaturePolicy);
export const signaturePolicyQuery = z.strictObject({ ...pageQuery, ...orderQuery });
