// Moves devices to other hosts, for example when hardware is replaced. A device never runs on two hosts: a host that is connected drops it first.

import { finishMoves, orderDetachments, placeDevices } from '../agents/moves.ts';
import type { AuditEntry } from '../audit-events/entry.ts';
import { audit } from '../audit-events/entry.ts';
import type { Clock } from '../clock/service-clock.ts';
import type { Connection } from '../database/connection.ts';
import type { Store } from '../database/store.ts';
import type { MovableDevice } from '../devices/repository.ts';
import { DeviceRecords } from '../devices/repository.ts';
import { HostRecords, type HostWithDevices } from '../hosts/repository.ts';
import { checkHostsSupport } from '../loads/host-support.ts';
import { OrderRecords } from '../orders/repository.ts';
import { decommissioned, invalidValue, notFound, Problem } from '../problem.ts';
import { type Requester, systemActor } from '../requester.ts';

/** Devices moved in one transaction: with their loads, up to 10,000 rows. */
const groupSize = 100;

export type MoveRequest = {
  /** Identifier or name of the host to move to. */
  readonly host: string;
  readonly reason: string | null;
};

export type MoveResult = {
  /** The host to move to. */
  readonly host: string;
  /** The devices that are on the host now. */
  readonly devices: readonly string[];
  /** The devices that move when their host has dropped them. */
  readonly detaching: readonly string[];
  /** The number of loads that ended, because their orders had been sent or the agent of the host does not support them. */
  readonly endedLoads: number;
};

type Uses = { readonly store: Store; readonly clock: Clock };
/** What every group of devices of a request needs. */
type Group = { readonly target: HostWithDevices; readonly reason: string | null; readonly requester: Requester; readonly at: Date };

export class Moves {
  readonly #uses: Uses;

  constructor(uses: Uses) {
    this.#uses = uses;
  }

  /**
   * Moves a device. Does nothing if it is on the host, or moves to it already.
   * @throws {Problem} `not-found`, `decommissioned`, `invalid-value`, `no-host` if the host is full, `unsupported-by-host`.
   */
  async device(id: string, { host, reason }: MoveRequest, requester: Requester): Promise<MoveResult> {
    return this.#uses.store.transaction(async (connection) => {
      const [device] = await new DeviceRecords(connection).findMovable([id]);
      if (device === undefined) throw await missingDevice(connection, id);
      const target = await findTarget(connection, host);
      const hasPlace = device.hostId === target.id || device.movingTo === target.id;
      if (!hasPlace) await checkCapacity(connection, target, 1);
      return moveGroup(connection, [device], { target, reason, requester, at: this.#uses.clock.now() });
    });
  }

