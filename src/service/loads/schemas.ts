// Schemas of loads.

import { z } from 'zod';
import { Drain, exampleDrain } from '../../protocol/device-state.ts';
import { exampleTimes, exampleVersions } from '../../protocol/examples.ts';
import { DeviceReference, exampleIdentifier, ModuleName, PatchSetName } from '../../protocol/identifiers.ts';
import {
  exampleLoadReport,
  examplePolicy,
  LoadReport,
  Outcome,
  SimilarityPolicy,
  Strategy,
  VersionPolicy,
} from '../../protocol/load-report.ts';
import { requireSelector, selectorShape } from '../devices/selection-schemas.ts';
import { groupQuery } from '../groups/schemas.ts';
import { LoadedPatchSet } from '../history/schemas.ts';
import { actor, count, identifier, pageQuery, pageSchema, timestamp, version } from '../http/common-schemas.ts';
import { identifierQuery, labelQuery, moduleQuery, orderQuery, rangeQuery, selectorQuery, versionQuery } from '../http/list-schemas.ts';
import { loadKinds } from './content.ts';
import { verdicts } from './forecast.ts';
import { loadStates } from './repository.ts';
import { Policy, requireDowngradeReason, requireDrainStrategy, termsShape, windowOverride } from './terms-schemas.ts';
import { unloadVerdicts } from './unload-forecast.ts';
import { namedUnreachableLimit, unreachableChoices } from './unreachable-targets.ts';

export const loadParameter = z.object({ load: identifier('load') });

/** Names a patch set in a request. */
const PatchSetReference = z.strictObject({ name: PatchSetName, version }).meta({ id: 'PatchSetReference' });

/** What a request loads: a build or a patch set; `requireOneContent` checks that exactly one is given. */
export const contentShape = {
  module: ModuleName.optional().describe('The module of the build to load, with `version`. Give either this or `patchSet`.'),
  version: version.optional().describe('The version of the build to load. Required with `module`.'),
  patchSet: PatchSetReference.optional().describe(
    'The patch set to load: each device takes all its builds in one step, or none. Give either this or `module` and `version`. Not with the invalidation `none`, which would let a program with a hard-coded address run old builds with new ones.',
  ),
};

type Content = { readonly module?: unknown; readonly version?: unknown; readonly patchSet?: unknown; readonly invalidation: string };

/** Returns the schema with a check that either a build or a patch set is given. */
export function requireOneContent<Schema extends z.ZodType<Content>>(schema: Schema): Schema {
  return schema
    .refine(
      ({ module, patchSet }) => (module === undefined) !== (patchSet === undefined),
      'expected either module and version, or patchSet',
    )
    .refine(({ module, version: given }) => (module === undefined) === (given === undefined), {
      path: ['version'],
      message: 'is required with module, and not allowed with patchSet',
    })
    .refine(({ patchSet, invalidation }) => patchSet === undefined || invalidation !== 'none', {
      path: ['invalidation'],
      message: 'must be nx, mark-invalid or delete for a patch set',
    });
}

export const unreachable = z
  .enum(unreachableChoices)
  .describe(
    'What happens to selected devices on unreachable hosts. `wait`: their loads wait until the host connects. `skip`: they are left out.',
  )
  .meta({ id: 'UnreachableChoice' })
  .default('wait');

export const NewLoads = requireDowngradeReason(
  requireDrainStrategy(
    requireSelector(
      requireOneContent(
        z.strictObject({
          ...contentShape,
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
          unreachable,
          dryRun: z.boolean().default(false).describe('Whether to return a preview and create nothing.'),
        }),
      ),
    ),
  ),
).meta({
  id: 'NewLoads',
  // The content and the devices are required, each in one of several members.
  minProperties: 2,
  examples: [
    { module: 'tcp', version: '1.1.0', labels: { zone: 'north' } },
    { patchSet: { name: 'net-2026-11', version: '1.0.0' }, labels: { zone: 'north' } },
    { module: 'tcp', version: '1.1.0', selector: 'zone in (north,south),!beta' },
  ],
});

