// /v1/rollouts/{rollout}/devices and /report: the progress and result of each device of a rollout.

import { Readable } from 'node:stream';
import { z } from 'zod';
import { DamagedItem, type DamagedRows } from '../database/damaged-rows.ts';
import { csvLine } from '../http/csv.ts';
import { parsePageByNumber, sendPage } from '../http/pages.ts';
import { problems } from '../http/problem-schemas.ts';
import { type Api, sendRaw } from '../http/route.ts';
import type { MeasuredDevice } from './device-measurement.ts';
import type { Rollouts } from './rollouts.ts';
import { toRollout } from './routes.ts';
import {
  type Rollout,
  RolloutDevice,
  RolloutDevicePage,
  RolloutReport,
  reportQuery,
  rolloutDeviceQuery,
  rolloutParameter,
} from './schemas.ts';

const tags = ['rollouts'];

const csvColumns = [
  'device',
  'deviceName',
  'wave',
  'state',
  'version',
  'previousVersion',
  'attempts',
  'load',
  'outcome',
  'reason',
  'interruptedAccesses',
  'loadedAt',
  'calls',
  'failedCalls',
  'p99Microseconds',
  'abiViolations',
  'callsBefore',
  'failedCallsBefore',
  'p99MicrosecondsBefore',
];

type Uses = { readonly rollouts: Rollouts; readonly damagedRows: DamagedRows };

export function addRolloutDeviceRoutes(app: Api, { rollouts, damagedRows }: Uses): void {
  app.get(
    '/v1/rollouts/:rollout/devices',
    {
      config: { access: 'viewer', scope: 'path' },
      schema: {
        operationId: 'listRolloutDevices',
        tags,
        summary: 'List the devices of a rollout',
        params: rolloutParameter,
        querystring: rolloutDeviceQuery,
        response: {
          200: RolloutDevicePage.describe('A page of devices, in the order in which they get the build.'),
          ...problems('not-found'),
        },
      },
    },
    async (request, reply) => {
      const { wave, state } = request.query;
      const page = await rollouts.devices({ rolloutId: request.params.rollout, wave, state }, parsePageByNumber(request));
      return sendPage(request, reply, page, {
        kind: 'rollout device',
        schema: RolloutDevice,
        idOf: ({ device }) => device.deviceId,
        toItem: toDevice,
        damagedRows,
      });
    },
  );

  app.get(
    '/v1/rollouts/:rollout/report',
    {
      config: { access: 'viewer', scope: 'path' },
      schema: {
        operationId: 'getRolloutReport',
        tags,
        summary: 'Get the report of a rollout',
        description: 'Returns the state of each device as JSON or CSV. The report is final when the rollout has ended.',
        params: rolloutParameter,
        querystring: reportQuery,
        response: {
          200: {
            description: 'The report.',
            content: {
              'application/json': { schema: RolloutReport },
              'text/csv': {
                schema: z
                  .string()
                  .describe(`Columns: ${csvColumns.join(', ')}.`)
                  .meta({ examples: [`${csvColumns.join(',')}\r\n`] }),
              },
            },
          },
          ...problems('not-found'),
        },
      },
    },
    async ({ params, query }, reply) => {
      const rollout = toRollout(await rollouts.view(params.rollout));
      const devices = rollouts.report(params.rollout);
      const [type, chunks] =
        query.format === 'csv'
          ? ['text/csv; charset=utf-8', toCsv(devices)]
          : ['application/json; charset=utf-8', toJson(rollout, devices)];
      return sendRaw(reply.status(200).header('content-type', type), Readable.from(encode(chunks), { objectMode: false }));
    },
  );
}

function toDevice({ device, measured }: MeasuredDevice): z.infer<typeof RolloutDevice> {
  const { shape } = RolloutDevice;
  const { deviceId, name, position, wave, version, previousVersion, attempts, loadId, reason, interrupted, loadedAt } = device;
  return {
    device: deviceId,
    deviceName: name,
    position,
    wave,
    version,
    previousVersion,
    state: shape.state.parse(device.state),
    attempts,
    load: loadId,
    outcome: shape.outcome.parse(device.outcome),
    reason,
    interruptedAccesses: interrupted,
    loadedAt: loadedAt?.toISOString() ?? null,
    measured,
  };
}

async function* toCsv(devices: AsyncIterable<MeasuredDevice | DamagedItem>): AsyncGenerator<string> {
  yield csvLine(csvColumns);
  for await (const item of devices) {
    if (item instanceof DamagedItem) {
      const cells: Readonly<Record<string, string>> = { device: item.id, reason: `the stored row is damaged: ${item.fault}` };
      yield csvLine(csvColumns.map((column) => cells[column] ?? null));
      continue;
    }
    const { measured, ...device } = toDevice(item);
    yield csvLine([
      device.device,
      device.deviceName,
      device.wave,
      device.state,
      device.version,
      device.previousVersion,
      device.attempts,
      device.load,
      device.outcome,
      device.reason,
      device.interruptedAccesses,
      device.loadedAt,
      ...[measured?.calls, measured?.failedCalls, measured?.p99Microseconds, measured?.abiViolations],
      ...[measured?.before.calls, measured?.before.failedCalls, measured?.before.p99Microseconds],
    ]);
  }
}

async function* toJson(rollout: Rollout, devices: AsyncIterable<MeasuredDevice | DamagedItem>): AsyncGenerator<string> {
  yield `{"rollout":${JSON.stringify(rollout)},"devices":[`;
  let separator = '';
  const damaged: { readonly id: string; readonly reason: string }[] = [];
  for await (const device of devices) {
    if (device instanceof DamagedItem) {
      damaged.push({ id: device.id, reason: device.fault });
      continue;
    }
    yield `${separator}${JSON.stringify(toDevice(device))}`;
    separator = ',';
  }
  yield `],"damaged":${JSON.stringify(damaged)}}`;
}

async function* encode(chunks: AsyncIterable<string>): AsyncGenerator<Buffer> {
  for await (const chunk of chunks) yield Buffer.from(chunk);
}
