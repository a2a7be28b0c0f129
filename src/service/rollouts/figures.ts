// The devices of a rollout, each with what its programs have done since it got the build.

import { DeviceState } from '../../protocol/device-state.ts';
import type { Records } from '../database/records.ts';
import { callersOf, nobody } from './callers.ts';
import { type Activity, activityOf, Baseline, Measured, together } from './measurement.ts';
import type { Measurable, RolloutDeviceRecord, RolloutRecord } from './repository.ts';

export type DeviceFigures = {
  readonly device: RolloutDeviceRecord & { readonly name: string };
  /** As it was when the wave was judged, and until then as it is now; null where the device has not got the build. */
  readonly measured: Measured | null;
};

/** Adds what has been measured of each. */
export async function withFigures(
  records: Records,
  { id: rolloutId, module }: Pick<RolloutRecord, 'id' | 'module'>,
  devices: readonly (RolloutDeviceRecord & { readonly name: string })[],
): Promise<DeviceFigures[]> {
  const unjudged = devices.filter(({ state, measured }) => state === 'loaded' && measured === null).map(({ deviceId }) => deviceId);
  const current = new Map<string, Measured>();
  for (const measurable of await records.rollouts.measurables(rolloutId, unjudged)) {
    const activity = await activityNow(records, module, measurable);
    if (activity !== null) current.set(measurable.deviceId, together([activity]));
  }
  return devices.map((device) => {
    const judged = Measured.safeParse(device.measured);
    return { device, measured: judged.success ? judged.data : (current.get(device.deviceId) ?? null) };
  });
}

/** What the programs that the new version concerns have done on a device, by what it last reported; null where that is not known. */
export async function activityNow(records: Records, module: string, { deviceId, baseline, state }: Measurable): Promise<Activity | null> {
  const then = Baseline.safeParse(baseline);
  const now = DeviceState.safeParse(state);
  if (!then.success || !now.success) return null;
  const others = new Set(then.data.others);
  const isKnown = now.data.programs.every(({ program }) => Object.hasOwn(then.data.programs, program) || others.has(program));
  return activityOf(then.data, now.data, module, isKnown ? nobody : await callersOf(records, deviceId, module));
}
