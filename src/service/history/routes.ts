// Module history under /v1/devices and /v1/modules: versions installed on a device, and devices that have or had a build.

import type { z } from 'zod';
import { MemoryMap } from '../../protocol/device-state.ts';
import type { DamagedRows } from '../database/damaged-rows.ts';
import { deviceParameter } from '../devices/schemas.ts';
import { scopeOf } from '../http/access.ts';
import { parsePageByName, parsePageByTimeAndNumber, parseTimeRange, sendPage } from '../http/pages.ts';
import { problems } from '../http/problem-schemas.ts';
import type { Api } from '../http/route.ts';
import { buildParameters } from '../modules/schemas.ts';
import type { History, Residency } from './history.ts';
import type { DeviceOfBuild as DeviceOfBuildRecord } from './queries.ts';
import {
  DeviceOfBuild,
  DeviceOfBuildPage,
  devicesOfBuildQuery,
  HistoryEntry,
  HistoryPage,
  historyParameters,
  historyQuery,
  modulesAtQuery,
} from './schemas.ts';

const tags = ['history'];
const residencies = HistoryPage.describe('A page of residencies, sorted by `installedAt`.');

type Uses = { readonly history: History; readonly damagedRows: DamagedRows };

export function addHistoryRoutes(app: Api, uses: Uses): void {
  addDeviceHistoryRoutes(app, uses);
  addModuleHistoryRoute(app, uses);
  addBuildHistoryRoute(app, uses);
}

function addDeviceHistoryRoutes(app: Api, { history, damagedRows }: Uses): void {
  app.get(
    '/v1/devices/:device/history',
    {
      config: { access: 'viewer', scope: 'path' },
      schema: {
        operationId: 'listDeviceHistory',
        tags,
        summary: 'List the module history of a device',
        description: 'Lists each period in which a version of any module was installed on the device.',
        params: deviceParameter,
        querystring: historyQuery,
        response: { 200: residencies, ...problems('not-found') },
      },
    },
    async (request, reply) => {
      const filter = { deviceId: request.params.device, ...parseTimeRange(request.query) };
      const page = await history.list(filter, parsePageByTimeAndNumber(request));
      return sendPage(request, reply, page, {
        kind: 'history entry',
        schema: HistoryEntry,
        idOf: ({ number }) => String(number),
        toItem: toHistoryEntry,
        damagedRows,
      });
    },
  );

  app.get(
    '/v1/devices/:device/modules',
    {
      config: { access: 'viewer', scope: 'path' },
      schema: {
        operationId: 'listModulesAtTime',
        tags,
        summary: 'List the modules installed on a device at a point in time',
        params: deviceParameter,
        querystring: modulesAtQuery,
        response: {
          200: HistoryPage.describe('A page with the residency of each module that was installed, sorted by module name.'),
          ...problems('not-found'),
        },
      },
    },
    async (request, reply) => {
      const page = await history.at(request.params.device, request.query.at, parsePageByName(request));
      return sendPage(request, reply, page, {
        kind: 'history entry',
        schema: HistoryEntry,
        idOf: ({ number }) => String(number),
        toItem: toHistoryEntry,
        damagedRows,
      });
    },
  );
}

function addModuleHistoryRoute(app: Api, { history, damagedRows }: Uses): void {
  app.get(
    '/v1/devices/:device/modules/:module/history',
    {
      config: { access: 'viewer', scope: 'path' },
      schema: {
        operationId: 'listModuleHistory',
        tags,
        summary: 'List the history of a module on a device',
        description: 'Lists each period in which a version of the module was installed on the device.',
        params: historyParameters,
        querystring: historyQuery,
        response: { 200: residencies, ...problems('not-found') },
      },
    },
    async (request, reply) => {
      const { device, module } = request.params;
      const page = await history.list({ deviceId: device, module, ...parseTimeRange(request.query) }, parsePageByTimeAndNumber(request));
      return sendPage(request, reply, page, {
        kind: 'history entry',
        schema: HistoryEntry,
        idOf: ({ number }) => String(number),
        toItem: toHistoryEntry,
        damagedRows,
      });
    },
  );
}

function addBuildHistoryRoute(app: Api, { history, damagedRows }: Uses): void {
  app.get(
    '/v1/modules/:module/builds/:version/devices',
    {
      config: { access: 'viewer', scope: 'filter' },
      schema: {
        operationId: 'listDevicesOfBuild',
        tags,
        summary: 'List the devices of a build',
        description: 'Lists the devices that have or had the build installed.',
        params: buildParameters,
        querystring: devicesOfBuildQuery,
        response: { 200: DeviceOfBuildPage.describe('A page of devices, sorted by device identifier.'), ...problems('not-found') },
      },
    },
    async (request, reply) => {
      const page = await history.devicesOf(
        { ...request.params, isRunning: request.query.running, scope: scopeOf(request) },
        parsePageByName(request),
      );
      return sendPage(request, reply, page, {
        kind: 'device',
        schema: DeviceOfBuild,
        idOf: ({ device }) => device.id,
        toItem: toDeviceOfBuild,
        damagedRows,
      });
    },
  );
}

const pageBytes = MemoryMap.shape.pageBytes.value;

/** Returns the address of the last byte of some pages. An unknown number of pages (0) counts as one. */
function lastAddressOf(address: string, pages: number): string {
  return `0x${(BigInt(address) + BigInt(Math.max(pages, 1) * pageBytes - 1)).toString(16)}`;
}

function toHistoryEntry(entry: Residency): z.infer<typeof HistoryEntry> {
  const { module, version, imageDigest, loadId, requestedBy, address, pages, installedAt, removedAt, replacedByLoadId, interrupted } =
    entry;
  const { shape } = HistoryEntry;
  return {
    module,
    version,
    image: imageDigest,
    load: loadId,
    patchSet: entry.patchSet,
    source: entry.observed ? 'observed' : loadId === null ? 'restored' : 'load',
    requestedBy,
    address,
    lastAddress: lastAddressOf(address, pages),
    pages,
    installedAt: installedAt.toISOString(),
    removedAt: removedAt?.toISOString() ?? null,
    removalCause: shape.removalCause.parse(entry.removalCause),
    replacedByLoad: replacedByLoadId,
    invalidation: shape.invalidation.parse(entry.invalidation),
    interrupted,
  };
}

function toDeviceOfBuild({ device, ...times }: DeviceOfBuildRecord): z.infer<typeof DeviceOfBuild> {
  return {
    device: device.id,
    deviceName: device.name,
    firstInstalledAt: times.firstInstalledAt.toISOString(),
    lastInstalledAt: times.lastInstalledAt.toISOString(),
    removedAt: times.removedAt?.toISOString() ?? null,
    residencies: times.residencies,
  };
}
