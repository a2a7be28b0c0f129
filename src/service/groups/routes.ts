// Routes under /v1/groups: named label selectors.

import { z } from 'zod';
import type { DamagedRows } from '../database/damaged-rows.ts';
import { scopeOf } from '../http/access.ts';
import { computeEntityTag, ifMatchHeaders, matchesIfMatch } from '../http/entity-tags.ts';
import { parsePageByTime, sendPage } from '../http/pages.ts';
import { postProblems, problems } from '../http/problem-schemas.ts';
import { type Api, type CreatedResponse, getRequester, toStoredResponse } from '../http/route.ts';
import type { GroupRequest, Groups } from './groups.ts';
import type { GroupRecord } from './repository.ts';
import { Group, GroupDetail, GroupPage, groupListQuery, groupParameter, NewGroup } from './schemas.ts';

const tags = ['groups'];

type Uses = { readonly groups: Groups; readonly damagedRows: DamagedRows };

export function addGroupRoutes(app: Api, uses: Uses): void {
  addCreationRoute(app, uses);
  addReadingRoutes(app, uses);
  addChangingRoutes(app, uses);
}

function addCreationRoute(app: Api, { groups }: Uses): void {
  app.post(
    '/v1/groups',
    {
      config: { access: 'operator' },
      schema: {
        operationId: 'createGroup',
        tags,
        summary: 'Create a group',
        description:
          'Names a label selector. Requests that select devices accept the name as `group`. The group contains the devices that match now.',
        body: NewGroup,
        response: { 201: Group.describe('The group was created.'), ...postProblems('name-taken', 'too-many-groups') },
      },
    },
    async (request, reply) => {
      const created = await groups.create(toRequest(request.body), getRequester(request), (group) => toStoredResponse(toCreated(group)));
      const { status, location, body } = toCreated(created);
      return reply.status(status).header('location', location).send(body);
    },
  );
}

function addReadingRoutes(app: Api, { groups, damagedRows }: Uses): void {
  app.get(
    '/v1/groups',
    {
      config: { access: 'viewer', scope: 'unrelated' },
      schema: {
        operationId: 'listGroups',
        tags,
        summary: 'List groups',
        querystring: groupListQuery,
        response: { 200: GroupPage.describe('A page of groups, sorted by `createdAt`.'), ...problems() },
      },
    },
    async (request, reply) => {
      const page = await groups.list(parsePageByTime(request));
      return sendPage(request, reply, page, { kind: 'group', schema: Group, idOf: ({ id }) => id, toItem: toGroup, damagedRows });
    },
  );

  app.get(
    '/v1/groups/:group',
    {
      config: { access: 'viewer', scope: 'filter' },
      schema: {
        operationId: 'getGroup',
        tags,
        summary: 'Get a group',
        description:
          'Returns the group with its number of devices now. The response has an `ETag` of the group without this number. Send it as `If-Match` to replace or delete the group only if it has not changed.',
        params: groupParameter,
        response: { 200: GroupDetail.describe('The group, with its number of devices.'), ...problems('not-found') },
      },
    },
    async (request, reply) => {
      const group = await groups.find(request.params.group);
      const devices = await groups.countDevices(group, scopeOf(request));
      return reply.header('etag', computeEntityTag(toGroup(group))).send({ ...toGroup(group), devices });
    },
  );
}

function addChangingRoutes(app: Api, { groups }: Uses): void {
  app.put(
    '/v1/groups/:group',
    {
      config: { access: 'operator' },
      schema: {
        operationId: 'replaceGroup',
        tags,
        summary: 'Replace a group',
        description:
          'Renames the group, or changes its selector or its maintenance windows. Signature policies and assignments of the group apply to the devices that match the new selector. Rollouts keep the selector that the group had at their request. ' +
          'With `If-Match`, the request fails with 412 if the group has changed since it was read.',
        params: groupParameter,
        headers: ifMatchHeaders,
        body: NewGroup,
        response: {
          200: Group.describe('The new group, with its `ETag`.'),
          ...problems('not-found', 'precondition-failed', 'name-taken', 'too-many-groups', 'too-large', 'unsupported-media-type'),
        },
      },
    },
    async (request, reply) => {
      const { params, headers, body } = request;
      const replaced = await groups.replace(params.group, toRequest(body), isExpectedBy(headers), getRequester(request));
      const group = toGroup(replaced);
      return reply.header('etag', computeEntityTag(group)).send(group);
    },
  );

  app.delete(
    '/v1/groups/:group',
    {
      config: { access: 'operator' },
      schema: {
        operationId: 'deleteGroup',
        tags,
        summary: 'Delete a group',
        description:
          'Fails if a signature policy or an assignment uses the group. Rollouts do not need it. With `If-Match`, the request fails with 412 if the group has changed since it was read.',
        params: groupParameter,
        headers: ifMatchHeaders,
        response: { 204: z.null().describe('The group was deleted.'), ...problems('not-found', 'precondition-failed', 'group-in-use') },
      },
    },
    async (request, reply) => {
      await groups.remove(request.params.group, isExpectedBy(request.headers), getRequester(request));
      return reply.status(204).send(null);
    },
  );
}

function isExpectedBy(headers: z.output<typeof ifMatchHeaders>): (current: GroupRecord) => boolean {
  // Without a condition, a group with a damaged row can be replaced.
  return (current) => headers['if-match'] === undefined || matchesIfMatch(headers, computeEntityTag(toGroup(current)));
}

function toRequest({ name, selector, description, maintenanceWindows }: z.infer<typeof NewGroup>): GroupRequest {
  return { name, selector, description: description ?? null, maintenanceWindows };
}

function toCreated(group: GroupRecord): CreatedResponse<201, z.infer<typeof Group>> {
  return { status: 201, location: `/v1/groups/${group.id}`, body: toGroup(group) };
}

function toGroup({ id, name, selector, description, maintenanceWindows, createdAt }: GroupRecord): z.infer<typeof Group> {
  const windows = Group.shape.maintenanceWindows.parse(maintenanceWindows ?? []);
  return { id, name, selector, description, maintenanceWindows: windows, createdAt: createdAt.toISOString() };
}
