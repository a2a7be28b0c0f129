// Schemas of loads.

import { z } from 'zod';
import { Drain, exampleDrain } from '../../protocol/device-state.ts';
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
          'Which versions the device accepts. `newer`: only versions newer than the installed one. `different`: any other version. `downgrade`: any other version; requires `downgradeReason`.',
        ),
        downgradeReason: z
          .string()
          .min(1)
          .max(1_000)
          .optional()
          .describe(
            'Reason for the downgrade; required with, and only allowed with, `versionPolicy` `downgrade`. The load report contains it.',
          ),
        similarityPolicy: SimilarityPolicy.default('require').describe(
          'Whether the new version must have all exports of the installed one, with the same types (claim 11). Imports are not compared. `require`: refuse the load if it does not. `warn`: load it and report the differences. `off`: do not require similarity; the report still contains the comparison.',
        ),
      }),
    ),
  ),
).meta({ id: 'NewLoads', examples: [{ module: 'tcp', version: '1.1.0', labels: { zone: 'north' } }] });

/** Returns the example of a response with one accepted load. */
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
    description: 'The loads that a request created, one for each device.',
    examples: [exampleAccepted(exampleVersions.new.version)],
  });

const LoadState = z
  .enum(loadStates)
  .describe(
    '`queued`: not yet sent to the host; it can be cancelled. `dispatched`: sent to the host; it can be cancelled while it drains. `completed`: it has an outcome.',
  )
  .meta({ id: 'LoadState' });

/** Outcomes of loads: those that a device reports, and those that the service sets. */
export const LoadOutcome = z
  .enum([...Outcome.options, 'superseded'])
  .describe(
    '`installed`: the device had no version of the module. `replaced`: the version replaced another one. `replaced-interrupting`: it also interrupted accesses inside the old version. `refused-not-newer`, `refused-dissimilar`, `refused-unresolved`, `refused-image`: the device refused it. `failed`: the device could not load it. `expired`: its deadline passed. `cancelled`: an operator cancelled it while it was queued or drained. `superseded`: a newer load replaced it in the queue.',
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
    outcome: LoadOutcome.nullable().describe('Null until `state` is `completed`.'),
    reason: z.string().nullable().describe('Why the load did not succeed. Null if it did.'),
    interrupted: count.nullable().describe('Number of accesses inside the old version that received an injected error.'),
    retried: count.nullable().describe('Number of interrupted accesses that retried in the new version.'),
    failed: count.nullable().describe('Number of interrupted accesses that ended without a retry.'),
    rollback: z.boolean().describe('Whether the load is part of a rollback.'),
    rollout: identifier('rollout').nullable().describe('The rollout that requested the load. Null if it was requested directly.'),
    requestedAt: timestamp,
    requestedBy: actor,
    deadlineAt: timestamp.nullable().describe('When the load ends as `expired` if it has not completed.'),
    dispatchedAt: timestamp.nullable().describe('When the load was first sent to the host.'),
    completedAt: timestamp.nullable(),
  })
  .meta({ id: 'Load', description: 'A request to load one build on one device.', examples: [exampleLoad] });

const exampleProgress = {
  operation: exampleDrain.operation,
  previousVersion: exampleDrain.previousVersion,
  accesses: exampleDrain.accesses,
  programs: [...exampleDrain.programs],
  since: exampleTimes.dispatched,
  requested: [],
};

export const LoadProgress = z
  .object({
    operation: Drain.shape.operation,
    previousVersion: z.string().describe('The version that the accesses are still inside.'),
    accesses: count.describe('Number of accesses still inside.'),
    programs: z
      .array(z.object({ program: identifier('program'), threads: count }).meta({ id: 'LoadProgressProgram' }))
      .describe('Programs with accesses inside, and the number of their threads there. The first 1,000.'),
    since: timestamp.describe('When the drain began, by the clock of the service.'),
    requested: z
      .array(z.enum(['inject', 'cancel']).meta({ id: 'DrainRequest' }))
      .describe('Requests to end the drain that the device has not reported on yet.'),
  })
  .meta({
    id: 'LoadProgress',
    description:
      'Progress of a load that drains: it waits for the accesses inside the old version. Its device reports changes about twice a second.',
    examples: [exampleProgress],
  });

export const LoadDetail = Load.extend({
  progress: LoadProgress.nullable().describe(
    'Progress of the load, as its device last reported it. Null if the load does not drain, or if the agent of its host does not report progress.',
  ),
  report: LoadReport.nullable().describe(
    'The report of the device: each operation of the isolation workflow with its time and facts. Null if the device sent none.',
  ),
}).meta({ id: 'LoadDetail', examples: [{ ...exampleLoad, progress: null, report: exampleLoadReport }] });
export const LoadPage = pageSchema('LoadPage', Load);

export const loadQuery = z.strictObject({
  ...pageQuery,
  ...orderQuery,
  ...rangeQuery,
  batch: identifierQuery('batch').describe('Only loads that one request created.'),
  device: identifierQuery('device').describe('Only loads for this device.'),
  label: labelQuery.describe(
    'Only loads of devices that now have this label, as `key=value`. If repeated, devices with all of the labels.',
  ),
  module: moduleQuery.describe('Only loads of this module.'),
  version: versionQuery.describe('Only loads of this version.'),
  state: LoadState.optional()
    .describe('Only loads in this state.')
    .meta({ examples: ['completed'] }),
  outcome: LoadOutcome.optional()
    .describe('Only loads with this outcome.')
    .meta({ examples: ['replaced-interrupting'] }),
});
