// The devices of a rollout, each with what its programs have done since it got the build.

import { DeviceState } from '../../protocol/device-state.ts';
import type { Connection } from '../database/connection.ts';
import { findCallers, noCallers } from './callers.ts';
import { type Activity, aggregate, Baseline, Measurement, measureActivity } from './measurement.ts';
import type { RolloutDeviceRecord } from './queries.ts';
import type { MeasurableDevice, RolloutRecord } from './repository.ts';
import { RolloutRecords } from './repository.ts';

export type MeasuredDevice = {
  readonly device: RolloutDeviceRecord & { readonly name: string };
  /** As it was when the wave was judged, and until then as it is now; null where the device has not got the build. */
  readonly measured: Measurement | null;
};

/** Adds what has been measured of each. */
export async function measureDevices(
  connection: Connection,
  { id: rolloutId, module }: Pick<RolloutRecord, 'id' | 'module'>,
  devices: readonly (RolloutDeviceRecord & { readonly name: string })[],
): Promise<MeasuredDevice[]> {
  const unjudged = devices.filter(({ state, measured }) => state === 'loaded' && measured === null).map(({ deviceId }) => deviceId);
  const current = new Map<string, Measurement>();
  for (const measurable of await new RolloutRecords(connection).measurableDevices(rolloutId, unjudged)) {
    const activity = await readActivity(connection, module, measurable);
    if (activity !== null) current.set(measurable.deviceId, aggregate([activity]));
  }
  return devices.map((device) => {
    const judged = Measurement.safeParse(device.measured);
    return { device, measured: judged.success ? judged.data : (current.get(device.deviceId) ?? null) };
  });
}

/** What the programs that the new version concerns have done on a device, by what it last reported; null where that is not known. */
export async function readActivity(
  connection: Connection,
  module: string,
  { deviceId, baseline, state }: MeasurableDevice,
): Promise<Activity | null> {
  const then = Baseline.safeParse(baseline);
  const now = DeviceState.safeParse(state);
  if (!then.success || !now.success) return null;
  const others = new Set(then.data.others);
  const isKnown = now.data.programs.every(({ program }) => Object.hasOwn(then.data.programs, program) || others.has(program));
  return measureActivity(then.data, now.data, module, isKnown ? noCallers : await findCallers(connection, deviceId, module));
}
