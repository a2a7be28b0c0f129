// Chooses the devices that report their states next, in turns: the number of states per interval is bounded, however many devices change.

import type { DeviceId } from '../protocol/identifiers.ts';

/** Maximum number of states per round. If more devices change, each reports less often. */
export const statesPerRound = 100;

/** A device in the round-robin. */
export type RoundRobinDevice = {
  /** False if the state cannot have changed since the last report: the round skips the device. */
  readonly mayHaveChanged: boolean;
};

export class StateRoundRobin<Device extends RoundRobinDevice> {
  readonly #devices: ReadonlyMap<DeviceId, Device>;
  #rest: IterableIterator<[DeviceId, Device]>;

  /** @param devices May change between rounds. */
  constructor(devices: ReadonlyMap<DeviceId, Device>) {
    this.#devices = devices;
    this.#rest = devices.entries();
  }

  /** Yields up to `statesPerRound` devices that may have changed, after those of the last round. */
  *nextRound(): Generator<[DeviceId, Device]> {
    let yielded = 0;
    for (let checked = 0; checked < this.#devices.size && yielded < statesPerRound; checked += 1) {
      const next = this.#next();
      if (next === null) return;
      if (!next[1].mayHaveChanged) continue;
      yielded += 1;
      yield next;
    }
  }

  /** Returns the next device, and the first one after the last; null if there are no devices. */
  #next(): [DeviceId, Device] | null {
    const next = this.#rest.next();
    if (!next.done) return next.value;
    this.#rest = this.#devices.entries();
    return this.#rest.next().value ?? null;
  }
}
