// Unloads: loads that remove a module from devices, without a new version.

import type { Clock } from '../clock/service-clock.ts';
import type { Connection } from '../database/connection.ts';
import type { Store } from '../database/store.ts';
import { DeviceRecords } from '../devices/repository.ts';
import { type SelectedDevice, type Selector, selectDevices, selectorFacts } from '../devices/selection.ts';
import { storeResponse, type ToResponse } from '../idempotency/idempotency-store.ts';
import { BuildRecords } from '../modules/repository.ts';
import { invalidValue, Problem } from '../problem.ts';
import type { Requester } from '../requester.ts';
import { createLoads, type LoadTerms, type Target } from './batches.ts';
import { toColumns } from './content.ts';
import type { OnLoadsEnded } from './endings.ts';
import { checkHostsSupport } from './host-support.ts';
import type { AcceptedRequest, PreviewedLoad } from './loads.ts';
import { checkOpensInTime } from './maintenance-holds.ts';
import { forecastUnloads, type UnloadForecast } from './unload-forecast.ts';
import { skippedFacts, type UnreachableChoice, unreachableSplitter } from './unreachable-targets.ts';

/** Devices that an error message names. */
const namedDeviceLimit = 10;

export type UnloadRequest = Omit<LoadTerms, 'versionPolicy' | 'downgradeReason' | 'similarityPolicy' | 'linkPolicy'> & {
  readonly module: string;
  readonly selector: Selector;
  /** Reason for unloading the module although modules in memory import it; null: devices refuse that. */
  readonly forceReason: string | null;
  /** What happens to unreachable devices. Default: their loads wait. */
  readonly unreachable?: UnreachableChoice;
};

/** The expected outcomes of an unload, on the devices that have the module. */
export type UnloadPreview = {
  /** The number of selected devices without the module. */
  readonly withoutModule: number;
  readonly items: readonly (Omit<PreviewedLoad, 'forecast'> & { readonly version: string; readonly forecast: UnloadForecast })[];
};

/** The policies of a load that an unload does not have. */
const unusedPolicies = { versionPolicy: 'newer', downgradeReason: null, similarityPolicy: 'off', linkPolicy: 'require' } as const;

type Uses = { readonly store: Store; readonly clock: Clock };

export class Unloads {
  readonly #uses: Uses;
  readonly #onLoadsEnded: OnLoadsEnded;

  /** @param onLoadsEnded Called in the transaction in which loads are superseded by an unload. */
  constructor(uses: Uses, onLoadsEnded: OnLoadsEnded) {
    this.#uses = uses;
    this.#onLoadsEnded = onLoadsEnded;
  }

  /**
   * Creates one load for each device that has the module, all or none. Devices without the module are skipped unless the request names them.
   * @throws {Problem} `invalid-value`, `not-loaded`, `all-unreachable`, `unsupported-by-host`, `busy`, `windows-closed`.
   */
  async request(request: UnloadRequest, requester: Requester, toResponse: ToResponse<AcceptedRequest>): Promise<AcceptedRequest> {
    const { module, selector, forceReason, unreachable: choice, ...how } = request;
    const terms = { ...how, ...unusedPolicies };
    return this.#uses.store.transaction(async (connection) => {
      const { targets, unreachable } = await splitTargets(
        connection,
        await findTargets(connection, await selectDevices(connection, selector), request),
        choice,
      );
      await checkHostsSupport(connection, targets, 'unload-module');
      const selection = selectorFacts(selector);
      const facts = { ...selection, ...skippedFacts(unreachable) };
      const batch = { targets, module, terms, isRollback: false, rolloutId: null, selection, unreachable, facts, requester };
      const loads = await createLoads(connection, batch, this.#uses.clock.now(), this.#onLoadsEnded);
      const created = { ...loads, unreachable };
      await storeResponse(connection, requester, toResponse, created);
      return created;
    });
  }

  /** Returns the expected outcomes without creating loads. @throws {Problem} `invalid-value`, `not-loaded`, `all-unreachable`, `windows-closed`. */
  async preview(request: UnloadRequest): Promise<UnloadPreview> {
    const connection = this.#uses.store.readConnection;
    const { module, forceReason } = request;
    const selected = await selectDevices(connection, request.selector);
    const found = await findTargets(connection, selected, request);
    const { targets } = await splitTargets(connection, found, request.unreachable);
    const included = new Set(targets.map(({ device }) => device.id));
    const closedOn = await checkOpensInTime(connection, { targets, terms: request }, this.#uses.clock.now());
    const isOverridden = request.overrideMaintenanceWindow !== null;
    const devices = found.map(({ device }) => device);
    const forecasts = await forecastUnloads(connection, module, devices, forceReason !== null);
    const known = await new DeviceRecords(connection).reachabilityOf(devices.map(({ id }) => id));
    const items = found.flatMap(({ device: { id }, content }) => {
      const [forecast, device] = [forecasts.get(id), known.get(id)];
      if (forecast === undefined || device === undefined) return [];
      const hold = isOverridden || !included.has(id) ? null : closedOn(id);
      return [{ device: id, ...device, isSkipped: !included.has(id), version: toColumns(content).version, forecast, hold }];
    });
    return { withoutModule: selected.length - found.length, items };
  }
}

/** Returns the targets of a request, and the unreachable devices among them. @throws {Problem} `all-unreachable`. */
async function splitTargets(connection: Connection, found: readonly Target[], choice: UnreachableChoice | undefined) {
  const devices = found.map(({ device }) => device);
  const { targets, unreachable } = await (await unreachableSplitter(connection, devices, 'unload'))(devices, choice);
  const included = new Set(targets.map(({ id }) => id));
  return { targets: found.filter(({ device }) => included.has(device.id)), unreachable };
}

/** Returns the devices that have the module. @throws {Problem} `invalid-value`, `not-loaded`. */
async function findTargets(
  connection: Connection,
  devices: readonly SelectedDevice[],
  { module, selector, forceReason }: Pick<UnloadRequest, 'module' | 'selector' | 'forceReason'>,
): Promise<Target[]> {
  const versions = await new DeviceRecords(connection).versionsOf(
    devices.map(({ id }) => id),
    module,
  );
  const targets = devices.flatMap((device): Target[] => {
    const version = versions.get(device.id);
    return version === undefined ? [] : [{ device, content: { kind: 'unload', module, version, forceReason } }];
  });
  const missing = devices.filter(({ id }) => !versions.has(id));
  if (missing.length === 0 || (targets.length > 0 && !('devices' in selector))) return targets;
  throw await notLoaded(connection, missing, module);
}

async function notLoaded(connection: Connection, missing: readonly SelectedDevice[], module: string): Promise<Problem> {
  if ((await new BuildRecords(connection).versions(module)).length === 0)
    return invalidValue('/module', `the module ${module} does not exist`);
  const named = await new DeviceRecords(connection).findMany(missing.slice(0, namedDeviceLimit).map(({ id }) => id));
  const names = named.map(({ name }) => name).toSorted();
  const others = missing.length > namedDeviceLimit ? ` and ${missing.length - namedDeviceLimit} more` : '';
  return new Problem('not-loaded', `${module} is not loaded on ${names.join(', ')}${others}; no load was created`);
}
