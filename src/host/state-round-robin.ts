// Whose turn it is to report its state: however many devices of a host run programs, what is reported of them at a time stays the same.

import type { DeviceId } from '../protocol/identifiers.ts';

/** Devices whose states are taken in one turn; where more may have changed, each is told of less often. */
export const statesPerRound = 100;

/** A device, as it is watched. */
export type Watched = {
  /** False where nothing can have changed since its state was last reported: then it takes nobody's turn. */
  readonly mayHaveChanged: boolean;
};

export class StateRoundRobin<Device extends Watched> {
  readonly #devices: ReadonlyMap<DeviceId, Device>;
  #rest: IterableIterator<[DeviceId, Device]>;

  /** @param devices Others may come, and take the place of those that are there. */
  constructor(devices: ReadonlyMap<DeviceId, Device>) {
    this.#devices = devices;
    this.#rest = devices.entries();
  }

  /** The devices whose turn it is, `statesAtOnce` of them at most: those that may have changed, after the ones of the last turn. */
  *nextRound(): Generator<[DeviceId, Device]> {
    let taken = 0;
    for (let looked = 0; looked < this.#devices.size && taken < statesPerRound; looked += 1) {
      const next = this.#next();
      if (next === null) return;
      if (!next[1].mayHaveChanged) continue;
      taken += 1;
      yield next;
    }
  }

  /** The device after the last one, and after the last of all the first; null where there is none. */
  #next(): [DeviceId, Device] | null {
    const next = this.#rest.next();
    if (!next.done) return next.value;
    this.#rest = this.#devices.entries();
    return this.#rest.next().value ?? null;
  }
}
