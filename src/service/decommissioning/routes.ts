// Decommissions devices and hosts: POST /v1/devices/{device}/decommission, /v1/devices/decommission and /v1/hosts/{host}/decommission.

import { deviceParameter } from '../devices/schemas.ts';
import { selectorOf } from '../devices/selection-schemas.ts';
import { hostParameter } from '../hosts/schemas.ts';
import { postProblems } from '../http/problem-schemas.ts';
import { type Api, getRequester } from '../http/route.ts';
import type { Decommissioning, DecommissioningResult } from './decommissioning.ts';
import { DecommissionDevices, DecommissionedDevices, DecommissionRequest } from './schemas.ts';

/** What happens to each device, for the descriptions. */
const effects =
  'Open loads end as `cancelled`, programs end, and rollouts continue without the device. Health, alerts and lists leave it out, and its name is free. ' +
  'Its loads, history and audit events remain. It cannot be undone. Repeating the request has no effect.';

export function addDecommissioningRoutes(app: Api, { decommissioning }: { readonly decommissioning: Decommissioning }): void {
  app.post(
    '/v1/devices/:device/decommission',
    {
      config: { access: 'operator' },
      schema: {
        operationId: 'decommissionDevice',
        tags: ['devices'],
        summary: 'Decommission a device',
        description: `Removes the device from the fleet. ${effects} Its host does not register it again until the host restarts.`,
        params: deviceParameter,
        body: DecommissionRequest,
        response: { 200: DecommissionedDevices.describe('The device is decommissioned.'), ...postProblems('not-found') },
      },
    },
    async (request) => toResponse(await decommissioning.device(request.params.device, request.body.reason, getRequester(request))),
  );

  app.post(
    '/v1/devices/decommission',
    {
      config: { access: 'operator' },
      schema: {
        operationId: 'decommissionDevices',
        tags: ['devices'],
        summary: 'Decommission several devices',
        description: `Removes the selected devices from the fleet, up to 100 in one transaction. ${effects} If the request fails midway, repeat it to continue.`,
        body: DecommissionDevices,
        response: { 200: DecommissionedDevices.describe('The devices are decommissioned.'), ...postProblems() },
      },
    },
    async (request) =>
      toResponse(await decommissioning.devices(selectorOf(request.body, null), request.body.reason, getRequester(request))),
  );

  app.post(
    '/v1/hosts/:host/decommission',
    {
      config: { access: 'operator' },
      schema: {
        operationId: 'decommissionHost',
        tags: ['hosts'],
        summary: 'Decommission a host with its devices',
        description:
          `Removes the host and all of its devices from the fleet, up to 100 devices in one transaction. ${effects} ` +
          'While devices of the host move to other hosts, it is a `devices-moving` problem. ' +
          'The token of the host stops working. An agent that still runs cannot register again until it restarts; then it registers as a new host. If the request fails midway, repeat it to continue.',
        params: hostParameter,
        body: DecommissionRequest,
        response: {
          200: DecommissionedDevices.describe('The host and its devices are decommissioned.'),
          ...postProblems('not-found', 'devices-moving'),
        },
      },
    },
    async (request) => toResponse(await decommissioning.host(request.params.host, request.body.reason, getRequester(request))),
  );
}

const toResponse = ({ devices, cancelledLoads }: DecommissioningResult) => ({ devices: [...devices], cancelledLoads });
