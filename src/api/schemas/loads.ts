// Loads in the API.

import { z } from 'zod';
import { exampleTimes } from '../../protocol/examples.ts';
import { DeviceId, exampleIdentifier, Labels, ModuleName } from '../../protocol/identifiers.ts';
import {
  exampleLoadReport,
  Invalidation,
  LoadReport,
  longestDrain,
  Outcome,
  SimilarityPolicy,
  Strategy,
  VersionPolicy,
} from '../../protocol/load-report.ts';
import { count, identifier, pageOf, pageQuery, timestamp, version } from './common.ts';
import { labelQuery, orderQuery, rangeQuery } from './lists.ts';

/** Devices that one request may name; by labels it may select as many as control allows. */
const namedDevicesLimit = 10_000;

export const loadParameter = z.object({ load: identifier('load') });

export const NewLoads = z
  .strictObject({
    module: ModuleName,
    version,
    devices: z
      .array(DeviceId)
      .min(1)
      .max(namedDevicesLimit)
      .optional()
      .describe('The devices to load the build on. Either this or `labels`.'),
    labels: Labels.optional().describe('Load the build on every device that has all of these labels. Either this or `devices`.'),
    strategy: Strategy.default('inject').describe(
      'What becomes of those who are inside the old version. `inject`: they are interrupted at once, and retry in the new one. `drain`: they are waited for; if some are left, the load fails. `drain-then-inject`: they are waited for, and those left are interrupted.',
    ),
    drainMilliseconds: z
      .int()
      .min(0)
      .max(longestDrain)
      .optional()
      .describe('How long a strategy that drains waits; 10 s where it is left out.'),
    versionPolicy: VersionPolicy.default('newer').describe(
      '`newer`: an older or the same version is refused. `different`: any other version. `downgrade`: any other, for the reason given.',
    ),
    downgradeReason: z.string().min(1).max(1_000).optional().describe('Why, where `versionPolicy` is `downgrade`; it is in the report.'),
    similarityPolicy: SimilarityPolicy.default('require').describe(
      'Whether the new version must have everything that the one in memory exports and imports (claim 11). `warn`: the report tells what differs. `off`: nobody asks.',
    ),
    invalidation: Invalidation.default('nx').describe(
      'What becomes of the pages of the old version: left as they are, marked invalid, marked NX (a fetch from either faults), or deleted and given out again.',
    ),
    deadlineSeconds: z
      .int()
      .min(1)
      .max(30 * 24 * 3_600)
      .default(24 * 3_600)
      .describe('A load that has not completed after so many seconds ends as `expired`: its device was unreachable, or busy.'),
    supersede: z
      .boolean()
      .default(false)
      .describe('Loads of the same module that wait for the same devices, and that no host has been sent, end as `superseded`.'),
  })
  .refine(({ devices, labels }) => (devices === undefined) !== (labels === undefined), 'give either devices or labels')
  .refine(({ labels }) => labels === undefined || Object.keys(labels).length > 0, {
    path: ['labels'],
    message: 'must have at least one label',
  })
  .refine(({ versionPolicy, downgradeReason }) => (versionPolicy === 'downgrade') === (downgradeReason !== undefined), {
    path: ['downgradeReason'],
    message: 'give a reason with "versionPolicy": "downgrade", and only there',
  })
  .refine(({ strategy, drainMilliseconds }) => drainMilliseconds === undefined || strategy !== 'inject', {
    path: ['drainMilliseconds'],
    message: 'is for the strategies drain and drain-then-inject',
  })
  .meta({ id: 'NewLoads', examples: [{ module: 'tcp', version: '1.1.0', labels: { zone: 'north' } }] });

export const AcceptedLoads = z
  .object({
    batch: identifier('batch'),
    loads: z.array(z.object({ id: identifier('load'), device: identifier('device') }).meta({ id: 'AcceptedLoad' })),
  })
  .meta({
    id: 'AcceptedLoads',
    description: 'The loads that a request made: one for each device.',
    examples: [{ batch: exampleIdentifier('batch'), loads: [{ id: exampleIdentifier('load'), device: exampleIdentifier('device') }] }],
  });

