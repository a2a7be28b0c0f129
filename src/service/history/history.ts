// The module history: which versions were installed on a device and when, and which devices have or had a build.

import type { Clock } from '../clock/service-clock.ts';
import { DamagedItem } from '../database/damaged-rows.ts';
import type { PageByName, PageByTime } from '../database/page.ts';
import { type PageResult, readMarkedPage } from '../database/page-reader.ts';
import { undecodablePosition } from '../database/readable-rows.ts';
import type { Store } from '../database/store.ts';
import { DeviceRecords } from '../devices/repository.ts';
import { BuildRecords } from '../modules/repository.ts';
import { notFound } from '../problem.ts';
import { type BuildOnDevices, type DeviceOfBuild, type HistoryFilter, HistoryQueries } from './queries.ts';
import { type HistoryRecord, HistoryRecords, type PatchSetOfLoad } from './repository.ts';

/** A residency, and the patch set of the load that installed it. */
export type Residency = HistoryRecord & { readonly patchSet: PatchSetOfLoad | null };

export class History {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #queries: HistoryQueries;

  constructor({ store, clock }: { readonly store: Store; readonly clock: Clock }) {
    this.#store = store;
    this.#clock = clock;
    this.#queries = new HistoryQueries(store.reader);
  }

  /** Returns the residencies on a device, of one module or of all. @throws {Problem} `not-found`. */
  async list(filter: HistoryFilter, page: PageByTime<number>): Promise<PageResult<Residency | DamagedItem, PageByTime<number>>> {
    await this.#checkDevice(filter.deviceId);
    const found = await readMarkedPage(page, {
      read: (wanted) => this.#queries.list(filter, wanted),
      positionOfUndecodable: undecodablePosition.byTimeAndNumber,
      positionOf: ({ installedAt, number }) => ({ time: installedAt, key: number }),
    });
    return { ...found, items: await this.#withPatchSets(found.items) };
  }

  /** Returns the contents of a device's module table at a time, or now, sorted by module name. @throws {Problem} `not-found`. */
  async at(deviceId: string, moment: Date | undefined, page: PageByName): Promise<PageResult<Residency | DamagedItem, PageByName>> {
    await this.#checkDevice(deviceId);
    const found = await readMarkedPage(page, {
      read: (wanted) => this.#queries.at(deviceId, moment ?? this.#clock.now(), wanted),
      positionOf: ({ module }) => ({ name: module }),
      positionOfUndecodable: undecodablePosition.byName,
    });
    return { ...found, items: await this.#withPatchSets(found.items) };
  }

  /** Returns the devices that have or had a build installed, sorted by identifier. @throws {Problem} `not-found`. */
  async devicesOf(build: BuildOnDevices, page: PageByName): Promise<PageResult<DeviceOfBuild | DamagedItem, PageByName>> {
    const { module, version } = build;
    if ((await new BuildRecords(this.#store.readConnection).find(module, version)) === null)
      throw notFound('build', `${module}@${version}`);
    return readMarkedPage(page, {
      read: (wanted) => this.#queries.devicesOfBuild(build, wanted),
      positionOf: ({ device }) => ({ name: device.id }),
      positionOfUndecodable: undecodablePosition.byName,
    });
  }

  async #withPatchSets(items: readonly (HistoryRecord | DamagedItem)[]): Promise<(Residency | DamagedItem)[]> {
    const loadIds = items.flatMap((item) => (item instanceof DamagedItem ? [] : (item.loadId ?? [])));
    const patchSets = await new HistoryRecords(this.#store.readConnection).patchSetsOf([...new Set(loadIds)]);
    return items.map((item) => (item instanceof DamagedItem ? item : { ...item, patchSet: patchSets.get(item.loadId ?? '') ?? null }));
  }

  async #checkDevice(id: string): Promise<void> {
    if ((await new DeviceRecords(this.#store.readConnection).find(id)) === null) throw notFound('device', id);
  }
}