  /**
   * Moves every device of a host, a group at a time. If it fails midway, the same request continues.
   * @throws {Problem} as `device`.
   */
  async allOfHost(source: string, { host, reason }: MoveRequest, requester: Requester): Promise<MoveResult> {
    const results: MoveResult[] = [];
    for (let isDone = false; !isDone; ) {
      isDone = await this.#uses.store.transaction(async (connection) => {
        const from = await new HostRecords(connection).find(source);
        if (from === null) throw notFound('host', source);
        if (from.decommissionedAt !== null) throw decommissioned('host', from.name);
        const target = await findTarget(connection, host);
        if (target.id === source)
          throw invalidValue('/host', `the devices of the host ${target.name} are there already: name another host`);
        const records = new DeviceRecords(connection);
        const ids = await records.firstToMove(source, target.id, groupSize);
        if (results.length === 0) {
          const remaining = from.devices - (await records.countMovingBetween(source, target.id));
          await checkCapacity(connection, target, remaining);
        }
        const devices = await records.findMovable(ids);
        results.push(await moveGroup(connection, devices, { target, reason, requester, at: this.#uses.clock.now() }));
        return ids.length < groupSize;
      });
    }
    return {
      host: results[0]?.host ?? '',
      devices: results.flatMap(({ devices }) => devices),
      detaching: results.flatMap(({ detaching }) => detaching),
      endedLoads: results.reduce((sum, { endedLoads }) => sum + endedLoads, 0),
    };
  }
}

/** Finishes the moves of devices whose hosts became unreachable before they dropped them. */
export async function moveFromUnreachable(connection: Connection, hostIds: readonly string[], at: Date): Promise<void> {
  const moving = await new DeviceRecords(connection).listMovingFrom(hostIds);
  await finishMoves(connection, moving, { kind: 'unreachable' }, { requester: systemActor, at });
}

/** Moves devices, or orders their hosts to drop them first. */
async function moveGroup(connection: Connection, devices: readonly MovableDevice[], group: Group): Promise<MoveResult> {
  const { target, requester, at } = group;
  // A device that is on its way back attaches again where it was.
  const leaving = devices.filter(({ hostId, movingTo }) => hostId !== target.id || movingTo !== null);
  const boots = await new HostRecords(connection).bootsOf([...new Set(leaving.map(({ hostId }) => hostId))]);
  const isAlive = ({ hostId }: MovableDevice) => boots.get(hostId)?.isReachable === true;
  const detaching = leaving.filter(isAlive);
  await startDetaching(connection, detaching, group);
  const free = leaving.filter((device) => !isAlive(device)).map((device) => requested(device, group));
  let endedLoads = 0;
  for (const [hostId, ofHost] of Map.groupBy(free, (device) => device.hostId)) {
    const source = await new HostRecords(connection).find(hostId);
    if (source === null) throw notFound('host', hostId);
    endedLoads += await placeDevices(connection, ofHost, { source, target }, { kind: 'unreachable' }, { requester, at });
  }
  return { host: target.id, devices: free.map(({ id }) => id), detaching: detaching.map(({ id }) => id), endedLoads };
}

const requested = (device: MovableDevice, { target, reason, requester }: Group): MovableDevice => ({
  ...device,
  movingTo: target.id,
  moveReason: reason,
  moveRequestedBy: requester.actor,
});

/** Orders connected hosts to drop devices, which then move. @throws {Problem} `unsupported-by-host`. */
async function startDetaching(connection: Connection, devices: readonly MovableDevice[], group: Group): Promise<void> {
  const { target, reason, requester, at } = group;
  const starting = devices.filter(({ movingTo }) => movingTo !== target.id);
  if (starting.length === 0) return;
  await checkHostsSupport(
    connection,
    starting.map((device) => ({ device })),
    'detach-device',
    'device was moved',
  );
  const ids = starting.map(({ id }) => id);
  const move = { movingTo: target.id, moveReason: reason, moveRequestedBy: requester.actor };
  await new DeviceRecords(connection).startMoves(ids, move);
  for (const [hostId, ofHost] of Map.groupBy(starting, (device) => device.hostId)) {
    const host = await new HostRecords(connection).find(hostId);
    const ordered = await new OrderRecords(connection).filterWithOrder(
      hostId,
      ofHost.map(({ id }) => id),
      'detach-device',
    );
    if (host !== null)
      await orderDetachments(
        connection,
        ofHost.filter(({ id }) => !ordered.has(id)),
        host,
        { requester, at },
      );
  }
  const entries = starting.map(
    ({ id, hostId }): AuditEntry => ({ action: 'device.moving', object: id, detail: { from: hostId, to: target.id, reason } }),
  );
  await audit(connection, requester, at, entries);
}

async function findTarget(connection: Connection, idOrName: string): Promise<HostWithDevices> {
  const known = await new HostRecords(connection).findByIdOrName(idOrName);
  const host = known === null ? null : await new HostRecords(connection).find(known.id);
  if (host === null) throw invalidValue('/host', `the host ${idOrName} does not exist: list the hosts to see their names`);
  if (host.decommissionedAt !== null) throw invalidValue('/host', `the host ${host.name} is decommissioned: name another host`);
  return host;
}

/** @throws {Problem} `no-host` if the host does not have room for more devices. */
async function checkCapacity(connection: Connection, host: HostWithDevices, added: number): Promise<void> {
  const arriving = await new DeviceRecords(connection).countMovingTo(host.id);
  const free = host.capacity - host.devices - arriving;
  if (added <= free) return;
  throw new Problem(
    'no-host',
    `the host ${host.name} has room for ${Math.max(0, free)} more devices (capacity ${host.capacity}), and the request moves ${added}: choose another host, or start it with a larger --capacity`,
  );
}

async function missingDevice(connection: Connection, id: string): Promise<Problem> {
  const device = await new DeviceRecords(connection).find(id);
  return device === null ? notFound('device', id) : decommissioned('device', device.name);
}
