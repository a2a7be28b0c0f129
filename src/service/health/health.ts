// The health of the service and its fleet, and what is measured of them.

import type { Clock } from '../clock/service-clock.ts';
import type { DamagedRows } from '../database/damaged-rows.ts';
import type { Store } from '../database/store.ts';
import { currentLevels, type FleetHealth, fleetHealth } from './fleet.ts';
import type { Levels, Measurements } from './measurements.ts';
import { Readiness } from './readiness.ts';

type Uses = {
  readonly store: Store;
  readonly clock: Clock;
  readonly damagedRows: DamagedRows;
  readonly measurements: Measurements;
  /** What is wrong with the service and around it, in words. */
  readonly faults: () => readonly string[];
  /** What this process has under way. */
  readonly underWay: () => Pick<Levels, 'reportBatchesUnderWay' | 'eventFollowers' | 'orderStreams'>;
};

export class Health {
  readonly #uses: Uses;
  readonly #readiness: Readiness;

  constructor(uses: Uses) {
    this.#uses = uses;
    this.#readiness = new Readiness(uses.store);
  }

  /** The health of the fleet, with every fault of the service among its reasons. */
  async fleet(): Promise<FleetHealth> {
    const { store, damagedRows, faults } = this.#uses;
    await damagedRows.removeCorrected((place) => store.isUndecodable(place));
    return fleetHealth(this.#uses, [...faults(), ...damagedRows.reasons]);
  }

  /** What is measured, in the text format of Prometheus. */
  async metrics(): Promise<string> {
    const { store, measurements, underWay } = this.#uses;
    return measurements.text({ ...(await currentLevels(store)), ...underWay() });
  }

  /** Why the service cannot do its work; nothing where it can. */
  notReadyBecause(): Promise<readonly string[]> {
    return this.#readiness.reasons();
  }

  /** From now on the service is not ready any more. */
  close(): void {
    this.#readiness.close();
  }
}
