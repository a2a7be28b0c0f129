// Health of the service and its fleet, and metrics.

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
  /** Returns the current faults of the service and its environment. */
  readonly faults: () => readonly string[];
  /** Milliseconds for which a host is unreachable until it is decommissioned; null: never. */
  readonly decommissionUnreachableAfter: number | null;
  /** Returns the gauges of this process. */
  readonly processGauges: () => Pick<Gauges, 'reportBatchesInProgress' | 'eventStreams' | 'orderStreams'>;
};

export class Health {
  readonly #uses: Uses;
  readonly #readiness: Readiness;

  constructor(uses: Uses) {
    this.#uses = uses;
    this.#readiness = new Readiness(uses.store);
  }

  /** Returns the health of the fleet. Its reasons include the faults of the service. */
  async fleet(): Promise<FleetHealth> {
    const { store, damagedRows, faults } = this.#uses;
    await damagedRows.removeCorrected((place) => store.isUndecodable(place));
    return fleetHealth(this.#uses, [...faults(), ...damagedRows.reasons]);
  }

  /** Returns the metrics in the Prometheus text format. */
  async metrics(): Promise<string> {
    const { store, metrics, processGauges } = this.#uses;
    return metrics.render({ ...(await currentGauges(store)), ...processGauges() });
  }

  /** Returns why the service is not ready; empty if it is ready. */
  notReadyReasons(): Promise<readonly string[]> {
    return this.#readiness.reasons();
  }

  /** Marks the service as not ready. */
  close(): void {
    this.#readiness.close();
  }
}