export const NewUnloads = requireDrainStrategy(
  requireSelector(
    z.strictObject({
      module: ModuleName,
      ...selectorShape,
      strategy: Strategy.default('inject').describe(
        'What happens to accesses inside the module. `inject`: interrupt them at once; they retry, and fail because the module is not in memory. `drain`: wait until they end; the unload fails if some remain. `drain-then-inject`: wait, then interrupt those that remain.',
      ),
      drainMilliseconds: termsShape.drainMilliseconds,
      invalidation: termsShape.invalidation,
      deadlineSeconds: termsShape.deadlineSeconds,
      supersede: termsShape.supersede,
      overrideMaintenanceWindow: termsShape.overrideMaintenanceWindow,
      forceReason: z
        .string()
        .min(1)
        .max(1_000)
        .optional()
        .describe(
          'Reason for unloading the module although modules in memory import it: calls of its exports then fault. The load report contains it. Default: devices refuse that (`refused-imported`).',
        ),
      unreachable,
      dryRun: z.boolean().default(false).describe('Whether to return a preview and create nothing.'),
    }),
  ),
).meta({ id: 'NewUnloads', examples: [{ module: 'tcp', labels: { zone: 'north' } }] });

/** Returns the example of a response with one accepted load. */
export function exampleAccepted(loaded: string) {
  return {
    batch: exampleIdentifier('batch'),
    loads: [{ id: exampleIdentifier('load'), device: exampleIdentifier('device'), version: loaded, held: false, heldUntil: null }],
  };
}

export const AcceptedLoads = z
  .object({
    batch: identifier('batch'),
    loads: z.array(
      z
        .object({
          id: identifier('load'),
          device: identifier('device'),
          version: version.describe(
            'The version that the load installs. Of an unload: the installed version, as far as the service knows. Of the rollback of a patch set: the version of the set that it reverts.',
          ),
          held: z.boolean().describe('Whether the load is held, because the maintenance windows of the device are closed.'),
          heldUntil: timestamp
            .nullable()
            .describe(
              'When the maintenance windows of the device next open. Null if the load is not held, or if they do not open within 30 days.',
            ),
        })
        .meta({ id: 'AcceptedLoad' }),
    ),
  })
  .meta({
    id: 'AcceptedLoads',
    description: 'The loads that a request created, one for each device.',
    examples: [exampleAccepted(exampleVersions.new.version)],
  });

const unreachableCount = count.describe('Number of selected devices on unreachable hosts.');

export const exampleUnreachable = { count: 1, skipped: 1, devices: [{ id: exampleIdentifier('device'), name: 'router-9' }] };

export const UnreachableDevices = z
  .object({
    count: unreachableCount,
    skipped: count.describe('Number of them that the request left out: all with `"unreachable": "skip"`, otherwise none.'),
    devices: z
      .array(z.object({ id: identifier('device'), name: z.string() }))
      .max(namedUnreachableLimit)
      .describe(`The first ${namedUnreachableLimit} of them.`),
  })
  .meta({
    id: 'UnreachableDevices',
    description: 'The selected devices that were on unreachable hosts when the request was accepted.',
    examples: [exampleUnreachable],
  });

export const AcceptedLoadRequest = AcceptedLoads.extend({ unreachableDevices: UnreachableDevices }).meta({
  id: 'AcceptedLoadRequest',
  description: 'The loads that a request created, one for each device, and the unreachable devices.',
  examples: [{ ...exampleAccepted(exampleVersions.new.version), unreachableDevices: exampleUnreachable }],
});

/** The expected outcome of a load on a device. */
export const forecastShape = {
  device: identifier('device'),
  deviceName: z.string(),
  currentVersion: version.nullable().describe('Of a patch set: null unless the device has all its builds.'),
  reachable: z.boolean(),
  forecast: z.enum(verdicts).describe('Expected outcome of the load, as far as the service knows.').meta({ id: 'LoadForecast' }),
  reason: z.string().nullable().describe('Why the load would not succeed, or why the forecast is uncertain. Null if neither applies.'),
  warnings: z
    .array(z.string())
    .describe(
      'What to know before a load that would succeed: state that the version in memory would lose, and with the link policy `warn`, unresolved links. Names up to 5 links and counts the others.',
    ),
};

/** When a load would be held. */
export const holdShape = {
  held: z.boolean().describe('Whether the load would be held, because the maintenance windows of the device are closed.'),
  heldUntil: timestamp
    .nullable()
    .describe(
      'When the maintenance windows of the device next open. Null if the load would not be held, or if they do not open within 30 days.',
    ),
};
const exampleHold = { held: true, heldUntil: exampleTimes.opening };

const heldCount = count.describe('Number of devices whose loads would be held, because their maintenance windows are closed.');

