// Loads: one build is to be put on devices; each device carries out one load and reports its outcome.

import { newIdentifier } from '../protocol/identifiers.ts';
import type { LoadFilter, LoadRecord, LoadSummary, NewLoad } from '../store/records/loads.ts';
import type { Records } from '../store/records/records.ts';
import { audit, type Context, type PageOf, type Requester, readPage } from './context.ts';
import { newOrder } from './orders.ts';
import { invalidValue, notFound, Problem } from './problem.ts';

/** Devices of one request. */
const loadLimit = 10_000;

export type NewLoadsRequest = {
  readonly module: string;
  readonly version: string;
  readonly selector: { readonly devices: readonly string[] } | { readonly labels: Readonly<Record<string, string>> };
  readonly strategy: 'inject';
  readonly invalidation: 'none' | 'mark-invalid' | 'nx' | 'delete';
};

export type NewLoads = { readonly batch: string; readonly loads: readonly { readonly id: string; readonly device: string }[] };

export class Loads {
  readonly #context: Context;

  constructor(context: Context) {
    this.#context = context;
  }

  /** Accepts one load for each selected device, all of them or none. @throws {Problem} `not-found`, `invalid-value`. */
  async request(request: NewLoadsRequest, requester: Requester): Promise<NewLoads> {
    const { module, version, strategy, invalidation } = request;
    const requestedAt = new Date();
    const batchId = newIdentifier('batch');
    const { loads, hostIds } = await this.#context.store.transaction(async (records) => {
      const build = await records.builds.find(module, version);
      if (build === null) throw await unknownBuild(records, module, version);
      const devices = await selectDevices(records, request.selector);
      const made = devices.map((device) => {
        const load: NewLoad = {
          id: newIdentifier('load'),
          batchId,
          deviceId: device.id,
          buildId: build.id,
          module,
          version,
          strategy,
          invalidation,
          state: 'queued',
          requestedAt,
        };
        const order = newOrder(
          device,
          { kind: 'load', load: load.id, module, version, image: build.imageDigest, strategy, invalidation },
          requestedAt,
        );
        return { load, order };
      });
      await records.loads.create(made.map(({ load }) => load));
      await records.orders.create(made.map(({ order }) => order));
      const selector = 'labels' in request.selector ? { labels: request.selector.labels } : {};
      const detail = { module, version, strategy, invalidation, devices: devices.length, ...selector };
      await audit(records, requester, requestedAt, [{ action: 'load.requested', object: batchId, detail }]);
      return { loads: made.map(({ load }) => ({ id: load.id, device: load.deviceId })), hostIds: devices.map(({ hostId }) => hostId) };
    });
    this.#context.orderBoard.announce(hostIds);
    return { batch: batchId, loads };
  }

  /** @throws {Problem} `not-found`. */
  async find(id: string): Promise<LoadRecord> {
    const load = await this.#context.store.records.loads.find(id);
    if (load === null) throw notFound('load', id);
    return load;
  }

  list(filter: LoadFilter, page: { limit: number; after: string | null }): Promise<PageOf<LoadSummary, string>> {
    return readPage(
      page,
      (wanted) => this.#context.store.records.loads.list(filter, wanted),
      ({ id }) => id,
    );
  }
}

async function unknownBuild(records: Records, module: string, version: string): Promise<Problem> {
  const versions = await records.builds.versions(module);
  if (versions.length === 0)
    return invalidValue('/module', `there is no module ${module}: push a build first (POST /v1/modules/${module}/builds)`);
  return invalidValue('/version', `there is no build ${module}@${version}: there is ${versions.slice(-20).join(', ')}`);
}

async function selectDevices(records: Records, selector: NewLoadsRequest['selector']): Promise<{ id: string; hostId: string }[]> {
  if ('labels' in selector) {
    const devices = await records.devices.select({ labels: selector.labels }, loadLimit + 1);
    if (devices.length === 0) throw invalidValue('/labels', 'no device has these labels: GET /v1/devices shows what labels there are');
    if (devices.length > loadLimit) throw invalidValue('/labels', `more than ${loadLimit} devices have these labels: narrow the selection`);
    return devices;
  }
  const wanted = [...new Set(selector.devices)];
  const known = new Map((await records.devices.findMany(wanted)).map((device) => [device.id, device]));
  const invalidValues = selector.devices.flatMap((id, index) =>
    known.has(id) ? [] : [{ pointer: `/devices/${index}`, detail: `there is no device ${id}` }],
  );
  const [first] = invalidValues;
  if (first !== undefined) throw new Problem('invalid-value', `${first.detail}; nothing was loaded anywhere`, { invalidValues });
  return wanted.flatMap((id) => known.get(id) ?? []);
}
