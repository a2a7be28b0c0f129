// /v1/devices: creates, lists, reads and renames devices, and replaces their labels.

import { z } from 'zod';
import { UnresolvedLink } from '../../protocol/load-report.ts';
import type { DamagedRows } from '../database/damaged-rows.ts';
import { rejectNameOrder, toDecommissioned } from '../hosts/decommissioning-schemas.ts';
import { scopeOf } from '../http/access.ts';
import {
  computeEntityTag,
  ifMatchHeaders,
  ifNoneMatchHeaders,
  matchesIfMatch,
  matchesIfNoneMatch,
  nameEntityTag,
} from '../http/entity-tags.ts';
import { parsePageByName, parsePageByTime, parsePageByTimeAndNumber, parseTimeRange, sendPage } from '../http/pages.ts';
import { postProblems, problems } from '../http/problem-schemas.ts';
import { type Api, type CreatedResponse, getRequester, toStoredResponse } from '../http/route.ts';
import type { AbiViolationRecord } from './abi-violation-queries.ts';
import type { DeviceNames, Devices, DeviceView } from './devices.ts';
import type { LabelEdits } from './label-edits.ts';
import { buildModuleGraph, type ModuleGraph as Graph, graphLimits, type ModuleLink } from './module-graph.ts';
import { ModuleGraph } from './module-graph-schemas.ts';
import {
  AbiViolation,
  AbiViolationPage,
  abiViolationQuery,
  Device,
  DeviceChanges,
  DeviceDetail,
  DeviceLabels,
  DevicePage,
  deviceParameter,
  deviceQuery,
  LabelEdit,
  LabelEditResult,
  NewDevice,
  NewDeviceLabels,
} from './schemas.ts';
import { selectorOf } from './selection-schemas.ts';

const tags = ['devices'];

type Uses = { readonly devices: Devices; readonly labelEdits: LabelEdits; readonly damagedRows: DamagedRows };

export function addDeviceRoutes(app: Api, uses: Uses): void {
  addInventoryRoutes(app, uses);
  addModuleGraphRoute(app, uses);
  addLabelRoutes(app, uses);
  addLabelEditRoute(app, uses);
  addAbiViolationRoute(app, uses);
}

/** Replaces the name of the device in a path by its identifier, before the handlers of the routes that are added later. */
export function resolveDeviceNames(app: Api, { devices }: Pick<Uses, 'devices'>): void {
  app.addHook('preHandler', async ({ params }) => {
    if (typeof params !== 'object' || params === null || !('device' in params)) return;
    if (typeof params.device === 'string') params.device = await devices.findId(params.device);
  });
}

function addInventoryRoutes(app: Api, { devices, damagedRows }: Uses): void {
  app.post(
    '/v1/devices',
    {
      config: { access: 'operator' },
      schema: {
        operationId: 'createDevice',
        tags,
        summary: 'Create a device',
        description: 'Creates a device with empty memory on a device host.',
        body: NewDevice,
        response: {
          201: DeviceDetail.describe('The device was created. Its status is `attaching` until its host has booted it.'),
          ...postProblems('name-taken', 'no-host'),
        },
      },
    },
    async (request, reply) => {
      const { host, ...device } = request.body;
      const view = await devices.create({ ...device, host: host ?? null }, getRequester(request), (created) =>
        toStoredResponse(toCreated(created)),
      );
      const { status, location, body } = toCreated(view);
      return reply.status(status).header('location', location).send(body);
    },
  );

  app.get(
    '/v1/devices',
    {
      config: { access: 'viewer', scope: 'filter' },
      schema: {
        operationId: 'listDevices',
        tags,
        summary: 'List devices',
        querystring: deviceQuery,
        response: { 200: DevicePage.describe('A page of devices.'), ...problems() },
      },
    },
    async (request, reply) => {
      const { id: ids, sort, label: labels, selector, group, host, status, module, version, name, namePrefix } = request.query;
      rejectNameOrder(sort, status);
      const criteria = { labels, selector, group, scope: scopeOf(request) };
      const filter = { criteria, module, version, ids, host, status, name, namePrefix, ...parseTimeRange(request.query) };
      const page = await devices.list(filter, sort === 'name' ? parsePageByName(request) : parsePageByTime(request));
      return sendPage(request, reply, page, {
        kind: 'device',
        schema: Device,
        idOf: ({ device }) => device.id,
        toItem: toDevice,
        damagedRows,
      });
    },
  );

  app.get(
    '/v1/devices/:device',
    {
      config: { access: 'viewer', scope: 'path' },
      schema: {
        operationId: 'getDevice',
        tags,
        summary: 'Get a device',
        description:
          'Returns the device with its module table and memory map. The `ETag` changes with the name of the device. Send it as `If-Match` to rename the device only if its name has not changed.',
        params: deviceParameter,
        response: { 200: DeviceDetail.describe('The device, with the state that it last reported.'), ...problems('not-found') },
      },
    },
    async ({ params }, reply) => {
      const { view, graph } = await devices.getWithGraph(params.device);
      return reply.header('etag', nameEntityTag(view.device)).send(toDeviceDetail(view, graph));
    },
  );

  app.patch(
    '/v1/devices/:device',
    {
      config: { access: 'operator' },
      schema: {
        operationId: 'renameDevice',
        tags,
        summary: 'Rename a device',
        description:
          'The host continues to register the device with the name that it is configured with: the device remains the same. ' +
          'With `If-Match`, the request fails with 412 if the name has changed since the device was read.',
        params: deviceParameter,
        headers: ifMatchHeaders,
        body: DeviceChanges,
        response: {
          200: DeviceDetail.describe('The renamed device, with its `ETag`.'),
          ...problems('not-found', 'name-taken', 'decommissioned', 'precondition-failed', 'too-large', 'unsupported-media-type'),
        },
      },
    },
    async (request, reply) => {
      const { params, headers, body } = request;
      const isExpected = (current: DeviceNames) => matchesIfMatch(headers, nameEntityTag(current));
      await devices.rename(params.device, body.name, isExpected, getRequester(request));
      const { view, graph } = await devices.getWithGraph(params.device);
      return reply.header('etag', nameEntityTag(view.device)).send(toDeviceDetail(view, graph));
    },
  );
}

