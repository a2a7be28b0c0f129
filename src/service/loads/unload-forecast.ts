// Predicts the outcome of unloads without creating them: applies the rules of devices to the service's records of each device.

import { z } from 'zod';
import { checkUnload, describeLinks, type LinkedModule } from '../../machine/isolation/link-policy.ts';
import type { Connection } from '../database/connection.ts';
import { DeviceRecords } from '../devices/repository.ts';
import type { SelectedDevice } from '../devices/selection.ts';
import { findHostsWithout, unsupportedReason } from './host-support.ts';
import { type ReportedTable, readLinkedModules, SharedTables, unknownModuleMessage } from './link-forecast.ts';

export const unloadVerdicts = [
  'would-unload',
  // The device has lost the module.
  'refused-not-loaded',
  'refused-imported',
  // The agent of the host does not know unloads: the request is rejected.
  'unsupported-by-host',
] as const;

/** The predicted outcome of an unload. */
export type UnloadForecast = {
  readonly verdict: (typeof unloadVerdicts)[number];
  /** Why the unload would be refused, in the words of the device, or why the forecast is incomplete; otherwise null. */
  readonly reason: string | null;
  /** The links that modules in memory would lose although the unload is forced. */
  readonly warnings: readonly string[];
};

/** The part of a state that the forecast needs. */
const Reported = z.object({ moduleTable: z.array(z.object({ module: z.string(), version: z.string(), image: z.string() })) });

const notReportedReason = 'the device has not reported its state since its host started: the modules that import it are unknown';

/**
 * Predicts the outcome of unloads, by device identifier, as if the devices started them now: by the last reported state of each device, without queued
 * loads.
 * @param devices Devices that are recorded to have the module.
 * @param isForced Whether to unload it although modules in memory import it.
 */
export async function forecastUnloads(
  connection: Connection,
  module: string,
  devices: readonly SelectedDevice[],
  isForced: boolean,
): Promise<ReadonlyMap<string, UnloadForecast>> {
  const tables = new SharedTables();
  const states = await new DeviceRecords(connection).statesOf(
    devices.map(({ id }) => id),
    (state) => {
      const reported = Reported.safeParse(state).data;
      return reported === undefined ? null : tables.share(reported.moduleTable);
    },
  );
  const images = new Set(tables.all.flatMap((table) => table.map(({ image }) => image)));
  const modules = await readLinkedModules(connection, [...images]);
  const byTable = new Map(tables.all.map((table) => [table, forecastTable(table, module, modules, isForced)]));
  const hostsWithout = await findHostsWithout(connection, devices, 'unload-module');
  return new Map(
    devices.map(({ id, hostId }) => {
      const host = hostsWithout.get(hostId);
      if (host !== undefined) return [id, forecast('unsupported-by-host', unsupportedReason(host, 'unload-module'))];
      const table = states.get(id);
      return [id, (table && byTable.get(table)) ?? forecast('would-unload', notReportedReason)];
    }),
  );
}

function forecastTable(
  table: ReportedTable,
  module: string,
  modules: ReadonlyMap<string, LinkedModule>,
  isForced: boolean,
): UnloadForecast {
  if (!table.some((entry) => entry.module === module)) return forecast('refused-not-loaded', `${module} is not in memory`);
  const { refusal, unresolved } = checkUnload(
    module,
    table.flatMap(({ image }) => modules.get(image) ?? []),
    isForced,
  );
  if (refusal !== null) return forecast('refused-imported', refusal.reason);
  const unknown = table.find(({ image }) => !modules.has(image));
  const warnings = describeLinks(unresolved, { arriving: [], leaving: [module] });
  return { verdict: 'would-unload', reason: unknown === undefined ? null : unknownModuleMessage(unknown), warnings };
}

const forecast = (verdict: UnloadForecast['verdict'], reason: string): UnloadForecast => ({ verdict, reason, warnings: [] });
