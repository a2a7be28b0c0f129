// Measures the programs of each device of a rollout since the device loaded the build.

import { DeviceState } from '../../protocol/device-state.ts';
import type { Connection } from '../database/connection.ts';
import { findCallers, noCallers } from './callers.ts';
import { type Activity, aggregate, Baseline, Measurement, measureActivity } from './measurement.ts';
import type { RolloutDeviceRecord } from './queries.ts';
import type { MeasurableDevice } from './repository.ts';
import { RolloutRecords } from './repository.ts';

/** A rollout, and the modules that it changes. */
export type MeasuredRollout = { readonly id: string; readonly modules: readonly string[] };

export type MeasuredDevice = {
  readonly device: RolloutDeviceRecord & { readonly name: string };
  /** The measurement with which the wave was evaluated, before that the current one; null if the device has not loaded the build. */
  readonly measured: Measurement | null;
};

/** Adds its measurement to each device. */
export async function measureDevices(
  connection: Connection,
  { id: rolloutId, modules }: MeasuredRollout,
  devices: readonly (RolloutDeviceRecord & { readonly name: string })[],
): Promise<MeasuredDevice[]> {
  const unevaluated = devices.filter(({ state, measured }) => state === 'loaded' && measured === null).map(({ deviceId }) => deviceId);
  const current = new Map<string, Measurement>();
  for (const measurable of await new RolloutRecords(connection).measurableDevices(rolloutId, unevaluated)) {
    const activity = await readActivity(connection, modules, measurable);
    if (activity !== null) current.set(measurable.deviceId, aggregate([activity]));
  }
  return devices.map((device) => {
    const evaluated = Measurement.safeParse(device.measured);
    return { device, measured: evaluated.success ? evaluated.data : (current.get(device.deviceId) ?? null) };
  });
}

/**
 * Returns the activity of the programs that call one of the modules, from the device's last reported state; null if the baseline or the state cannot be
 * read.
 */
export async function readActivity(
  connection: Connection,
  modules: readonly string[],
  { deviceId, baseline, state }: MeasurableDevice,
): Promise<Activity | null> {
  const start = Baseline.safeParse(baseline);
  const current = DeviceState.safeParse(state);
  if (!start.success || !current.success) return null;
  const others = new Set(start.data.others);
  const isKnown = current.data.programs.every(({ program }) => Object.hasOwn(start.data.programs, program) || others.has(program));
  return measureActivity(start.data, current.data, modules, isKnown ? noCallers : await findCallers(connection, deviceId, modules));
}
