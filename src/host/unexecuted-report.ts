// The report of a load that did not reach the device: an image or its provenance was refused, the host failed, or the deadline passed.

import { type DeviceState, sanitizeReason } from '../machine/index.ts';
import type { LoadOrder, LoadReportInput } from '../protocol/agent.ts';

type StepInput = LoadReportInput['steps'][number];
type ImageInput = LoadReportInput['current'];

/** Returns a report with the operations 200 and 280 and the refusal or failure between them. The device is unchanged. */
export function unexecutedReport(
  order: LoadOrder,
  outcome: 'refused-image' | 'failed' | 'expired',
  message: string,
  state: DeviceState,
): LoadReportInput {
  const reason = sanitizeReason(message);
  const moment = { at: new Date().toISOString(), startedMicroseconds: 0, microseconds: 0 };
  return {
    outcome,
    reason,
    ...versionsOf(order, state),
    interrupted: 0,
    retried: 0,
    failed: 0,
    microseconds: 0,
    steps: [
      ...receivedSteps(order, moment),
      outcome === 'failed'
        ? { step: 'failed', operation: null, ...moment, facts: { during: 'received', reason } }
        : { step: 'refused', operation: null, ...moment, facts: { reason } },
      { step: 'completed', operation: 280, ...moment, facts: { outcome, microseconds: 0 } },
    ],
  };
}

/** Returns the versions in memory, which are those before and after the load. */
function versionsOf(order: LoadOrder, state: DeviceState): Pick<LoadReportInput, 'previous' | 'current' | 'members'> {
  const inMemory = (module: string) => {
    const image = imageInMemory(module, state);
    return { previous: image, current: image };
  };
  if (order.kind !== 'load-patch-set') return inMemory(order.module);
  return { previous: null, current: null, members: order.members.map(({ module }) => ({ module, ...inMemory(module) })) };
}

function imageInMemory(module: string, { moduleTable, memoryMap }: DeviceState): ImageInput {
  const entry = moduleTable.find((each) => each.module === module);
  if (entry === undefined) return null;
  const { version, image, address } = entry;
  return { version, image, address, pages: memoryMap.ranges.find((range) => range.address === address)?.pages ?? 0 };
}

/** Returns operation 200 for each build of the order. */
function receivedSteps(order: LoadOrder, moment: Pick<StepInput, 'at' | 'startedMicroseconds' | 'microseconds'>): StepInput[] {
  if (order.kind === 'unload-module') return [];
  const isSet = order.kind === 'load-patch-set';
  const builds = isSet ? order.members.filter((member) => member.action === 'load') : [order];
  return builds.map(({ module, version, image }) => {
    const facts = { module, version, image, bytes: 0, signedBy: [] };
    return { step: 'received', operation: 200, ...moment, facts, ...(isSet ? { module } : {}) };
  });
}
