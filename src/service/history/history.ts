// The module history: what has been in the module tables of devices, when, and where a build is or was.

import type { DamagedItem } from '../database/damaged-rows.ts';
import type { PageByName, PageByTime } from '../database/page.ts';
import { type PageResult, readMarkedPage } from '../database/page-reader.ts';
import { undecodablePosition } from '../database/readable-rows.ts';
import type { Store } from '../database/store.ts';
import { DeviceRecords } from '../devices/repository.ts';
import { BuildRecords } from '../modules/repository.ts';
import { notFound } from '../problem.ts';
import { type BuildOnDevices, type DeviceOfBuild, type HistoryFilter, HistoryQueries } from './queries.ts';
import type { HistoryRecord } from './repository.ts';

export class History {
  readonly #store: Store;
  readonly #queries: HistoryQueries;

  constructor(store: Store) {
    this.#store = store;
    this.#queries = new HistoryQueries(store.reader);
  }

  /** Every stay of a version in a device's module table, of one module or of all. @throws {Problem} `not-found`. */
  async list(filter: HistoryFilter, page: PageByTime<number>): Promise<PageResult<HistoryRecord | DamagedItem, PageByTime<number>>> {
    await this.#checkDevice(filter.deviceId);
    return readMarkedPage(page, {
      read: (wanted) => this.#queries.list(filter, wanted),
      positionOfUndecodable: undecodablePosition.byTimeAndNumber,
      positionOf: ({ installedAt, number }) => ({ time: installedAt, key: number }),
    });
  }

  /** What was in a device's module table at that moment, by the names of the modules. @throws {Problem} `not-found`. */
  async at(deviceId: string, moment: Date, page: PageByName): Promise<PageResult<HistoryRecord | DamagedItem, PageByName>> {
    await this.#checkDevice(deviceId);
    return readMarkedPage(page, {
      read: (wanted) => this.#queries.at(deviceId, moment, wanted),
      positionOf: ({ module }) => ({ name: module }),
      positionOfUndecodable: undecodablePosition.byName,
    });
  }

  /** Devices that have, or have had, a build in their module tables, by their identifiers. @throws {Problem} `not-found`. */
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

  async #checkDevice(id: string): Promise<void> {
    if ((await new DeviceRecords(this.#store.readConnection).find(id)) === null) throw notFound('device', id);
  }
}
