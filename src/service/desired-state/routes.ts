// Routes under /v1/assignments, and the desired state of devices.

import { z } from 'zod';
import type { DamagedRows } from '../database/damaged-rows.ts';
import { scopeOf } from '../http/access.ts';
import { computeEntityTag, ifMatchHeaders, matchesIfMatch } from '../http/entity-tags.ts';
import { parsePageByTime, sendPage } from '../http/pages.ts';
import { postProblems, problems } from '../http/problem-schemas.ts';
import { type Api, type CreatedResponse, getRequester, toStoredResponse } from '../http/route.ts';
import { toWavePlan } from '../rollouts/routes.ts';
import type { AssignmentRecord, AssignmentRequest, Assignments, AssignmentView } from './assignments.ts';
import type { DesiredStateRow } from './repository.ts';
import {
  Assignment,
  AssignmentDetail,
  AssignmentMode,
  AssignmentPage,
  assignmentListQuery,
  assignmentParameter,
  DeviceDesiredState,
  DeviceStateName,
  desiredStateParameter,
  NewAssignment,
  UnmetState,
} from './schemas.ts';
import type { AssignmentStatus, DesiredStates, DeviceStatus } from './status.ts';

const tags = ['desired state'];

type Uses = { readonly assignments: Assignments; readonly desiredStates: DesiredStates; readonly damagedRows: DamagedRows };

export function addAssignmentRoutes(app: Api, uses: Uses): void {
  addCreationRoute(app, uses);
  addReadingRoutes(app, uses);
  addChangingRoutes(app, uses);
  addDeviceRoute(app, uses);
}

function addCreationRoute(app: Api, { assignments }: Uses): void {
  app.post(
    '/v1/assignments',
    {
      config: { access: 'operator' },
      schema: {
        operationId: 'createAssignment',
        tags,
        summary: 'Create an assignment',
        description:
          'Gives the devices of a group the highest version in a range that a channel has. In the mode `enforce`, devices that do not have it get it at the rate `devicesPerMinute`, and a promotion starts a rollout. ' +
          'Begin with the mode `report` to see which devices would change.',
        body: NewAssignment,
        response: {
          201: Assignment.describe('The assignment was created.'),
          ...postProblems('name-taken', 'too-many-assignments'),
        },
      },
    },
    async (request, reply) => {
      const created = await assignments.create(toRequest(request.body), getRequester(request), (view) => toStoredResponse(toCreated(view)));
      const { status, location, body } = toCreated(created);
      return reply.status(status).header('location', location).send(body);
    },
  );
}

function addReadingRoutes(app: Api, { assignments, desiredStates, damagedRows }: Uses): void {
  app.get(
    '/v1/assignments',
    {
      config: { access: 'viewer', scope: 'unrelated' },
      schema: {
        operationId: 'listAssignments',
        tags,
        summary: 'List assignments',
        querystring: assignmentListQuery,
        response: { 200: AssignmentPage.describe('A page of assignments, sorted by `createdAt`.'), ...problems() },
      },
    },
    async (request, reply) => {
      const page = await assignments.list(parsePageByTime(request));
      return sendPage(request, reply, page, {
        kind: 'assignment',
        schema: Assignment,
        idOf: ({ id }) => id,
        toItem: toAssignment,
        damagedRows,
      });
    },
  );

  app.get(
    '/v1/assignments/:assignment',
    {
      config: { access: 'viewer', scope: 'filter' },
      schema: {
        operationId: 'getAssignment',
        tags,
        summary: 'Get an assignment',
        description:
          'Returns the assignment with its desired version, and the number of devices that have it, will get it and cannot have it. ' +
          'The service examines 500 devices a second, so the numbers are as old as that takes. ' +
          'The response has an `ETag` of the assignment without these. Send it as `If-Match` to replace or delete the assignment only if it has not changed.',
        params: assignmentParameter,
        response: { 200: AssignmentDetail.describe('The assignment, with the states of its devices.'), ...problems('not-found') },
      },
    },
    async (request, reply) => {
      const status = await desiredStates.ofAssignment(request.params.assignment, scopeOf(request));
      return reply.header('etag', entityTagOf(status.assignment)).send(toDetail(status));
    },
  );
}

function addChangingRoutes(app: Api, { assignments }: Uses): void {
  app.put(
    '/v1/assignments/:assignment',
    {
      config: { access: 'operator' },
      schema: {
        operationId: 'replaceAssignment',
        tags,
        summary: 'Replace an assignment',
        description:
          'Replaces the assignment atomically. Open rollouts keep their waves. ' +
          'With `If-Match`, the request fails with 412 if the assignment has changed since it was read.',
        params: assignmentParameter,
        headers: ifMatchHeaders,
        body: NewAssignment,
        response: {
          200: Assignment.describe('The new assignment, with its `ETag`.'),
          ...problems('not-found', 'precondition-failed', 'name-taken', 'too-large', 'unsupported-media-type'),
        },
      },
    },
    async (request, reply) => {
      const { params, headers, body } = request;
      const replaced = await assignments.replace(params.assignment, toRequest(body), isExpectedBy(headers), getRequester(request));
      return reply.header('etag', entityTagOf(replaced)).send(toAssignment(replaced));
    },
  );

  app.delete(
    '/v1/assignments/:assignment',
    {
      config: { access: 'operator' },
      schema: {
        operationId: 'deleteAssignment',
        tags,
        summary: 'Delete an assignment',
        description:
          'Devices keep their versions, and open rollouts continue. With `If-Match`, the request fails with 412 if the assignment has changed since it was read.',
        params: assignmentParameter,
        headers: ifMatchHeaders,
        response: { 204: z.null().describe('The assignment was deleted.'), ...problems('not-found', 'precondition-failed') },
      },
    },
    async (request, reply) => {
      await assignments.remove(request.params.assignment, isExpectedBy(request.headers), getRequester(request));
      return reply.status(204).send(null);
    },
  );
}

