// Creates rollouts, in the transaction of their request.

import { newIdentifier } from '../../protocol/identifiers.ts';
import { formatLabelSelector } from '../../protocol/label-selector.ts';
import { audit } from '../audit-events/entry.ts';
import type { Connection } from '../database/connection.ts';
import { checkHostsSupport } from '../loads/host-support.ts';
import { skippedFacts, unreachableSplitter } from '../loads/unreachable-targets.ts';
import { Problem } from '../problem.ts';
import type { Requester } from '../requester.ts';
import { checkHasImages, checkUsable, findContent, type RolloutContent } from './content.ts';
import { joinableForever } from './dynamic-membership.ts';
import { type Member, toWaitingDevice } from './membership.ts';
import { assignWaves, type RolloutPlan, rolloutLimits } from './plan.ts';
import { RolloutRecords } from './repository.ts';
import { checkNoConflict, type RolloutRequest, selectMembersToUpdate, withGroup } from './requests.ts';
import { type RolloutView, readView } from './status.ts';

/**
 * Creates a rollout, which `Rollouts` then advances.
 * @throws {Problem} `invalid-value`, `image-pruned`, `build-yanked`, `already-installed`, `unsupported-by-host`, `rollout-conflict`, `too-many-rollouts`, `all-unreachable`.
 */
export async function createRollout(
  connection: Connection,
  requested: RolloutRequest,
  requester: Requester,
  now: Date,
): Promise<RolloutView> {
  const request = await withGroup(connection, requested);
  const { joining } = request;
  const content = await findContent(connection, request.content);
  checkHasImages(content);
  checkUsable(content);
  const { module, version, patchSetId } = content;
  const selected = await selectMembersToUpdate(connection, request, content);
  const split = await unreachableSplitter(connection, selected);
  const { targets: members, unreachable } = await split(selected, request.unreachable);
  const { traceparent } = requester;
  const plan = { ...request.plan, unreachable, ...(traceparent === undefined ? {} : { traceparent }) };
  const targets = members.map((device) => ({ device }));
  if (patchSetId !== null) await checkHostsSupport(connection, targets, 'load-patch-set', 'rollout was created');
  const records = new RolloutRecords(connection);
  if ((await records.countOpen()) >= rolloutLimits.open)
    throw new Problem('too-many-rollouts', `limit reached: ${rolloutLimits.open} open rollouts. Wait for one to end, or abort one`);
  const id = newIdentifier('rollout');
  const rollout = {
    id,
    module,
    version,
    patchSetId,
    plan,
    state: 'pending',
    rollbackOf: null,
    requestedAt: now,
    requestedBy: requester.actor,
    startedAt: null,
    acceptsDevicesUntil: joining && (joining.until ?? joinableForever),
    scope: request.scope && formatLabelSelector(request.scope),
  };
  await records.create(
    rollout,
    plan.waves.map((_, index) => ({ number: index + 1, state: 'waiting', startedAt: null })),
  );
  await records.addDevices(id, toRolloutDevices(members, plan, version));
  if (plan.onConflict === 'reject') await checkNoConflict(connection, rollout);
  await audit(connection, requester, now, [
    {
      action: 'rollout.requested',
      object: id,
      detail: {
        ...describeRequest(content, plan, members),
        ...skippedFacts(unreachable),
        ...(rollout.scope === null ? {} : { scope: rollout.scope }),
      },
    },
  ]);
  const record = await records.find(id);
  if (record === null) throw new Error(`the rollout ${id} was not created`);
  return readView(connection, record, now);
}

/** Returns the request for the audit trail. */
function describeRequest(content: RolloutContent, { waves, onFailure, selector, terms }: RolloutPlan, members: readonly Member[]) {
  return {
    ...describeContent(content),
    devices: members.length,
    waves: waves.length,
    onFailure,
    selector: JSON.stringify(selector).slice(0, 5_000),
    ...(terms.overrideMaintenanceWindow && { overrideMaintenanceWindow: terms.overrideMaintenanceWindow.reason }),
  };
}

function describeContent({ module, version, patchSetId, builds }: RolloutContent) {
  if (patchSetId === null) return { module, version };
  return { module, version, patchSet: patchSetId, builds: builds.map((build) => `${build.module}@${build.version}`) };
}

function toRolloutDevices(members: readonly Member[], { waves }: RolloutPlan, version: string) {
  const numbers = assignWaves(waves, members.length);
  return members.map((member, index) => toWaitingDevice(member, { version, position: index + 1, wave: numbers[index] ?? waves.length }));
}
