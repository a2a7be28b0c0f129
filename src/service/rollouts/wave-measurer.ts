// The measuring of waves: what the programs of their devices have done, from what the devices report. It is known again from the database after a
// restart; what is kept in memory spares reading what has not changed.

import { setImmediate } from 'node:timers/promises';
import type { Store } from '../database/store.ts';
import { readActivity } from './device-measurement.ts';
import { type Activity, aggregate, type Measurement } from './measurement.ts';
import type { RolloutRecord, StateVersion } from './repository.ts';
import { RolloutRecords } from './repository.ts';

/** Devices whose reports are read in one go, before others get their turn. */
const batchSize = 100;

type CachedActivity = { readonly state: string | null; readonly activity: Activity };

export class WaveMeasurer {
  readonly #store: Store;
  /** By rollout and wave, by device. */
  readonly #known = new Map<string, Map<string, CachedActivity>>();

  constructor(store: Store) {
    this.#store = store;
  }

  /** Measures the devices of a wave that have got the build, by what they have reported until now. */
  async measure(
    { id, module }: Pick<RolloutRecord, 'id' | 'module'>,
    wave: number,
  ): Promise<{ readonly measured: Measurement; readonly devices: ReadonlyMap<string, Measurement> }> {
    const rollouts = new RolloutRecords(this.#store.readConnection);
    const reported = await rollouts.stateVersions(id, wave);
    const before = this.#known.get(waveKey(id, wave));
    const known = new Map<string, CachedActivity>();
    for (const { deviceId, ...version } of reported) {
      const last = before?.get(deviceId);
      if (last !== undefined && last.state !== null && last.state === stateKey(version)) known.set(deviceId, last);
    }
    const changed = reported.map(({ deviceId }) => deviceId).filter((deviceId) => !known.has(deviceId));
    for (let first = 0; first < changed.length; first += batchSize) {
      for (const measurable of await rollouts.measurableDevices(id, changed.slice(first, first + batchSize))) {
        const activity = await readActivity(this.#store.readConnection, module, measurable);
        if (activity !== null) known.set(measurable.deviceId, { state: stateKey(measurable), activity });
      }
      await setImmediate();
    }
    this.#known.set(waveKey(id, wave), known);
    return {
      measured: aggregate([...known.values()].map(({ activity }) => activity)),
      devices: new Map([...known].map(([deviceId, { activity }]) => [deviceId, aggregate([activity])])),
    };
  }

  /** Only these rollouts and waves are measured any more. */
  forgetAllExcept(waves: Iterable<readonly [rolloutId: string, wave: number]>): void {
    const kept = new Set([...waves].map(([rolloutId, wave]) => waveKey(rolloutId, wave)));
    for (const name of this.#known.keys()) if (!kept.has(name)) this.#known.delete(name);
  }
}

/** The same for the same state of a device; null where the state has no sequence, and any may be another. */
const stateKey = ({ stateReportedAt, stateSequence }: StateVersion) =>
  stateSequence === null ? null : `${stateSequence} ${stateReportedAt?.getTime()}`;

const waveKey = (rolloutId: string, wave: number) => `${rolloutId}/${wave}`;
