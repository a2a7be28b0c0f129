// The rollouts that a promotion starts for an assignment, and the loads of an assignment.

import { z } from 'zod';
import { LoadPolicy } from '../../protocol/load-report.ts';
import { ScheduleWindow } from '../groups/schedule-window.ts';
import type { LoadTerms } from '../loads/batches.ts';
import { noUnreachableTargets } from '../loads/unreachable-targets.ts';
import { OnFailure, type RolloutPlan, rolloutLimits, WavePlan } from '../rollouts/plan.ts';

/** The part of an assignment that its rollouts use. */
export const RolloutSettings = z.object({
  waves: z.array(WavePlan).min(1).max(rolloutLimits.waves),
  onFailure: OnFailure,
  window: ScheduleWindow.nullable(),
});
export type RolloutSettings = z.infer<typeof RolloutSettings>;

/** Terms of the loads of an assignment: a device refuses a version that is not newer, and what its signature policies and its links do not allow. */
export const assignmentTerms: LoadTerms = {
  ...LoadPolicy.parse({ strategy: 'inject', invalidation: 'nx', linkPolicy: 'require' }),
  deadlineSeconds: 600,
  supersede: false,
  overrideMaintenanceWindow: null,
};

/** Loads in progress at the same time in one rollout, and the time limit of the loads of a rollback: the defaults of rollouts. */
const devicesInFlight = 100;
const rollbackDeadlineSeconds = 24 * 3_600;

/** Returns the plan of a rollout to devices of a group. It starts after other open rollouts of the same modules and devices. */
export function toRolloutPlan(
  name: string,
  { waves, onFailure, window }: RolloutSettings,
  group: { readonly id: string; readonly name: string; readonly selector: string },
  devices: number,
): RolloutPlan {
  return {
    name,
    selector: { devices, labels: null, selector: null, group, runningVersion: null },
    waves,
    terms: assignmentTerms,
    devicesInFlight,
    loadsPerMinute: null,
    onFailure,
    rollbackDeadlineSeconds,
    startAt: null,
    window,
    onConflict: 'queue',
    unreachable: noUnreachableTargets,
  };
}
