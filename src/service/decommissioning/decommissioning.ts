// Decommissions devices and hosts: they leave the fleet for good. Their history, loads and audit events remain.

import { orderDetachments } from '../agents/moves.ts';
import { endPrograms } from '../agents/reattach-devices.ts';
import { audit } from '../audit-events/entry.ts';
import type { Clock } from '../clock/service-clock.ts';
import type { Connection } from '../database/connection.ts';
import type { Store } from '../database/store.ts';
import { DeviceRecords, type NamedDevice } from '../devices/repository.ts';
import { readNamed, type Selector, selectDevices } from '../devices/selection.ts';
import { HistoryRecords } from '../history/repository.ts';
import { type HostRecord, HostRecords } from '../hosts/repository.ts';
import { endLoads } from '../loads/endings.ts';
import { findHostsWithout } from '../loads/host-support.ts';
import { LoadRecords } from '../loads/repository.ts';
import { newOrder } from '../orders/orders.ts';
import { OrderRecords } from '../orders/repository.ts';
import { invalidValue, notFound, Problem } from '../problem.ts';
import type { OpenProgram } from '../programs/repository.ts';
import { ProgramRecords } from '../programs/repository.ts';
import type { Requester } from '../requester.ts';
import { RolloutRecords } from '../rollouts/repository.ts';
import { settleUnreportedLoads } from '../rollouts/settlement.ts';

/** Devices decommissioned in one transaction: with their loads, up to 10,000 rows. */
const groupSize = 100;

export type DecommissioningResult = { readonly devices: readonly string[]; readonly cancelledLoads: number };

type Uses = { readonly store: Store; readonly clock: Clock };

/** The parts of a request that every group of devices needs. */
type Request = { readonly reason: string; readonly requester: Requester; readonly at: Date };

export class Decommissioning {
  readonly #uses: Uses;

  constructor(uses: Uses) {
    this.#uses = uses;
  }

  /** Decommissions a device. Does nothing if it is decommissioned already. @throws {Problem} `not-found`. */
  async device(id: string, reason: string, requester: Requester): Promise<DecommissioningResult> {
    const known = await new DeviceRecords(this.#uses.store.readConnection).hostsOf([id]);
    if (known.length === 0) throw notFound('device', id);
    return this.#inGroups([id], reason, requester);
  }

  /**
   * Decommissions the selected devices, a group at a time. If it fails midway, the same request continues.
   * @throws {Problem} `invalid-value` if no device matches, too many match, or a named device does not exist.
   */
  async devices(selector: Selector, reason: string, requester: Requester): Promise<DecommissioningResult> {
    return this.#inGroups(await selectIds(this.#uses.store.readConnection, selector), reason, requester);
  }

  /**
   * Decommissions a host with its devices: first the devices, a group at a time, then the host. Does nothing if it is decommissioned already. If it
   * fails midway, the same request continues.
   * @param options `onlyUnreachable`: stops if the host is connected.
   * @throws {Problem} `not-found`; `devices-moving` while devices of the host move to others.
   */
  async host(id: string, reason: string, requester: Requester, { onlyUnreachable = false } = {}): Promise<DecommissioningResult> {
    const results: DecommissioningResult[] = [];
    for (let isDone = false; !isDone; ) {
      isDone = await this.#uses.store.transaction(async (connection) => {
        const host = await new HostRecords(connection).find(id);
        if (host === null) throw notFound('host', id);
        if (host.decommissionedAt !== null || (onlyUnreachable && host.unreachableSince === null)) return true;
        await checkNoneMoves(connection, host);
        const request = { reason, requester, at: this.#uses.clock.now() };
        const ids = await new DeviceRecords(connection).firstOnHost(id, groupSize);
        results.push(await decommissionGroup(connection, ids, request, { hostEnds: true }));
        if (ids.length === groupSize) return false;
        const end = { decommissionedAt: request.at, decommissionReason: reason, decommissionedBy: requester.actor };
        await new HostRecords(connection).decommission(id, end);
        const devices = results.reduce((total, result) => total + result.devices.length, 0);
        const detail = { name: host.name, reason, devices };
        await audit(connection, requester, request.at, [{ action: 'host.decommissioned', object: id, detail }]);
        return true;
      });
    }
    return total(results);
  }

  async #inGroups(ids: readonly string[], reason: string, requester: Requester): Promise<DecommissioningResult> {
    const results: DecommissioningResult[] = [];
    for (let first = 0; first < ids.length; first += groupSize) {
      const group = ids.slice(first, first + groupSize);
      results.push(
        await this.#uses.store.transaction((connection) =>
          decommissionGroup(connection, group, { reason, requester, at: this.#uses.clock.now() }, { hostEnds: false }),
        ),
      );
    }
    return total(results);
  }
}

/** Devices that move to another host are not part of this one any more, but only this one can drop them. @throws {Problem} `devices-moving`. */
async function checkNoneMoves(connection: Connection, { id, name }: HostRecord): Promise<void> {
  const moving = await new DeviceRecords(connection).countMovingFrom(id);
  if (moving === 0) return;
  throw new Problem(
    'devices-moving',
    `the host ${name} has devices that move to other hosts and would be lost (${moving}): wait until the host has dropped them or is unreachable, or move them back to ${name} to decommission them too`,
  );
}

