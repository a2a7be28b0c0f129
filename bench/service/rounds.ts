// Loads one build on every device of a fleet, from the request until every outcome is committed.

import { unwrapAccepted, unwrapResponse } from '../../src/client/client.ts';
import { type Installation, module, versionOf } from './installation.ts';
import { until } from './measuring.ts';

export type Round = {
  /** Time from the request to its response, and until the last outcome is committed, in milliseconds. */
  readonly accepted: number;
  readonly durable: number;
  /** CPU time of the service and of the hosts meanwhile, in milliseconds. */
  readonly serviceTime: number;
  readonly hostsTime: number;
  readonly batches: readonly string[];
};

export function roundText({ accepted, durable, serviceTime, hostsTime }: Round): string {
  const seconds = (milliseconds: number) => `${(milliseconds / 1_000).toFixed(2)} s`;
  return `accepted ${seconds(accepted)}, durable ${seconds(durable)}, service ${seconds(serviceTime)}, hosts ${seconds(hostsTime)}`;
}

/** Loads a build on the devices with these labels, one request per selector; resolves when every outcome is committed. */
export async function loadEverywhere(fleet: Installation, build: number, selections: readonly Record<string, string>[]): Promise<Round> {
  const { client, view, service, hosts } = fleet;
  const computed = () => ({ service: service.processorTime(), hosts: hosts.reduce((sum, host) => sum + host.processorTime(), 0) });
  // The service may still shed load because of earlier work, which is not part of the measurement.
  unwrapResponse(await client.GET('/v1/devices', { params: { query: { limit: 1 } } }));
  const before = computed();
  const began = performance.now();
  const made = await Promise.all(
    selections.map(async (selected) => {
      const body = { module, version: versionOf(build), labels: selected };
      return unwrapAccepted(await client.POST('/v1/loads', { body })).batch;
    }),
  );
  const accepted = performance.now() - began;
  await until('every load has ended', 2, () => !view.hasOpenLoads());
  const durable = performance.now() - began;
  const after = computed();
  return { accepted, durable, serviceTime: after.service - before.service, hostsTime: after.hosts - before.hosts, batches: made };
}

/** @throws {Error} if a load has another outcome than these. */
export function checkOutcomes({ view }: Installation, { batches }: Round, devices: number, allowed: readonly string[]): void {
  const outcomes = batches.flatMap((batch) => [...view.outcomes(batch)]);
  const well = outcomes.reduce((sum, [outcome, loads]) => sum + (allowed.includes(outcome) ? loads : 0), 0);
  if (well !== devices) throw new Error(`unexpected outcomes of ${devices} loads: ${JSON.stringify(outcomes)}`);
}
