// /v1/hosts: lists device hosts.

import type { z } from 'zod';
import type { DamagedRows } from '../database/damaged-rows.ts';
import { parsePageByName, parsePageByTime, sendPage } from '../http/pages.ts';
import { problems } from '../http/problem-schemas.ts';
import type { Api } from '../http/route.ts';
import type { Hosts } from './hosts.ts';
import { decodeCapabilities, type HostWithDevices } from './repository.ts';
import { Host, HostPage, hostQuery } from './schemas.ts';

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
      const filter = { isReachable: status === undefined ? undefined : status === 'connected' };
      const page = await hosts.list(filter, sort === 'name' ? parsePageByName(request) : parsePageByTime(request));
      return sendPage(request, reply, page, { kind: 'host', schema: Host, idOf: ({ id }) => id, toItem: toHost, damagedRows });
    },
  );
}

function toHost({ id, name, unreachableSince, devices, capacity, capabilities, registeredAt }: HostWithDevices): z.infer<typeof Host> {
  return {
    id,
    name,
    status: unreachableSince === null ? 'connected' : 'unreachable',
    unreachableSince: unreachableSince?.toISOString() ?? null,
    devices,
    capacity,
    capabilities: decodeCapabilities(capabilities),
    registeredAt: registeredAt.toISOString(),
  };
}
