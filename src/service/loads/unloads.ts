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
import { type CreatedLoads, createLoads, type LoadTerms, type Target } from './batches.ts';
import type { OnLoadsEnded } from './endings.ts';
import { checkHostsSupport } from './host-support.ts';

/** Devices that an error message names. */
const namedDeviceLimit = 10;

export type UnloadRequest = Omit<LoadTerms, 'versionPolicy' | 'downgradeReason' | 'similarityPolicy' | 'linkPolicy'> & {
  readonly module: string;
  readonly selector: Selector;
  /** Reason for unloading the module although modules in memory import it; null: devices refuse that. */
  readonly forceReason: string | null;
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
   * @throws {Problem} `invalid-value`, `not-loaded`, `unsupported-by-host`, `busy`.
   */
  async request(request: UnloadRequest, requester: Requester, toResponse: ToResponse<CreatedLoads>): Promise<CreatedLoads> {
    const { module, selector, forceReason, ...how } = request;
    const terms = { ...how, ...unusedPolicies };
    return this.#uses.store.transaction(async (connection) => {
      const targets = await findTargets(connection, await selectDevices(connection, selector), request);
      await checkHostsSupport(connection, targets, 'unload-module');
      const facts = selectorFacts(selector);
      const batch = { targets, module, terms, isRollback: false, rolloutId: null, selection: facts, facts, requester };
      const created = await createLoads(connection, batch, this.#uses.clock.now(), this.#onLoadsEnded);
      await storeResponse(connection, requester, toResponse, created);
      return created;
    });
  }
}

/** Returns the devices that have the module. @throws {Problem} `invalid-value`, `not-loaded`. */
async function findTargets(
  connection: Connection,
  devices: readonly SelectedDevice[],
  { module, selector, forceReason }: UnloadRequest,
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