function addDeviceRoute(app: Api, { desiredStates }: Uses): void {
  app.get(
    '/v1/devices/:device/desired-state',
    {
      config: { access: 'viewer', scope: 'path' },
      schema: {
        operationId: 'getDesiredState',
        tags,
        summary: 'Get the desired state of a device',
        description: 'Returns the versions that assignments give to the device against those that it has now.',
        params: desiredStateParameter,
        response: { 200: DeviceDesiredState.describe('The desired versions.'), ...problems('not-found') },
      },
    },
    async ({ params }) => toDeviceState(await desiredStates.ofDevice(params.device)),
  );
}

/** Computed without the names of the group and the channel, which change without the assignment. */
function entityTagOf({ groupId, channelId, ...assignment }: AssignmentRecord): string {
  return computeEntityTag(toAssignment({ ...assignment, groupId, channelId, groupName: '', channelName: '' }));
}

function isExpectedBy(headers: z.output<typeof ifMatchHeaders>): (current: AssignmentRecord) => boolean {
  return (current) => matchesIfMatch(headers, entityTagOf(current));
}

function toRequest(body: z.infer<typeof NewAssignment>): AssignmentRequest {
  const { module, patchSet, waves, soakSeconds, onFailure, window = null, ...rest } = body;
  return {
    ...rest,
    kind: module === undefined ? 'patch-set' : 'build',
    content: module ?? patchSet ?? '',
    rollout: { waves: waves.map((wave) => toWavePlan(wave, { soakSeconds, thresholds: undefined })), onFailure, window },
  };
}

function toCreated(view: AssignmentView): CreatedResponse<201, z.infer<typeof Assignment>> {
  return { status: 201, location: `/v1/assignments/${view.id}`, body: toAssignment(view) };
}

function toAssignment({ groupId, channelId, kind, content, rollout, createdAt, ...view }: AssignmentView): z.infer<typeof Assignment> {
  const { id, name, groupName, channelName, range, mode, priority, devicesPerMinute } = view;
  return {
    id,
    name,
    group: groupId,
    groupName,
    channel: channelId,
    channelName,
    ...contentNames(kind, content),
    range,
    mode: AssignmentMode.parse(mode),
    priority,
    devicesPerMinute,
    waves: rollout.waves.map(({ size, ...wave }) => ({
      devices: size.kind === 'devices' ? size.devices : null,
      upToPercent: size.kind === 'up-to-percent' ? size.percent : null,
      ...wave,
    })),
    onFailure: rollout.onFailure,
    window: rollout.window,
    createdAt: createdAt.toISOString(),
  };
}

function contentNames(kind: string, content: string) {
  return kind === 'build' ? { module: content, patchSet: null } : { module: null, patchSet: content };
}

function toDetail({ assignment, desiredVersion, held, satisfied, others }: AssignmentStatus): z.infer<typeof AssignmentDetail> {
  const countOf = (wanted: string) => others.filter(({ state }) => state === wanted).reduce((sum, { devices }) => sum + devices, 0);
  return {
    ...toAssignment(assignment),
    desiredVersion,
    held: held.map(({ version, rolloutId, rollout }) => ({ version, rollout: rolloutId, state: rollout })),
    deviceCounts: { satisfied, pending: countOf('pending'), unsatisfied: countOf('unsatisfied') },
    unmet: others.map(({ state, reason, devices, first }) => ({
      state: UnmetState.parse(state),
      reason,
      devices,
      first: first.map((row) => ({ device: row.deviceId, deviceName: row.name, ...toAttempt(row) })),
    })),
  };
}

function toAttempt({ detail, loadId, attempts, nextAttemptAt }: DesiredStateRow) {
  return { detail, load: loadId, attempts, nextAttemptAt: nextAttemptAt?.toISOString() ?? null };
}

function toDeviceState({ device, evaluations, overridden }: DeviceStatus): z.infer<typeof DeviceDesiredState> {
  return {
    device: device.id,
    deviceName: device.name,
    versions: evaluations.map(({ assignment: { id, row, target }, installed, state }) => ({
      assignment: id,
      assignmentName: row.name,
      mode: AssignmentMode.parse(row.mode),
      ...contentNames(row.kind, row.content),
      desiredVersion: target?.version ?? null,
      installedVersion: installed,
      state: DeviceStateName.parse(state.state),
      reason: state.reason === '' ? null : state.reason,
      ...toAttempt(state),
    })),
    overridden: overridden.map(({ assignment, by }) => ({
      assignment: assignment.id,
      assignmentName: assignment.row.name,
      by: by.id,
      byName: by.row.name,
    })),
  };
}
