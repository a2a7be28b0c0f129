// The devices of a rollout, each with what its programs have done since it got the build.

import { DeviceState } from '../../protocol/device-state.ts';
import type { Connection } from '../database/connection.ts';
import { callersOf, nobody } from './callers.ts';
import { type Activity, activityOf, Baseline, Measurement, together } from './measurement.ts';
import type { RolloutDeviceRecord } from './queries.ts';
import type { Measurable, RolloutRecord } from './repository.ts';
import { RolloutRecords } from './repository.ts';

export type DeviceFigures = {
  readonly device: RolloutDeviceRecord & { readonly name: string };
  /** As it was when the wave was judged, and until then as it is now; null where the device has not got the build. */
  readonly measured: Measurement | null;
};

/** Adds what has been measured of each. */
export async function withFigures(
  connection: Connection,
  { id: rolloutId, module }: Pick<RolloutRecord, 'id' | 'module'>,
  devices: readonly (RolloutDeviceRecord & { readonly name: string })[],
): Promise<DeviceFigures[]> {
  const unjudged = devices.filter(({ state, measured }) => state === 'loaded' && measured === null).map(({ deviceId }) => deviceId);
  const current = new Map<string, Measurement>();
  for (const measurable of await new RolloutRecords(connection).measurables(rolloutId, unjudged)) {
    const activity = await activityNow(connection, module, measurable);
    if (activity !== null) current.set(measurable.deviceId, together([activity]));
  }
  return devices.map((device) => {
    const judged = Measurement.safeParse(device.measured);
    return { device, measured: judged.success ? judged.data : (current.get(device.deviceId) ?? null) };
  });
}

/** What the programs that the new version concerns have done on a device, by what it last reported; null where that is not known. */
export async function activityNow(
  connection: Connection,
  module: string,
  { deviceId, baseline, state }: Measurable,
): Promise<Activity | null> {
  const then = Baseline.safeParse(baseline);
  const now = DeviceState.safeParse(state);
  if (!then.success || !now.success) return null;
  const others = new Set(then.data.others);
  const isKnown = now.data.programs.every(({ program }) => Object.hasOwn(then.data.programs, program) || others.has(program));
  return activityOf(then.data, now.data, module, isKnown ? nobody : await callersOf(connection, deviceId, module));
}