export const LoadPreview = z
  .object({
    devices: count.describe('Number of selected devices.'),
    alreadyInstalled: count.describe('Number of selected devices that already have the version, or all builds of the patch set.'),
    unreachable: unreachableCount,
    skipped: count.describe('Number of unreachable devices that the request would leave out.'),
    refused: count.describe(
      'Number of devices that would refuse the load, lack the memory or do not support patch sets, as far as the service knows. Without those that the request would leave out.',
    ),
    held: heldCount,
    items: z.array(
      z
        .object({ ...forecastShape, ...holdShape, skipped: z.boolean().describe('Whether the request would leave the device out.') })
        .meta({ id: 'PreviewedLoad' }),
    ),
  })
  .meta({
    id: 'LoadPreview',
    description: 'The expected result of a request for loads.',
    examples: [
      {
        devices: 1,
        alreadyInstalled: 0,
        unreachable: 0,
        skipped: 0,
        refused: 0,
        held: 1,
        items: [
          {
            device: exampleIdentifier('device'),
            deviceName: 'router-7',
            currentVersion: exampleVersions.old.version,
            reachable: true,
            forecast: 'would-replace',
            reason: null,
            warnings: [],
            ...exampleHold,
            skipped: false,
          },
        ],
      },
    ],
  });

export const UnloadPreview = z
  .object({
    devices: count.describe('Number of selected devices that have the module.'),
    withoutModule: count.describe('Number of selected devices that do not have it: they get no load.'),
    unreachable: unreachableCount,
    skipped: count.describe('Number of unreachable devices that the request would leave out.'),
    refused: count.describe(
      'Number of devices that would refuse the unload, or whose host does not support unloads, as far as the service knows. Without those that the request would leave out.',
    ),
    held: heldCount,
    items: z
      .array(
        z
          .object({
            ...forecastShape,
            currentVersion: version,
            forecast: z
              .enum(unloadVerdicts)
              .describe(
                'Expected outcome of the unload, as far as the service knows. With `unsupported-by-host`, the service rejects the whole request.',
              )
              .meta({ id: 'UnloadForecast' }),
            warnings: z
              .array(z.string())
              .describe('With `forceReason`: the links that modules in memory would lose. Names up to 5 and counts the others.'),
            ...holdShape,
            skipped: z.boolean().describe('Whether the request would leave the device out.'),
          })
          .meta({ id: 'PreviewedUnload' }),
      )
      .describe('The devices that have the module.'),
  })
  .meta({
    id: 'UnloadPreview',
    description: 'The expected result of a request for unloads.',
    examples: [
      {
        devices: 1,
        withoutModule: 3,
        unreachable: 0,
        skipped: 0,
        refused: 1,
        held: 1,
        items: [
          {
            device: exampleIdentifier('device'),
            deviceName: 'router-7',
            currentVersion: exampleVersions.old.version,
            reachable: true,
            forecast: 'refused-imported',
            reason: 'udp@1.0.0 imports tcp.push: unload udp first, or force the unload with a reason',
            warnings: [],
            ...exampleHold,
            skipped: false,
          },
        ],
      },
    ],
  });

const LoadState = z
  .enum(loadStates)
  .describe(
    '`queued`: not yet sent to the host, or held while maintenance windows are closed; it can be cancelled. `dispatched`: sent to the host; it can be cancelled while it drains. `completed`: it has an outcome.',
  )
  .meta({ id: 'LoadState' });

/** Outcomes of loads: those that a device reports, and those that the service sets. */
export const LoadOutcome = z
  .enum([...Outcome.options, 'superseded'])
  .describe(
    '`installed`: the device had no version of the module. `replaced`: the version replaced another one. `replaced-interrupting`: it also interrupted accesses inside the old version. `unloaded`: the module was removed. `unloaded-interrupting`: this also interrupted accesses inside it. `refused-not-newer`, `refused-dissimilar`, `refused-unresolved`, `refused-image`: the device refused it. `refused-not-loaded`: the device does not have the module to unload. `refused-imported`: a module in memory imports the module to unload. `failed`: the device could not load it. `expired`: its deadline passed. `cancelled`: an operator cancelled it while it was queued or drained. `superseded`: a newer load replaced it in the queue.',
  )
  .meta({ id: 'LoadOutcome' });

