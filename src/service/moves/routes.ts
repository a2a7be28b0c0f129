// Moves devices to other hosts: POST /v1/devices/{device}/move and /v1/hosts/{host}/move-devices.

import type { z } from 'zod';
import { deviceParameter } from '../devices/schemas.ts';
import { hostParameter } from '../hosts/schemas.ts';
import { postProblems } from '../http/problem-schemas.ts';
import { type Api, getRequester } from '../http/route.ts';
import type { MoveRequest, MoveResult, Moves } from './moves.ts';
import { DeviceMove, MovedDevices } from './schemas.ts';

/** What happens to each device, for the descriptions. */
const effects =
  'Its identifier, name, labels, history and queued loads follow, and the new host restores its modules and programs. ' +
  'If its host is unreachable, the device moves at once, and loads that had been sent end as `cancelled`. If its host is connected, the host is ordered to drop the device first; ' +
  'an agent without the capability `detach-device` is refused: update it, or stop it. A host that returns drops the device and does not register it again. Repeating the request has no effect.';

export function addMoveRoutes(app: Api, { moves }: { readonly moves: Moves }): void {
  app.post(
    '/v1/devices/:device/move',
    {
      config: { access: 'operator' },
      schema: {
        operationId: 'moveDevice',
        tags: ['devices'],
        summary: 'Move a device to another host',
        description: effects,
        params: deviceParameter,
        body: DeviceMove,
        response: {
          200: MovedDevices.describe('The device has moved, or moves when its host has dropped it.'),
          ...postProblems('not-found', 'decommissioned', 'no-host', 'unsupported-by-host'),
        },
      },
    },
    async (request) => toResponse(await moves.device(request.params.device, toRequest(request.body), getRequester(request))),
  );

  app.post(
    '/v1/hosts/:host/move-devices',
    {
      config: { access: 'operator' },
      schema: {
        operationId: 'moveDevicesOfHost',
        tags: ['hosts'],
        summary: 'Move all devices of a host',
        description: `Moves the devices, up to 100 in one transaction. ${effects} If the request fails midway, repeat it to continue.`,
        params: hostParameter,
        body: DeviceMove,
        response: {
          200: MovedDevices.describe('The devices have moved, or move when the host has dropped them.'),
          ...postProblems('not-found', 'decommissioned', 'no-host', 'unsupported-by-host'),
        },
      },
    },
    async (request) => toResponse(await moves.allOfHost(request.params.host, toRequest(request.body), getRequester(request))),
  );
}

const toRequest = ({ host, reason }: z.infer<typeof DeviceMove>): MoveRequest => ({ host, reason: reason ?? null });

const toResponse = ({ host, devices, detaching, endedLoads }: MoveResult) => ({
  host,
  devices: [...devices],
  detaching: [...detaching],
  endedLoads,
});