function total(results: readonly DecommissioningResult[]): DecommissioningResult {
  return {
    devices: results.flatMap(({ devices }) => devices),
    cancelledLoads: results.reduce((sum, { cancelledLoads }) => sum + cancelledLoads, 0),
  };
}

/** Returns the identifiers of the selected devices, each once; named ones also if they are decommissioned. @throws {Problem} `invalid-value`. */
async function selectIds(connection: Connection, selector: Selector): Promise<string[]> {
  if (!('devices' in selector)) return (await selectDevices(connection, selector)).map(({ id }) => id);
  const known = await readNamed(connection, selector.devices);
  const invalidValues = selector.devices.flatMap((text, index) =>
    known.has(text) ? [] : [{ pointer: `/devices/${index}`, detail: `the device ${text} does not exist` }],
  );
  const [first] = invalidValues;
  if (first !== undefined) throw new Problem('invalid-value', `${first.detail}; no device was decommissioned`, { invalidValues });
  if (known.size === 0) throw invalidValue('/devices', 'expected one device or more');
  return [...new Set([...known.values()].map(({ id }) => id))];
}

/**
 * Decommissions devices: ends their loads and programs, removes their orders, takes them out of open rollouts, and ends their history.
 * @param hostEnds Whether their host is decommissioned too. Otherwise their hosts are ordered to drop them.
 */
async function decommissionGroup(
  connection: Connection,
  ids: readonly string[],
  { reason, requester, at }: Request,
  { hostEnds }: { readonly hostEnds: boolean },
): Promise<DecommissioningResult> {
  const devices = (await new DeviceRecords(connection).hostsOf(ids)).filter(({ decommissionedAt }) => decommissionedAt === null);
  const active = devices.map(({ id }) => id);
  if (active.length === 0) return { devices: [], cancelledLoads: 0 };
  const boots = await new HostRecords(connection).bootsOf([...new Set(devices.map(({ hostId }) => hostId))]);
  const sentence = `the device was decommissioned: ${reason}`;
  const end = { outcome: 'cancelled', reason: sentence, completedAt: at };
  const open = await new LoadRecords(connection).listOpenOn(active);
  const cancelledLoads = await endLoads(connection, open, end, requester, settleUnreportedLoads);
  await new RolloutRecords(connection).skipInOpenRollouts(active, sentence);
  const programs = await new ProgramRecords(connection).listOpenOn(active);
  await endPrograms(connection, programs);
  for (const [hostId, onHost] of Map.groupBy(devices, (device) => device.hostId))
    await new OrderRecords(connection).removeOfDevices(
      hostId,
      onHost.map(({ id }) => id),
    );
  if (!hostEnds) await dropDevices(connection, devices, programs, { requester, at });
  await new HistoryRecords(connection).endAll(active, at, 'decommissioned');
  await new DeviceRecords(connection).decommission(
    devices.map(({ id, hostId }) => ({ id, attachedBootId: boots.get(hostId)?.bootId ?? '' })),
    { decommissionedAt: at, decommissionReason: reason, decommissionedBy: requester.actor },
  );
  const loads = Map.groupBy(open, ({ deviceId }) => deviceId);
  await audit(
    connection,
    requester,
    at,
    devices.map(({ id, hostId }) => {
      const detail = { host: hostId, reason, cancelledLoads: loads.get(id)?.length ?? 0 };
      return { action: 'device.decommissioned', object: id, detail };
    }),
  );
  return { devices: active, cancelledLoads };
}

/** Orders hosts to drop devices from memory. A host whose agent does not support the order is ordered to stop their programs, if it is connected. */
async function dropDevices(
  connection: Connection,
  devices: readonly NamedDevice[],
  programs: readonly OpenProgram[],
  { requester, at }: Pick<Request, 'requester' | 'at'>,
): Promise<void> {
  const unsupported = await findHostsWithout(connection, devices, 'detach-device');
  for (const [hostId, onHost] of Map.groupBy(devices, (device) => device.hostId)) {
    const host = await new HostRecords(connection).find(hostId);
    if (host === null) continue;
    if (!unsupported.has(hostId)) await orderDetachments(connection, onHost, host, { requester, at });
    else if (host.unreachableSince === null) await stopPrograms(connection, onHost, programs, requester, at);
  }
}

/** Orders devices to stop the programs that they run. */
async function stopPrograms(
  connection: Connection,
  devices: readonly NamedDevice[],
  programs: readonly OpenProgram[],
  requester: Requester,
  at: Date,
): Promise<void> {
  const byId = new Map(devices.map((device) => [device.id, device]));
  const orders = programs.flatMap(({ id, deviceId }) => {
    const device = byId.get(deviceId);
    return device === undefined ? [] : [newOrder(device, { kind: 'stop-program', program: id }, requester, at)];
  });
  await new OrderRecords(connection).create(orders);
}
