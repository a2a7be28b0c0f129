// Loads in the API.

import { z } from 'zod';
import { exampleTimes, exampleVersions } from '../../protocol/examples.ts';
import { exampleIdentifier, ModuleName } from '../../protocol/identifiers.ts';
import { exampleLoadReport, examplePolicy, LoadReport, Outcome, SimilarityPolicy, VersionPolicy } from '../../protocol/load-report.ts';
import { actor, count, identifier, pageQuery, pageSchema, timestamp, version } from '../http/common-schemas.ts';
import { identifierQuery, labelQuery, moduleQuery, orderQuery, rangeQuery, versionQuery } from '../http/list-schemas.ts';
import { loadStates } from './repository.ts';
import { exactlyOneSelector, Policy, requireDowngradeReason, requireDrainStrategy, selectorShape, termsShape } from './terms-schemas.ts';

export const loadParameter = z.object({ load: identifier('load') });

export const NewLoads = requireDowngradeReason(
  requireDrainStrategy(
    exactlyOneSelector(
      z.strictObject({
        module: ModuleName,
        version,
        ...selectorShape,
        ...termsShape,
        versionPolicy: VersionPolicy.default('newer').describe(
          '`newer`: an older or the same version is refused. `different`: any other version. `downgrade`: any other, for the reason given.',
        ),
        downgradeReason: z
          .string()
          .min(1)
          .max(1_000)
          .optional()
          .describe('Why, where `versionPolicy` is `downgrade`; it is in the report.'),
        similarityPolicy: SimilarityPolicy.default('require').describe(
          'Whether the new version must export everything that the one in memory exports, with the same types (claim 11). Imports are not compared. `require`: otherwise the load is refused. `warn`: it is loaded, and its report says what differs. `off`: it is loaded; its report has the comparison all the same.',
        ),
      }),
    ),
  ),
).meta({ id: 'NewLoads', examples: [{ module: 'tcp', version: '1.1.0', labels: { zone: 'north' } }] });

/** The one load of a request. */
export function exampleAccepted(loaded: string) {
  return {
    batch: exampleIdentifier('batch'),
    loads: [{ id: exampleIdentifier('load'), device: exampleIdentifier('device'), version: loaded }],
  };
}

export const AcceptedLoads = z
  .object({
    batch: identifier('batch'),
    loads: z.array(z.object({ id: identifier('load'), device: identifier('device'), version }).meta({ id: 'AcceptedLoad' })),
  })
  .meta({
    id: 'AcceptedLoads',
    description: 'The loads that a request made: one for each device.',
    examples: [exampleAccepted(exampleVersions.new.version)],
  });

const LoadState = z
  .enum(loadStates)
  .describe(
    '`queued`: it waits for its host, and can be cancelled. `dispatched`: its host has been sent it. `completed`: it has its outcome.',
  )
  .meta({ id: 'LoadState' });

/** How a load ends: as its device reports, or without it. */
export const LoadOutcome = z
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
  ...examplePolicy,
  state: 'completed',
  outcome,
  reason,
  interrupted,
  retried,
  failed,
  rollback: false,
  rollout: null,
  requestedAt: exampleTimes.requested,
  requestedBy: exampleIdentifier('key'),
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
    ...Policy.shape,
    state: LoadState,
    outcome: LoadOutcome.nullable().describe('Null until the load is completed.'),
    reason: z.string().nullable().describe('Why it was refused, failed, or ended without its device.'),
    interrupted: count.nullable(),
    retried: count.nullable(),
    failed: count.nullable(),
    rollback: z.boolean().describe('Whether it brings its device back to a version that it had.'),
    rollout: identifier('rollout').nullable().describe('The rollout that requested it; null where it was asked for by itself.'),
    requestedAt: timestamp,
    requestedBy: actor,
    deadlineAt: timestamp.nullable().describe('When it ends as `expired` if it has not completed.'),
    dispatchedAt: timestamp.nullable().describe('When its host was sent it.'),
    completedAt: timestamp.nullable(),
  })
  .meta({ id: 'Load', description: 'One request to put one build on one device.', examples: [exampleLoad] });

export const LoadDetail = Load.extend({
  report: LoadReport.nullable().describe('What the device reported: every operation of the isolation workflow with its time and facts.'),
}).meta({ id: 'LoadDetail', examples: [{ ...exampleLoad, report: exampleLoadReport }] });
export const LoadPage = pageSchema('LoadPage', Load);

export const loadQuery = z.strictObject({
  ...pageQuery,
  ...orderQuery,
  ...rangeQuery,
  batch: identifierQuery('batch').describe('Only the loads that one request made.'),
  device: identifierQuery('device').describe('Only loads for this device.'),
  label: labelQuery.describe('Only loads of devices that have this label now, as `key=value`; may be repeated.'),
  module: moduleQuery.describe('Only loads of this module.'),
  version: versionQuery.describe('Only loads of this version.'),
  state: LoadState.optional()
    .describe('Only loads in this state.')
    .meta({ examples: ['completed'] }),
  outcome: LoadOutcome.optional()
    .describe('Only loads that ended so.')
    .meta({ examples: ['replaced-interrupting'] }),
});
