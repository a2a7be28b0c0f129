// Lists and counts of hosts, read outside transactions.

import type { Prisma } from '../database/generated/client.ts';
import type { HostModel } from '../database/generated/models.ts';
import { type Comparison, nameConditions, type PageByName, type PageByTime, timeConditions } from '../database/page.ts';
import type { QueryClient } from '../database/query-client.ts';
import { type MarkedRows, mapReadable, restoreMarks } from '../database/readable-rows.ts';
import type { Reader } from '../database/reader.ts';
import type { HostWithDevices } from './repository.ts';

export type HostFilter = { readonly isReachable?: boolean | undefined };

export class HostQueries {
  readonly #client: QueryClient;
  readonly #readable: QueryClient;

  constructor({ client, readable }: Reader) {
    this.#client = client;
    this.#readable = readable;
  }

  /** Returns the identifier of the host's order stream; null if it has none. */
  async streamOf(id: string): Promise<string | null> {
    const host = await this.#client.host.findFirst({ where: { id }, select: { streamId: true } });
    return host?.streamId ?? null;
  }

  async list(filter: HostFilter, page: PageByTime | PageByName): Promise<MarkedRows<HostWithDevices>> {
    const hosts = await this.#readable.host.findMany({ ...pageQuery(filter, page), include: withDeviceCount });
    return mapReadable(restoreMarks(hosts), toHostWithDevices);
  }

  /** Counts connected and unreachable hosts. */
  async countByReachability(): Promise<{ readonly connected: number; readonly unreachable: number }> {
    const { host: hosts } = this.#client;
    const [connected, unreachable] = [
      await hosts.count({ where: { unreachableSince: null } }),
      await hosts.count({ where: { unreachableSince: { not: null } } }),
    ];
    return { connected, unreachable };
  }

  /** Returns the first unreachable hosts by name, with their device counts. */
  async unreachable(limit: number): Promise<{ readonly name: string; readonly devices: number }[]> {
    const hosts = await this.#client.host.findMany({
      where: { unreachableSince: { not: null } },
      orderBy: { name: 'asc' },
      take: limit,
      select: { name: true, _count: { select: { devices: true } } },
    });
    return hosts.map(({ name, _count }) => ({ name, devices: _count.devices }));
  }
}

const withDeviceCount = { _count: { select: { devices: true } } } as const;

/** Moves the device count into the host record. */
function toHostWithDevices({ _count, ...host }: HostModel & { readonly _count: { readonly devices: number } }): HostWithDevices {
  return { ...host, devices: _count.devices };
}

function pageQuery({ isReachable }: HostFilter, page: PageByTime | PageByName) {
  const reachability = isReachable === undefined ? {} : { unreachableSince: isReachable ? null : { not: null } };
  return {
    where: { AND: [reachability, ...pageConditions(page)] },
    orderBy: page.sort === 'name' ? { name: page.order } : [{ registeredAt: page.order }, { id: page.order }],
    take: page.limit,
  } satisfies Prisma.HostFindManyArgs;
}

function pageConditions(page: PageByTime | PageByName): Prisma.HostWhereInput[] {
  if (page.sort === 'name') return nameConditions('', page, (name): Prisma.HostWhereInput => ({ name }));
  const registeredAt = (comparison: Comparison<Date>): Prisma.HostWhereInput => ({ registeredAt: comparison });
  return timeConditions({}, page, registeredAt, (id) => ({ id }));
}