function addModuleGraphRoute(app: Api, { devices }: Uses): void {
  app.get(
    '/v1/devices/:device/module-graph',
    {
      config: { access: 'viewer', scope: 'path' },
      schema: {
        operationId: 'getModuleGraph',
        tags,
        summary: 'Get the module graph of a device',
        description:
          'Returns the modules in the memory of the device, what each imports from which module, the declared ranges of versions, and the modules that import it. ' +
          'It is computed from the last reported module table and the interfaces of the builds; links may be unresolved with the link policies `warn` and `off`.',
        params: deviceParameter,
        response: { 200: ModuleGraph.describe('The module graph.'), ...problems('not-found') },
      },
    },
    async ({ params }) => {
      const { view, graph } = await devices.getWithGraph(params.device);
      return toModuleGraph(view, graph);
    },
  );
}

function addLabelRoutes(app: Api, { devices }: Uses): void {
  app.get(
    '/v1/devices/:device/labels',
    {
      config: { access: 'viewer', scope: 'path' },
      schema: {
        operationId: 'getDeviceLabels',
        tags,
        summary: 'Get the labels of a device',
        description: 'The response has an `ETag`. Send it as `If-Match` to replace the labels only if they have not changed.',
        params: deviceParameter,
        headers: ifNoneMatchHeaders,
        response: {
          200: DeviceLabels.describe('The labels.'),
          304: z.null().describe('The labels have not changed: their `ETag` is in `If-None-Match`.'),
          ...problems('not-found'),
        },
      },
    },
    async ({ params, headers }, reply) => {
      const { device } = await devices.get(params.device);
      const labels = toLabels(device.labels);
      const etag = computeEntityTag(labels);
      reply.header('etag', etag);
      return matchesIfNoneMatch(headers, etag) ? reply.status(304).send(null) : reply.send(labels);
    },
  );

  app.put(
    '/v1/devices/:device/labels',
    {
      config: { access: 'operator' },
      schema: {
        operationId: 'replaceDeviceLabels',
        tags,
        summary: 'Replace the labels of a device',
        description:
          'Sets the labels of the device and removes all others. From then on, the labels that its host registers are ignored. ' +
          'With `If-Match`, the request fails with 412 if the labels have changed since they were read.',
        params: deviceParameter,
        headers: ifMatchHeaders,
        body: NewDeviceLabels,
        response: {
          200: DeviceLabels.describe('The new labels, with their `ETag`.'),
          ...problems('not-found', 'decommissioned', 'precondition-failed', 'too-large', 'unsupported-media-type'),
        },
      },
    },
    async (request, reply) => {
      const { params, headers, body } = request;
      const isExpected = (current: Record<string, string>) => matchesIfMatch(headers, computeEntityTag(toLabels(current)));
      await devices.replaceLabels(params.device, body.labels, isExpected, getRequester(request));
      const labels = toLabels(body.labels);
      return reply.header('etag', computeEntityTag(labels)).send(labels);
    },
  );
}

function addLabelEditRoute(app: Api, { labelEdits }: Uses): void {
  app.post(
    '/v1/devices/labels',
    {
      config: { access: 'operator' },
      schema: {
        operationId: 'editDeviceLabels',
        tags,
        summary: 'Edit labels of several devices',
        description:
          'Sets and removes labels of the selected devices, up to 100 devices in one transaction; their other labels remain. From then on, the labels that the hosts of changed devices register are ignored. ' +
          'If a device would have more than 16 labels, the request is rejected and no label is changed. If the request fails midway, repeat it to continue.',
        body: LabelEdit,
        response: { 200: LabelEditResult.describe('The labels are set and removed, or with `dryRun`: the preview.'), ...postProblems() },
      },
    },
    async (request) => {
      const { set, remove, dryRun, ...selected } = request.body;
      const [selector, edit] = [selectorOf(selected, null), { set, remove }];
      const result = dryRun ? await labelEdits.preview(selector, edit) : await labelEdits.apply(selector, edit, getRequester(request));
      return { devices: [...result.devices], unchanged: result.unchanged, dryRun };
    },
  );
}

