// /v1/devices/{device}/programs: starts, lists and stops programs.

import { z } from 'zod';
import type { ProgramStatistics } from '../../protocol/device-state.ts';
import { FunctionType } from '../../protocol/interface.ts';
import { type Latency, latencyCalls, latencyQuantile } from '../../protocol/latency.ts';
import type { DamagedRows } from '../database/damaged-rows.ts';
import { deviceParameter } from '../devices/schemas.ts';
import { parsePageByTime, parseTimeRange, sendPage } from '../http/pages.ts';
import { postProblems, problems } from '../http/problem-schemas.ts';
import { type Api, type CreatedResponse, getRequester, toStoredResponse } from '../http/route.ts';
import type { Programs, ProgramView } from './programs.ts';
import { NewProgram, Program, ProgramPage, programParameters, programQuery, type Statistics } from './schemas.ts';

const tags = ['programs'];

type Uses = { readonly programs: Programs; readonly damagedRows: DamagedRows };

export function addProgramRoutes(app: Api, uses: Uses): void {
  addStartRoute(app, uses);
  addReadingRoutes(app, uses);
  addStopRoute(app, uses);
}

function addStartRoute(app: Api, { programs }: Uses): void {
  app.post(
    '/v1/devices/:device/programs',
    {
      config: { access: 'operator', scope: 'path' },
      schema: {
        operationId: 'startProgram',
        tags,
        summary: 'Start a program on a device',
        description:
          'Starts threads that call an export of a module. Each call reads the address from the module table, unless `addressing` is `hard-coded`.',
        params: deviceParameter,
        body: NewProgram,
        response: {
          202: Program.describe('The request is accepted. The device receives an order to start the program.'),
          ...postProblems('not-found', 'decommissioned', 'not-attached', 'not-loaded'),
        },
      },
    },
    async (request, reply) => {
      const { device } = request.params;
      const { name, ...rest } = request.body;
      const view = await programs.start(device, { ...rest, name: name ?? null }, getRequester(request), (started) =>
        toStoredResponse(toStarted(started)),
      );
      const { status, location, body } = toStarted(view);
      return reply.status(status).header('location', location).send(body);
    },
  );
}

function addReadingRoutes(app: Api, { programs, damagedRows }: Uses): void {
  app.get(
    '/v1/devices/:device/programs',
    {
      config: { access: 'viewer', scope: 'path' },
      schema: {
        operationId: 'listPrograms',
        tags,
        summary: 'List the programs of a device',
        params: deviceParameter,
        querystring: programQuery,
        response: { 200: ProgramPage.describe('A page of programs.'), ...problems('not-found') },
      },
    },
    async (request, reply) => {
      const { device } = request.params;
      const filter = { deviceId: device, module: request.query.module, ...parseTimeRange(request.query) };
      const page = await programs.list(filter, parsePageByTime(request));
      return sendPage(request, reply, page, {
        kind: 'program',
        schema: Program,
        idOf: ({ program }) => program.id,
        toItem: toProgram,
        damagedRows,
      });
    },
  );

  app.get(
    '/v1/devices/:device/programs/:program',
    {
      config: { access: 'viewer', scope: 'path' },
      schema: {
        operationId: 'getProgram',
        tags,
        summary: 'Get a program',
        description: 'Returns the program with its statistics.',
        params: programParameters,
        response: { 200: Program.describe('The program, with the statistics that its device last reported.'), ...problems('not-found') },
      },
    },
    async ({ params: { device, program } }) => toProgram(await programs.get(device, program)),
  );
}

function addStopRoute(app: Api, { programs }: Uses): void {
  app.post(
    '/v1/devices/:device/programs/:program/stop',
    {
      config: { access: 'operator', scope: 'path' },
      schema: {
        operationId: 'stopProgram',
        tags,
        summary: 'Stop a program',
        description: 'Ends the threads of the program, also inside a call. Stopping a program again has no effect.',
        params: programParameters,
        response: {
          202: Program.describe('The request is accepted. The device receives an order to stop the program.'),
          ...postProblems('not-found'),
        },
      },
    },
    async (request, reply) => {
      const { device, program } = request.params;
      return reply.status(202).send(toProgram(await programs.stop(device, program, getRequester(request))));
    },
  );
}

function toStarted(view: ProgramView): CreatedResponse<202, z.infer<typeof Program>> {
  const { id, deviceId } = view.program;
  return { status: 202, location: `/v1/devices/${deviceId}/programs/${id}`, body: toProgram(view) };
}

function toProgram({ program, state, statistics }: ProgramView): z.infer<typeof Program> {
  const { id, deviceId, name, module, threads, calls, pauseMilliseconds, deadlineMilliseconds, failure, createdAt } = program;
  return {
    id,
    device: deviceId,
    name,
    module,
    export: program.export,
    type: FunctionType.parse(program.type),
    arguments: z.array(z.string()).parse(program.arguments),
    threads,
    calls: calls === null ? null : Number(calls),
    pauseMilliseconds,
    recovery: Program.shape.recovery.parse(program.recovery),
    addressing: Program.shape.addressing.parse(program.addressing),
    deadlineMilliseconds,
    state,
    failure,
    statistics: statistics && toStatistics(statistics),
    createdAt: createdAt.toISOString(),
  };
}

function toStatistics({ program: _, versions, ...facts }: ProgramStatistics): z.infer<typeof Statistics> {
  return { ...facts, versions: versions.map(({ latency, ...calls }) => ({ ...calls, latency: toQuantiles(latency) })) };
}

function toQuantiles(latency: Latency): z.infer<typeof Statistics>['versions'][number]['latency'] {
  const calls = latencyCalls(latency);
  if (calls === 0) return null;
  const microsecondsAt = (quantile: number) => latencyQuantile(latency, quantile) ?? 0;
  return {
    calls,
    p50Microseconds: microsecondsAt(0.5),
    p90Microseconds: microsecondsAt(0.9),
    p99Microseconds: microsecondsAt(0.99),
    maximumMicroseconds: microsecondsAt(1),
  };
}
