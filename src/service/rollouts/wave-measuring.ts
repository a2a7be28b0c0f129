// The measuring of waves: what the programs of their devices have done, from what the devices report. It is known again from the database after a
// restart; what is kept in memory spares reading what has not changed.

import { setImmediate } from 'node:timers/promises';
import type { Store } from '../database/store.ts';
import { activityNow } from './figures.ts';
import { type Activity, type Measured, together } from './measurement.ts';
import type { RolloutRecord, StateVersion } from './repository.ts';
import { RolloutRecords } from './repository.ts';

/** Devices whose reports are read in one go, before others get their turn. */
const devicesAtOnce = 100;

type Known = { readonly state: string | null; readonly activity: Activity };

export class WaveMeasuring {
  readonly #store: Store;
  /** By rollout and wave, by device. */
  readonly #known = new Map<string, Map<string, Known>>();

  constructor(store: Store) {
    this.#store = store;
  }

  /** Measures the devices of a wave that have got the build, by what they have reported until now. */
  async measure(
    { id, module }: Pick<RolloutRecord, 'id' | 'module'>,
    wave: number,
  ): Promise<{ readonly measured: Measured; readonly devices: ReadonlyMap<string, Measured> }> {
    const rollouts = new RolloutRecords(this.#store.readConnection);
    const reported = await rollouts.reportedOf(id, wave);
    const before = this.#known.get(nameOf(id, wave));
    const known = new Map<string, Known>();
    for (const { deviceId, ...version } of reported) {
      const last = before?.get(deviceId);
      if (last !== undefined && last.state !== null && last.state === nameOfState(version)) known.set(deviceId, last);
    }
    const changed = reported.map(({ deviceId }) => deviceId).filter((deviceId) => !known.has(deviceId));
    for (let first = 0; first < changed.length; first += devicesAtOnce) {
      for (const measurable of await rollouts.measurables(id, changed.slice(first, first + devicesAtOnce))) {
        const activity = await activityNow(this.#store.readConnection, module, measurable);
        if (activity !== null) known.set(measurable.deviceId, { state: nameOfState(measurable), activity });
      }
      await setImmediate();
    }
    this.#known.set(nameOf(id, wave), known);
    return {
      measured: together([...known.values()].map(({ activity }) => activity)),
      devices: new Map([...known].map(([deviceId, { activity }]) => [deviceId, together([activity])])),
    };
  }

  /** Only these rollouts and waves are measured any more. */
  keepOnly(waves: Iterable<readonly [rolloutId: string, wave: number]>): void {
    const kept = new Set([...waves].map(([rolloutId, wave]) => nameOf(rolloutId, wave)));
    for (const name of this.#known.keys()) if (!kept.has(name)) this.#known.delete(name);
  }
}

/** The same for the same state of a device; null where the state has no sequence, and any may be another. */
const nameOfState = ({ stateAt, stateSequence }: StateVersion) =>
  stateSequence === null ? null : `${stateSequence} ${stateAt?.getTime()}`;

const nameOf = (rolloutId: string, wave: number) => `${rolloutId}/${wave}`;
