// Schemas of load batches.

import { z } from 'zod';
import { exampleTimes, exampleVersions } from '../../protocol/examples.ts';
import { exampleIdentifier } from '../../protocol/identifiers.ts';
import { examplePolicy } from '../../protocol/load-report.ts';
import { LoadedPatchSet } from '../history/schemas.ts';
import { actor, count, identifier, pageQuery, pageSchema, timestamp, version } from '../http/common-schemas.ts';
import { moduleQuery, orderQuery, rangeQuery, versionQuery } from '../http/list-schemas.ts';
import { exampleUnreachable, Load, LoadOutcome, UnreachableDevices } from '../loads/schemas.ts';
import { Policy } from '../loads/terms-schemas.ts';

export const loadBatchParameter = z.object({ batch: identifier('batch') });

const exampleBatch = {
  id: exampleIdentifier('batch'),
  kind: 'build',
  module: 'tcp',
  version: exampleVersions.new.version,
  selection: { labels: { zone: 'north' }, selector: null, group: null, scope: null },
  loads: 3,
  unreachableDevices: exampleUnreachable,
  rollback: false,
  retryOf: null,
  requestedAt: exampleTimes.requested,
  requestedBy: exampleIdentifier('key'),
};

export const LoadBatch = z
  .object({
    id: identifier('batch'),
    kind: Load.shape.kind,
    module: z.string().describe('Name of the module; of the patch set, if `kind` is `patch-set`.'),
    version: version.nullable().describe('The version of all loads. Null if they differ: a rollback or an unload of different versions.'),
    selection: z
      .object({
        labels: z.record(z.string(), z.string()).nullable(),
        selector: z.string().nullable(),
        group: z.string().nullable().describe('Name or identifier of the group, as in the request.'),
        scope: z.string().nullable().describe('The scope of the key that requested it. Null: none.'),
      })
      .nullable()
      .describe(
        'How the request selected its devices. `labels`, `selector` and `group` are null if it named them. Null for a retry, for the batch of a single load or of a rollout, and if requested before this was recorded.',
      ),
    loads: count.describe('Number of loads: one for each device that was not skipped.'),
    unreachableDevices: UnreachableDevices.nullable().describe(
      'The selected devices that were on unreachable hosts at the request. Null if there were none, and for unloads, rollbacks and retries.',
    ),
    rollback: z.boolean().describe('Whether the loads return devices to earlier versions.'),
    retryOf: identifier('batch').nullable().describe('The batch whose failed loads this one repeats. Null if it is no retry.'),
    requestedAt: timestamp,
    requestedBy: actor,
  })
  .meta({
    id: 'LoadBatch',
    description: 'The loads that one request for several devices created.',
    examples: [exampleBatch],
  });

const exampleStates = { queued: 1, dispatched: 0, completed: 2 };

export const LoadBatchDetail = LoadBatch.extend({
  patchSet: LoadedPatchSet.nullable().describe('The patch set of the loads; of a rollback, the set that it reverts. Null for other kinds.'),
  ...Policy.shape,
  forceReason: z.string().nullable().describe('Reason of a forced unload. Null if it is not forced.'),
  rollout: identifier('rollout').nullable().describe('The rollout that requested the loads. Null if they were requested directly.'),
  deadlineAt: timestamp.nullable().describe('When loads end as `expired` if they have not completed.'),
  states: z.object({ queued: count, dispatched: count, completed: count }).describe('Number of loads in each state.'),
  outcomes: z.partialRecord(LoadOutcome, count).describe('Number of completed loads with each outcome, without outcomes of no load.'),
}).meta({
  id: 'LoadBatchDetail',
  description: 'A batch with the settings of its loads and their progress.',
  examples: [
    {
      ...exampleBatch,
      patchSet: null,
      ...examplePolicy,
      forceReason: null,
      rollout: null,
      deadlineAt: exampleTimes.deadline,
      states: exampleStates,
      outcomes: { replaced: 1, failed: 1 },
    },
  ],
});
export const LoadBatchPage = pageSchema('LoadBatchPage', LoadBatch);

export const loadBatchQuery = z.strictObject({
  ...pageQuery,
  ...orderQuery,
  ...rangeQuery,
  module: moduleQuery.describe('Only batches of this module, or of the patch set with this name.'),
  version: versionQuery.describe('Only batches whose loads all have this version.'),
});
