// Lists and counts of hosts, read outside transactions.

import type { Prisma } from '../database/generated/client.ts';
import { type Comparison, nameConditions, type PageByName, type PageByTime, timeConditions } from '../database/page.ts';
import type { QueryClient } from '../database/query-client.ts';
import { type MarkedRows, mapReadable, restoreMarks, withoutMarks } from '../database/readable-rows.ts';
import type { Reader } from '../database/reader.ts';
import type { HostStatus, HostWithDevices, KnownStream } from './repository.ts';

/** Maximum refused boots that are read for the conflicts of hosts. */
const maxRefusedBoots = 200;

/** Default: every status but `decommissioned`. */
export type HostFilter = { readonly status?: HostStatus | undefined };

export class HostQueries {
  readonly #client: QueryClient;
  readonly #readable: QueryClient;

  constructor({ client, readable }: Reader) {
    this.#client = client;
    this.#readable = readable;
  }

  /** Returns the recorded order stream of a host, and the open question about it. */
  streamOf(id: string): Promise<KnownStream | null> {
    return this.#client.host.findFirst({ where: { id }, select: { streamId: true, streamQuestion: true } });
  }

  async list(filter: HostFilter, page: PageByTime | PageByName): Promise<MarkedRows<HostWithDevices>> {
    const hosts = restoreMarks(await this.#readable.host.findMany(pageQuery(filter, page)));
    const devices = await this.#countDevices(withoutMarks(hosts).map(({ id }) => id));
    return mapReadable(hosts, (host) => ({ ...host, devices: devices.get(host.id) ?? 0 }));
  }

  /** Counts the devices of hosts that are not decommissioned, by host. Prisma's counts of filtered relations read all devices. */
  async #countDevices(hostIds: readonly string[]): Promise<Map<string, number>> {
    if (hostIds.length === 0) return new Map();
    const where = { hostId: { in: [...hostIds] }, ...isActive };
    const counts = await this.#client.device.groupBy({ by: ['hostId'], where, _count: { _all: true } });
    return new Map(counts.map(({ hostId, _count }) => [hostId, _count._all]));
  }

  /** Counts connected and unreachable hosts. Leaves out decommissioned ones. */
  async countByReachability(): Promise<{ readonly connected: number; readonly unreachable: number }> {
    const { host: hosts } = this.#client;
    const [connected, unreachable] = [
      await hosts.count({ where: statusCondition('connected') }),
      await hosts.count({ where: statusCondition('unreachable') }),
    ];
    return { connected, unreachable };
  }

  /** Returns the first hosts by name of which another process was refused since a time, with the addresses of the refused ones. */
  async conflictsSince(since: Date, limit: number): Promise<HostConflict[]> {
    const refused = await this.#client.hostBoot.findMany({
      where: { refusedAt: { gte: since } },
      orderBy: [{ refusedAt: 'desc' }],
      take: maxRefusedBoots,
      select: { hostId: true, address: true },
    });
    if (refused.length === 0) return [];
    const byHost = Map.groupBy(refused, ({ hostId }) => hostId);
    const hosts = await this.#client.host.findMany({
      where: { ...isActive, id: { in: [...byHost.keys()] } },
      orderBy: { name: 'asc' },
      take: limit,
      select: { id: true, name: true, address: true },
    });
    return hosts.map(({ id, name, address }) => ({ name, address, refused: (byHost.get(id) ?? []).map((boot) => boot.address) }));
  }

  /** Returns the first unreachable hosts by name, with their device counts. */
  async unreachable(limit: number): Promise<{ readonly name: string; readonly devices: number }[]> {
    const hosts = await this.#client.host.findMany({
      where: statusCondition('unreachable'),
      orderBy: { name: 'asc' },
      take: limit,
      select: { id: true, name: true },
    });
    const devices = await this.#countDevices(hosts.map(({ id }) => id));
    return hosts.map(({ id, name }) => ({ name, devices: devices.get(id) ?? 0 }));
  }
}

/** A host with processes of the same name that were refused. */
export type HostConflict = { readonly name: string; readonly address: string | null; readonly refused: readonly (string | null)[] };

const isActive = { decommissionedAt: null } as const;

function statusCondition(status: HostStatus | undefined): Prisma.HostWhereInput {
  if (status === undefined) return isActive;
  if (status === 'decommissioned') return { decommissionedAt: { not: null } };
  return { ...isActive, unreachableSince: status === 'connected' ? null : { not: null } };
}

function pageQuery({ status }: HostFilter, page: PageByTime | PageByName) {
  return {
    where: { AND: [statusCondition(status), ...pageConditions(page)] },
    orderBy: page.sort === 'name' ? { name: page.order } : [{ registeredAt: page.order }, { id: page.order }],
    take: page.limit,
  } satisfies Prisma.HostFindManyArgs;
}

function pageConditions(page: PageByTime | PageByName): Prisma.HostWhereInput[] {
  if (page.sort === 'name') return nameConditions('', page, (name): Prisma.HostWhereInput => ({ name }));
  const registeredAt = (comparison: Comparison<Date>): Prisma.HostWhereInput => ({ registeredAt: comparison });
  return timeConditions({}, page, registeredAt, (id) => ({ id }));
}
