// Device hosts.

import type { Prisma } from '../generated/client.ts';
import type { HostModel } from '../generated/models.ts';
import { Query, type Statements } from '../statements.ts';
import { chunksOf } from './chunks.ts';
import type { Committed } from './committed.ts';
import { type Comparison, nameConditions, type PageByName, type PageByTime, timeConditions } from './page.ts';

export type HostRecord = HostModel;
export type HostFilter = { readonly isReachable?: boolean | undefined };
export type HostWithDevices = HostRecord & { readonly devices: number };

const hostOfToken = new Query<{ readonly id: string }>({ digest: 'text' }, `SELECT "id" FROM "Host" WHERE "tokenDigest" = :digest`);
const bootOfHost = new Query<{ readonly name: string; readonly bootId: string }>(
  { id: 'text' },
  `SELECT "name", "bootId" FROM "Host" WHERE "id" = :id`,
);

export class HostRecords {
  readonly #client: Prisma.TransactionClient;
  readonly #statements: Statements;
  readonly #committed: Committed;

  constructor(client: Prisma.TransactionClient, statements: Statements, committed: Committed) {
    this.#client = client;
    this.#statements = statements;
    this.#committed = committed;
  }

  async find(id: string): Promise<HostRecord | null> {
    return this.#client.host.findUnique({ where: { id } });
  }

  async findByName(name: string): Promise<HostRecord | null> {
    return this.#client.host.findUnique({ where: { name } });
  }

  async findByIdOrName(text: string): Promise<HostRecord | null> {
    return this.#client.host.findFirst({ where: { OR: [{ id: text }, { name: text }] } });
  }

  /** The host that was given the token of this digest when it last registered. */
  async findByToken(tokenDigest: string): Promise<string | null> {
    const [host] = await this.#statements.all(hostOfToken, [tokenDigest]);
    return host?.id ?? null;
  }

  /** The boot that a host has registered last, and its name. */
  async bootOf(id: string): Promise<{ readonly name: string; readonly bootId: string } | null> {
    const [host] = await this.#statements.all(bootOfHost, [id]);
    return host ?? null;
  }

  /** Hosts by whether they are heard of. */
  async idsByReachability(): Promise<{ id: string; unreachableSince: Date | null }[]> {
    return this.#client.host.findMany({ select: { id: true, unreachableSince: true } });
  }

  /** Notes that hosts are heard of (null), or since when they are not. */
  async setUnreachable(ids: readonly string[], unreachableSince: Date | null): Promise<void> {
    for (const some of chunksOf(ids)) await this.#client.host.updateMany({ where: { id: { in: some } }, data: { unreachableSince } });
  }

  /** What hosts follow their orders in is to end, wherever it is. */
  endStreams(ids: readonly string[]): void {
    for (const id of ids) this.#committed.endedStreams.add(id);
  }

  /** Makes the host, or renews the one of that name. */
  async save(host: HostRecord): Promise<void> {
    const { id, ...rest } = host;
    await this.#client.host.upsert({ where: { id }, create: host, update: rest });
  }

  async list({ isReachable }: HostFilter, page: PageByTime | PageByName): Promise<HostWithDevices[]> {
    const reachability = isReachable === undefined ? {} : { unreachableSince: isReachable ? null : { not: null } };
    const hosts = await this.#client.host.findMany({
      where: { AND: [reachability, ...pageConditions(page)] },
      orderBy: page.sort === 'name' ? { name: page.order } : [{ registeredAt: page.order }, { id: page.order }],
      take: page.limit,
      include: { _count: { select: { devices: true } } },
    });
    return hosts.map(({ _count, ...host }) => ({ ...host, devices: _count.devices }));
  }

  /** Every host with the number of its devices. */
  async all(): Promise<HostWithDevices[]> {
    const hosts = await this.#client.host.findMany({ include: { _count: { select: { devices: true } } } });
    return hosts.map(({ _count, ...host }) => ({ ...host, devices: _count.devices }));
  }
}

function pageConditions(page: PageByTime | PageByName): Prisma.HostWhereInput[] {
  if (page.sort === 'name') return nameConditions('', page, (name): Prisma.HostWhereInput => ({ name }));
  const registeredAt = (comparison: Comparison<Date>): Prisma.HostWhereInput => ({ registeredAt: comparison });
  return timeConditions({}, page, registeredAt, (id) => ({ id }));
}
