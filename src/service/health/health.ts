// The health of the service and its fleet, and what is measured of them.

import type { Clock } from '../clock/service-clock.ts';
import type { DamagedRows } from '../database/damaged-rows.ts';
import type { Store } from '../database/store.ts';
import { currentGauges, type FleetHealth, fleetHealth } from './fleet.ts';
import type { Gauges, Metrics } from './metrics.ts';
import { Readiness } from './readiness.ts';

type Uses = {
  readonly store: Store;
  readonly clock: Clock;
  readonly damagedRows: DamagedRows;
  readonly metrics: Metrics;
  /** What is wrong with the service and around it, in words. */
  readonly faults: () => readonly string[];
  /** What this process has under way. */
  readonly processGauges: () => Pick<Gauges, 'reportBatchesInProgress' | 'eventStreams' | 'orderStreams'>;
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
    const { store, metrics, processGauges } = this.#uses;
    return metrics.render({ ...(await currentGauges(store)), ...processGauges() });
  }

  /** Why the service cannot do its work; nothing where it can. */
  notReadyReasons(): Promise<readonly string[]> {
    return this.#readiness.reasons();
  }

  /** From now on the service is not ready any more. */
  close(): void {
    this.#readiness.close();
  }
}