const LoadState = z
  .enum(['queued', 'dispatched', 'completed'])
  .describe(
    '`queued`: it waits for its host, and can be cancelled. `dispatched`: its host has been sent it. `completed`: it has its outcome.',
  )
  .meta({ id: 'LoadState' });

/** How a load ends: as its device reports, or without it. */
const LoadOutcome = z
  .enum([...Outcome.options, 'cancelled', 'superseded'])
  .describe(
    '`expired`: its deadline was over. `cancelled`: an operator did not want it any more. `superseded`: a newer load took its place.',
  )
  .meta({ id: 'LoadOutcome' });

const { outcome, reason, interrupted, retried, failed } = exampleLoadReport;
const exampleLoad = {
  id: exampleIdentifier('load'),
  batch: exampleIdentifier('batch'),
  device: exampleIdentifier('device'),
  build: exampleIdentifier('build'),
  module: 'tcp',
  version: exampleLoadReport.current.version,
  strategy: 'inject',
  invalidation: 'nx',
  drainMilliseconds: null,
  versionPolicy: 'newer',
  downgradeReason: null,
  similarityPolicy: 'require',
  state: 'completed',
  outcome,
  reason,
  interrupted,
  retried,
  failed,
  requestedAt: exampleTimes.requested,
  deadlineAt: exampleTimes.deadline,
  dispatchedAt: exampleTimes.dispatched,
  completedAt: exampleTimes.completed,
};

export const Load = z
  .object({
    id: identifier('load'),
    batch: identifier('batch'),
    device: identifier('device'),
    build: identifier('build'),
    module: z.string(),
    version,
    strategy: Strategy,
    invalidation: Invalidation,
    drainMilliseconds: count.nullable(),
    versionPolicy: VersionPolicy,
    downgradeReason: z.string().nullable(),
    similarityPolicy: SimilarityPolicy,
    state: LoadState,
    outcome: LoadOutcome.nullable().describe('Null until the load is completed.'),
    reason: z.string().nullable().describe('Why it was refused, failed, or ended without its device.'),
    interrupted: count.nullable(),
    retried: count.nullable(),
    failed: count.nullable(),
    requestedAt: timestamp,
    deadlineAt: timestamp.nullable().describe('When it ends as `expired` if it has not completed.'),
    dispatchedAt: timestamp.nullable().describe('When its host was sent it.'),
    completedAt: timestamp.nullable(),
  })
  .meta({ id: 'Load', description: 'One request to put one build on one device.', examples: [exampleLoad] });

export const LoadDetail = Load.extend({
  report: LoadReport.nullable().describe('What the device reported: every operation of the isolation workflow with its time and facts.'),
}).meta({ id: 'LoadDetail', examples: [{ ...exampleLoad, report: exampleLoadReport }] });
export const LoadPage = pageOf('LoadPage', Load);

export const loadQuery = z.strictObject({
  ...pageQuery,
  ...orderQuery,
  ...rangeQuery,
  batch: identifier('batch').optional().describe('Only the loads that one request made.'),
  device: identifier('device').optional().describe('Only loads for this device.'),
  label: labelQuery.describe('Only loads of devices that have this label now, as `key=value`; may be repeated.'),
  module: z
    .string()
    .max(64)
    .optional()
    .describe('Only loads of this module.')
    .meta({ examples: ['tcp'] }),
  version: version.optional().describe('Only loads of this version.'),
  state: LoadState.optional()
    .describe('Only loads in this state.')
    .meta({ examples: ['completed'] }),
  outcome: LoadOutcome.optional()
    .describe('Only loads that ended so.')
    .meta({ examples: ['replaced-interrupting'] }),
});