function addAbiViolationRoute(app: Api, { devices, damagedRows }: Uses): void {
  app.get(
    '/v1/devices/:device/abi-violations',
    {
      config: { access: 'viewer', scope: 'path' },
      schema: {
        operationId: 'listAbiViolations',
        tags,
        summary: 'List ABI violations',
        description:
          'Lists the findings of the ABI test. A program with a hard-coded address (`addressing`: `hard-coded`) faults on its next call after a load has invalidated the version at that address. ' +
          'There is one item per program, version and address for each boot of the host. The service stores the 2,000 violations per device with the newest faults.',
        params: deviceParameter,
        querystring: abiViolationQuery,
        response: {
          200: AbiViolationPage.describe('A page of violations, sorted by the time of their first fault.'),
          ...problems('not-found'),
        },
      },
    },
    async (request, reply) => {
      const { program, module } = request.query;
      const filter = { deviceId: request.params.device, programId: program, module, ...parseTimeRange(request.query) };
      const page = await devices.abiViolations(filter, parsePageByTimeAndNumber(request));
      return sendPage(request, reply, page, {
        kind: 'ABI violation',
        schema: AbiViolation,
        idOf: ({ number }) => String(number),
        toItem: toAbiViolation,
        damagedRows,
      });
    },
  );
}

/** Sorts labels by key, so that equal labels have equal responses and ETags. */
function toLabels(labels: Readonly<Record<string, string>>): z.infer<typeof DeviceLabels> {
  return { labels: Object.fromEntries(Object.entries(labels).toSorted(([left], [right]) => (left < right ? -1 : 1))) };
}

function toDevice({ device, state, drift }: DeviceView): z.infer<typeof Device> {
  const { id, name, registeredName, labels, hostId, status, ramPages, createdAt, movingTo } = device;
  const modules = Object.fromEntries((state?.moduleTable ?? []).map(({ module, version }) => [module, version]));
  const drifted = drift.map(({ module, driftedFrom, driftedAt }) => {
    return { module, expected: driftedFrom, observed: modules[module] ?? null, since: driftedAt.toISOString() };
  });
  const facts = { id, name, registeredName, labels: { ...labels }, host: hostId, status, modules, drift: drifted, ramPages };
  return { ...facts, createdAt: createdAt.toISOString(), movingTo, decommissioned: toDecommissioned(device) };
}

function toCreated(view: DeviceView): CreatedResponse<201, z.infer<typeof DeviceDetail>> {
  return { status: 201, location: `/v1/devices/${view.device.id}`, body: toDeviceDetail(view, buildModuleGraph([], new Map())) };
}

function toDeviceDetail(view: DeviceView, { links, linkCount }: Graph): z.infer<typeof DeviceDetail> {
  const { device, state } = view;
  return {
    ...toDevice(view),
    reportedAt: state === null ? null : (device.stateReportedAt?.toISOString() ?? null),
    attachFailure: device.attachFailure,
    moduleTable: state?.moduleTable ?? [],
    links: links
      .slice(0, graphLimits.shortLinks)
      .map(({ importer, provider, range, resolved }) => ({ importer, provider, range, resolved })),
    linkCount,
    memoryMap: state?.memoryMap ?? null,
    abiViolations: state?.abiViolations.total ?? 0,
  };
}

function toModuleGraph({ device, state }: DeviceView, { modules, links, linkCount }: Graph): z.infer<typeof ModuleGraph> {
  const byImporter = Map.groupBy(links, ({ importer }) => importer.module);
  const byProvider = Map.groupBy(links, ({ provider }) => provider.module);
  return {
    device: device.id,
    reportedAt: state === null ? null : (device.stateReportedAt?.toISOString() ?? null),
    modules: modules.map(({ module, version, image, isKnown }) => ({
      module,
      version,
      image,
      importsKnown: isKnown,
      imports: (byImporter.get(module) ?? []).map(toGraphImport),
      importedBy: (byProvider.get(module) ?? []).map(({ importer }) => importer),
    })),
    linkCount,
  };
}

function toGraphImport({ provider, range, resolved, exports, unresolved }: ModuleLink) {
  return {
    ...provider,
    range,
    resolved,
    exports: exports.slice(0, graphLimits.exports),
    exportCount: exports.length,
    unresolved: z.array(UnresolvedLink).parse(unresolved.slice(0, graphLimits.unresolved)),
    unresolvedLinks: unresolved.length,
  };
}

function toAbiViolation(violation: AbiViolationRecord): z.infer<typeof AbiViolation> {
  const { programId, programName, module, version, address, page, flag, firstFaultAt, lastFaultAt, faults } = violation;
  return {
    program: programId,
    programName,
    module,
    version,
    address,
    page,
    flag: AbiViolation.shape.flag.parse(flag),
    firstFaultAt: firstFaultAt.toISOString(),
    lastFaultAt: lastFaultAt.toISOString(),
    faults: Number(faults),
  };
}
