// Measures waves from the states that their devices report. The cache avoids reading unchanged states again; it is not needed after a restart.

import { setImmediate } from 'node:timers/promises';
import type { Store } from '../database/store.ts';
import { type MeasuredRollout, readActivity } from './device-measurement.ts';
import { type Activity, aggregate, type Measurement } from './measurement.ts';
import type { StateVersion } from './repository.ts';
import { RolloutRecords } from './repository.ts';

/** Devices read at once, before yielding to the event loop. */
const batchSize = 100;

type CachedActivity = { readonly state: string | null; readonly activity: Activity };

export class WaveMeasurer {
  readonly #store: Store;
  /** By rollout and wave, then by device. */
  readonly #cache = new Map<string, Map<string, CachedActivity>>();

  constructor(store: Store) {
    this.#store = store;
  }

  /** Measures the loaded devices of a wave by their last reported states. */
  async measure(
    { id, modules }: MeasuredRollout,
    wave: number,
  ): Promise<{ readonly measured: Measurement; readonly devices: ReadonlyMap<string, Measurement> }> {
    const rollouts = new RolloutRecords(this.#store.readConnection);
    const reported = await rollouts.stateVersions(id, wave);
    const cached = this.#cache.get(waveKey(id, wave));
    const activities = new Map<string, CachedActivity>();
    for (const { deviceId, ...version } of reported) {
      const last = cached?.get(deviceId);
      if (last !== undefined && last.state !== null && last.state === stateKey(version)) activities.set(deviceId, last);
    }
    const changed = reported.map(({ deviceId }) => deviceId).filter((deviceId) => !activities.has(deviceId));
    for (let first = 0; first < changed.length; first += batchSize) {
      for (const measurable of await rollouts.measurableDevices(id, changed.slice(first, first + batchSize))) {
        const activity = await readActivity(this.#store.readConnection, modules, measurable);
        if (activity !== null) activities.set(measurable.deviceId, { state: stateKey(measurable), activity });
      }
      await setImmediate();
    }
    this.#cache.set(waveKey(id, wave), activities);
    return {
      measured: aggregate([...activities.values()].map(({ activity }) => activity)),
      devices: new Map([...activities].map(([deviceId, { activity }]) => [deviceId, aggregate([activity])])),
    };
  }

  /** Drops the cache of all other rollouts and waves. */
  forgetAllExcept(waves: Iterable<readonly [rolloutId: string, wave: number]>): void {
    const current = new Set([...waves].map(([rolloutId, wave]) => waveKey(rolloutId, wave)));
    for (const key of this.#cache.keys()) if (!current.has(key)) this.#cache.delete(key);
  }
}

/** Identifies a state of a device; null if the state has no sequence, so that any report may be a new state. */
const stateKey = ({ stateReportedAt, stateSequence }: StateVersion) =>
  stateSequence === null ? null : `${stateSequence} ${stateReportedAt?.getTime()}`;

const waveKey = (rolloutId: string, wave: number) => `${rolloutId}/${wave}`;