const LoadKind = z
  .enum(loadKinds)
  .describe('`build`: loads one build. `patch-set`: loads all builds of a patch set in one step. `unload`: removes a module.')
  .meta({ id: 'LoadKind' });

const { outcome, reason, interrupted, retried, failed } = exampleLoadReport;
const exampleLoad = {
  id: exampleIdentifier('load'),
  batch: exampleIdentifier('batch'),
  device: exampleIdentifier('device'),
  kind: 'build',
  build: exampleIdentifier('build'),
  patchSet: null,
  module: 'tcp',
  version: exampleLoadReport.current.version,
  ...examplePolicy,
  forceReason: null,
  overrideMaintenanceWindow: null,
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
  heldSince: null,
  heldUntil: null,
  dispatchedAt: exampleTimes.dispatched,
  completedAt: exampleTimes.completed,
};

export const Load = z
  .object({
    id: identifier('load'),
    batch: identifier('batch'),
    device: identifier('device'),
    kind: LoadKind,
    build: identifier('build').nullable().describe('The build to load. Null if `kind` is not `build`.'),
    patchSet: LoadedPatchSet.nullable().describe(
      'The patch set to load; of a rollback, the set whose load it reverts. Null if `kind` is not `patch-set`.',
    ),
    module: z.string().describe('Name of the module; of the patch set, if `kind` is `patch-set`.'),
    version: version.describe(
      'The version to load. If `kind` is `unload`: the installed version, as far as the service knew at the request. Of the rollback of a patch set: the version of the set that it reverts.',
    ),
    ...Policy.shape,
    forceReason: z
      .string()
      .nullable()
      .describe('Reason for unloading the module although modules in memory import it. Null if the unload is not forced.'),
    overrideMaintenanceWindow: windowOverride,
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
    heldSince: timestamp
      .nullable()
      .describe('Since when the load is held, because the maintenance windows of its device are closed. Null if it is not held.'),
    heldUntil: timestamp
      .nullable()
      .describe(
        'When the maintenance windows of its device next open. Null if the load is not held, or if they do not open within 30 days.',
      ),
    dispatchedAt: timestamp.nullable().describe('When the load was first sent to the host.'),
    completedAt: timestamp.nullable(),
  })
  .meta({
    id: 'Load',
    description: 'A request to load a build or a patch set on one device, or to unload a module.',
    examples: [exampleLoad],
  });

const exampleProgress = {
  operation: exampleDrain.operation,
  module: exampleDrain.module,
  previousVersion: exampleDrain.previousVersion,
  accesses: exampleDrain.accesses,
  programs: [...exampleDrain.programs],
  since: exampleTimes.dispatched,
  requested: [],
};

export const LoadProgress = z
  .object({
    operation: Drain.shape.operation,
    module: z
      .string()
      .describe('The module that the accesses are inside. Of a patch set: the member with the maximum number of accesses inside.'),
    previousVersion: z.string().describe('The version of that module that the accesses are still inside.'),
    accesses: count.describe('Number of accesses still inside; in a patch set, of all members.'),
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
    'The report of the device: each operation of the isolation workflow with its time and facts. Null if the device sent none, or if it was removed (`--keep-reports`).',
  ),
}).meta({ id: 'LoadDetail', examples: [{ ...exampleLoad, progress: null, report: exampleLoadReport }] });
export const LoadPage = pageSchema('LoadPage', Load);

export const loadQuery = z.strictObject({
  ...pageQuery,
  ...orderQuery,
  ...rangeQuery,
  batch: identifierQuery('batch').describe('Only loads that one request created.'),
  device: DeviceReference.optional().describe('Only loads for the device with this identifier or name.'),
  label: labelQuery.describe(
    'Only loads of devices that now have this label, as `key=value`. If repeated, devices with all of the labels.',
  ),
  selector: selectorQuery.describe(
    'Only loads of devices that now match this label selector. Combined with `label` or `group`, devices that match all.',
  ),
  group: groupQuery.describe('Only loads of devices that are now in the group with this identifier or name.'),
  module: moduleQuery.describe('Only loads of this module, or of the patch set with this name.'),
  version: versionQuery.describe('Only loads of this version. Of unloads: of the installed version.'),
  state: LoadState.optional()
    .describe('Only loads in this state.')
    .meta({ examples: ['completed'] }),
  outcome: LoadOutcome.optional()
    .describe('Only loads with this outcome.')
    .meta({ examples: ['replaced-interrupting'] }),
});
