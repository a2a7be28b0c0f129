// The module history: what has been in the module tables of devices, when, and where a build is or was.

import type { BuildOnDevices, DeviceOfBuild, HistoryFilter, HistoryRecord } from '../store/records/history.ts';
import type { PageByName, PageByTime } from '../store/records/page.ts';
import { type Context, type PageOf, readMarkedPage, readPage } from './context.ts';
import type { DamagedItem } from './damaged-rows.ts';
import { notFound } from './problem.ts';

export class History {
  readonly #context: Context;

  constructor(context: Context) {
    this.#context = context;
  }

  /** Every stay of a version in a device's module table, of one module or of all. @throws {Problem} `not-found`. */
  async list(filter: HistoryFilter, page: PageByTime<number>): Promise<PageOf<HistoryRecord | DamagedItem, PageByTime<number>>> {
    await this.#checkDevice(filter.deviceId);
    return readMarkedPage(page, {
      read: (wanted) => this.#context.store.records.history.list(filter, wanted),
      readRowByRow: (wanted) => this.#context.store.records.history.listRowByRow(filter, wanted),
      positionOf: ({ enteredAt, number }) => ({ time: enteredAt, key: number }),
    });
  }

  /** What was in a device's module table at that moment, by the names of the modules. @throws {Problem} `not-found`. */
  async at(deviceId: string, moment: Date, page: PageByName): Promise<PageOf<HistoryRecord, PageByName>> {
    await this.#checkDevice(deviceId);
    return readPage(
      page,
      (wanted) => this.#context.store.records.history.at(deviceId, moment, wanted),
      ({ module }) => ({ name: module }),
    );
  }

  /** Devices that have, or have had, a build in their module tables, by their identifiers. @throws {Problem} `not-found`. */
  async devicesOf(build: BuildOnDevices, page: PageByName): Promise<PageOf<DeviceOfBuild, PageByName>> {
    const { module, version } = build;
    if ((await this.#context.store.records.builds.find(module, version)) === null) throw notFound('build', `${module}@${version}`);
    return readPage(
      page,
      (wanted) => this.#context.store.records.history.devicesOfBuild(build, wanted),
      ({ device }) => ({ name: device.id }),
    );
  }

  async #checkDevice(id: string): Promise<void> {
    if ((await this.#context.store.records.devices.find(id)) === null) throw notFound('device', id);
  }
}
