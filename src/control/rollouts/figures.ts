// The devices of a rollout, each with what its programs have done since it got the build.

import { DeviceState } from '../../protocol/device-state.ts';
import type { Records } from '../../store/records/records.ts';
import type { RolloutDeviceRecord } from '../../store/records/rollouts.ts';
import { activityOf, Baseline, Measured, together } from './measurement.ts';

export type DeviceFigures = {
  readonly device: RolloutDeviceRecord & { readonly name: string };
  /** As it was when the wave was judged, and until then as it is now; null where the device has not got the build. */
  readonly measured: Measured | null;
};

/** Adds what has been measured of each. */
export async function withFigures(
  records: Records,
  rolloutId: string,
  devices: readonly (RolloutDeviceRecord & { readonly name: string })[],
): Promise<DeviceFigures[]> {
  const unjudged = devices.filter(({ state, measured }) => state === 'loaded' && measured === null).map(({ deviceId }) => deviceId);
  const current = new Map<string, Measured>();
  for (const { deviceId, baseline, state } of await records.rollouts.measurables(rolloutId, unjudged)) {
    const then = Baseline.safeParse(baseline);
    const now = DeviceState.safeParse(state);
    if (then.success && now.success) current.set(deviceId, together([activityOf(then.data, now.data)]));
  }
  return devices.map((device) => {
    const judged = Measured.safeParse(device.measured);
    return { device, measured: judged.success ? judged.data : (current.get(device.deviceId) ?? null) };
  });
}
