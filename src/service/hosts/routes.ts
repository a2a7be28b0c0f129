// /v1/hosts: lists, reads and renames device hosts.

import type { z } from 'zod';
import type { DamagedRows } from '../database/damaged-rows.ts';
import { ifMatchHeaders, matchesIfMatch, nameEntityTag } from '../http/entity-tags.ts';
import { parsePageByName, parsePageByTime, sendPage } from '../http/pages.ts';
import { problems } from '../http/problem-schemas.ts';
import { type Api, getRequester } from '../http/route.ts';
import { rejectNameOrder, toDecommissioned } from './decommissioning-schemas.ts';
import type { HostNames, Hosts } from './hosts.ts';
import { decodeCapabilities, type HostWithDevices } from './repository.ts';
import { Host, HostChanges, HostPage, hostParameter, hostQuery } from './schemas.ts';

export function addHostRoutes(app: Api, { hosts, damagedRows }: { readonly hosts: Hosts; readonly damagedRows: DamagedRows }): void {
  app.get(
    '/v1/hosts',
    {
      config: { access: 'viewer' },
      schema: {
        operationId: 'listHosts',
        tags: ['hosts'],
        summary: 'List device hosts',
        querystring: hostQuery,
        response: { 200: HostPage.describe('A page of hosts.'), ...problems() },
      },
    },
    async (request, reply) => {
      const { sort, status } = request.query;
      rejectNameOrder(sort, status);
      const page = await hosts.list({ status }, sort === 'name' ? parsePageByName(request) : parsePageByTime(request));
      return sendPage(request, reply, page, { kind: 'host', schema: Host, idOf: ({ id }) => id, toItem: toHost, damagedRows });
    },
  );

  app.get(
    '/v1/hosts/:host',
    {
      config: { access: 'viewer' },
      schema: {
        operationId: 'getHost',
        tags: ['hosts'],
        summary: 'Get a device host',
        description:
          'The `ETag` changes with the name of the host. Send it as `If-Match` to rename the host only if its name has not changed.',
        params: hostParameter,
        response: { 200: Host.describe('The host.'), ...problems('not-found') },
      },
    },
    async ({ params }, reply) => {
      const host = await hosts.get(params.host);
      return reply.header('etag', nameEntityTag(host)).send(toHost(host));
    },
  );

  app.patch(
    '/v1/hosts/:host',
    {
      config: { access: 'operator' },
      schema: {
        operationId: 'renameHost',
        tags: ['hosts'],
        summary: 'Rename a device host',
        description:
          'The agent continues to register with the name that it is configured with: the host remains the same. ' +
          'With `If-Match`, the request fails with 412 if the name has changed since the host was read.',
        params: hostParameter,
        headers: ifMatchHeaders,
        body: HostChanges,
        response: {
          200: Host.describe('The renamed host, with its `ETag`.'),
          ...problems('not-found', 'name-taken', 'decommissioned', 'precondition-failed', 'too-large', 'unsupported-media-type'),
        },
      },
    },
    async (request, reply) => {
      const { params, headers, body } = request;
      const isExpected = (current: HostNames) => matchesIfMatch(headers, nameEntityTag(current));
      await hosts.rename(params.host, body.name, isExpected, getRequester(request));
      const host = await hosts.get(params.host);
      return reply.header('etag', nameEntityTag(host)).send(toHost(host));
    },
  );
}

function toHost(host: HostWithDevices): z.infer<typeof Host> {
  const { id, name, registeredName, unreachableSince, devices, capacity, capabilities, registeredAt } = host;
  const decommissioned = toDecommissioned(host);
  return {
    id,
    name,
    registeredName,
    status: decommissioned !== null ? 'decommissioned' : unreachableSince === null ? 'connected' : 'unreachable',
    unreachableSince: unreachableSince?.toISOString() ?? null,
    devices,
    capacity,
    capabilities: decodeCapabilities(capabilities),
    registeredAt: registeredAt.toISOString(),
    decommissioned,
  };
}
