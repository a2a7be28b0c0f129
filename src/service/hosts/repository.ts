// Device hosts.

import { chunksOf, readInChunks } from '../database/chunks.ts';
import type { Committed } from '../database/committed.ts';
import type { Prisma } from '../database/generated/client.ts';
import type { HostModel } from '../database/generated/models.ts';
import { type Comparison, nameConditions, type PageByName, type PageByTime, timeConditions } from '../database/page.ts';
import { type MarkedRows, mapReadable, markedRows } from '../database/readable-rows.ts';
import { change, Query, type Statements } from '../database/statements.ts';

export type HostRecord = Omit<HostModel, 'heardCount' | 'streamId' | 'credential'> & Partial<Pick<HostModel, 'credential'>>;
/** Of a host that is not known to be unreachable. */
export type HeardCount = { readonly id: string; readonly count: number };
export type HostFilter = { readonly isReachable?: boolean | undefined };
/** The host that a token is of, and what it registered with. */
export type HostOfToken = { readonly id: string; readonly isUnreachable: boolean; readonly credential: string | null };
export type KnownHost = Pick<HostModel, 'id' | 'bootId'> & { readonly isUnreachable: boolean };
export type HostWithDevices = HostRecord & { readonly devices: number };

const hostOfToken = new Query<{ readonly id: string; readonly unreachableSince: number | null; readonly credential: string | null }>(
  { digest: 'text' },
  `SELECT "id", "unreachableSince", "credential" FROM "Host" WHERE "tokenDigest" = :digest`,
);
const bootOfHost = new Query<{ readonly name: string; readonly bootId: string; readonly isRegistered: number }>(
  { id: 'text' },
  `SELECT "name", "bootId", "tokenDigest" IS NOT NULL AS "isRegistered" FROM "Host" WHERE "id" = :id`,
);

const hearHost = change('Host', { id: 'text' }, `"heardCount" = "heardCount" + 1`, `"Host"."id" = :id`);

const heardCounts = new Query<HeardCount>({}, `SELECT "id", "heardCount" AS "count" FROM "Host" WHERE "unreachableSince" IS NULL`);

export class HostRecords {
  readonly #client: Prisma.TransactionClient;
  /** Reads rows that do not depend on each other: those that cannot be decoded are left out. */
  readonly #readable: Prisma.TransactionClient;
  readonly #statements: Statements;
  readonly #committed: Committed;

  constructor(client: Prisma.TransactionClient, readable: Prisma.TransactionClient, statements: Statements, committed: Committed) {
    this.#client = client;
    this.#readable = readable;
    this.#statements = statements;
    this.#committed = committed;
  }

  async find(id: string): Promise<HostRecord | null> {
    return this.#client.host.findUnique({ where: { id } });
  }

  /** What identifies the host of a name, and its boot. */
  async findByName(name: string): Promise<KnownHost | null> {
    const host = await this.#client.host.findUnique({ where: { name }, select: { id: true, bootId: true } });
    if (host === null) return null;
    // Compared by the database, so that a host whose row is damaged can register: then the row is written again.
    return { ...host, isUnreachable: (await this.unreachableAmong([host.id])).length > 0 };
  }

  async findByIdOrName(text: string): Promise<Pick<HostRecord, 'id'> | null> {
    return this.#client.host.findFirst({ where: { OR: [{ id: text }, { name: text }] }, select: { id: true } });
  }

  /** The host that was given the token of this digest when it last registered. */
  async findByToken(tokenDigest: string): Promise<HostOfToken | null> {
    const [host] = await this.#statements.all(hostOfToken, [tokenDigest]);
    return host === undefined ? null : { id: host.id, isUnreachable: host.unreachableSince !== null, credential: host.credential };
  }

  /** The boot that a host has registered last, its name, and whether it has a token. */
  async bootOf(id: string): Promise<{ readonly name: string; readonly bootId: string; readonly isRegistered: boolean } | null> {
    const [host] = await this.#statements.all(bootOfHost, [id]);
    return host === undefined ? null : { ...host, isRegistered: host.isRegistered === 1 };
  }

  /** Hosts that registered with a credential have no token any more, and their streams of orders end. Returns which. */
  async endAccess(credential: string): Promise<string[]> {
    const hosts = await this.#client.host.updateManyAndReturn({ where: { credential }, data: { tokenDigest: null }, select: { id: true } });
    const ids = hosts.map(({ id }) => id);
    await this.endStreams(ids);
    return ids;
  }

  /** The hosts that are not known to be unreachable, each with a number that rises while it is heard of. */
  async heardCounts(): Promise<HeardCount[]> {
    return this.#statements.all(heardCounts, []);
  }

  /** Those of these hosts that are unreachable. */
  async unreachableAmong(ids: readonly string[]): Promise<string[]> {
    const hosts = await readInChunks(ids, (some) =>
      this.#client.host.findMany({ where: { id: { in: some }, unreachableSince: { not: null } }, select: { id: true } }),
    );
    return hosts.map(({ id }) => id);
  }

  /** Notes that hosts were heard of. */
  async setHeard(ids: Iterable<string>): Promise<void> {
    await this.#statements.each(
      hearHost,
      [...ids].map((id) => [id]),
    );
  }

  /** Notes that hosts are heard of (null), or since when they are not. */
  async setUnreachable(ids: readonly string[], unreachableSince: Date | null): Promise<void> {
    for (const some of chunksOf(ids)) await this.#client.host.updateMany({ where: { id: { in: some } }, data: { unreachableSince } });
  }

  /** A host follows its orders in this stream; any other of it ends, wherever it is. */
  async beginStream(id: string, streamId: string): Promise<void> {
    await this.#client.host.updateMany({ where: { id }, data: { streamId } });
    this.#committed.endedStreams.add(id);
  }

  /** What hosts follow their orders in ends, wherever it is. */
  async endStreams(ids: readonly string[]): Promise<void> {
    for (const some of chunksOf(ids)) await this.#client.host.updateMany({ where: { id: { in: some } }, data: { streamId: null } });
    for (const id of ids) this.#committed.endedStreams.add(id);
  }

  /** The stream in which a host follows its orders; null where it does not. */
  async streamOf(id: string): Promise<string | null> {
    const host = await this.#client.host.findFirst({ where: { id }, select: { streamId: true } });
    return host?.streamId ?? null;
  }

  /** Makes the host, or renews the one of that name: it has just been heard of. */
  async save(host: HostRecord): Promise<void> {
    const { id, ...rest } = host;
    await this.#client.host.upsert({
      where: { id },
      create: { ...host, heardCount: 1 },
      update: { ...rest, heardCount: { increment: 1 } },
      select: { id: true },
    });
  }

  async list(filter: HostFilter, page: PageByTime | PageByName): Promise<MarkedRows<HostWithDevices>> {
    const hosts = await this.#readable.host.findMany({ ...pageQuery(filter, page), include: withDeviceCount });
    return mapReadable(markedRows(hosts), toHostWithDevices);
  }

  /** How many hosts are heard of, and how many are not. */
  async countByReachability(): Promise<{ readonly connected: number; readonly unreachable: number }> {
    const { host: hosts } = this.#client;
    const [connected, unreachable] = [
      await hosts.count({ where: { unreachableSince: null } }),
      await hosts.count({ where: { unreachableSince: { not: null } } }),
    ];
    return { connected, unreachable };
  }

  /** Some of the hosts that are unreachable, with the numbers of their devices. */
  async unreachable(limit: number): Promise<{ readonly name: string; readonly devices: number }[]> {
    const hosts = await this.#client.host.findMany({
      where: { unreachableSince: { not: null } },
      orderBy: { name: 'asc' },
      take: limit,
      select: { name: true, _count: { select: { devices: true } } },
    });
    return hosts.map(({ name, _count }) => ({ name, devices: _count.devices }));
  }

  /** Every host with the number of its devices. */
  async all(): Promise<HostWithDevices[]> {
    const hosts = await this.#readable.host.findMany({ include: withDeviceCount });
    return hosts.map(toHostWithDevices);
  }
}

const withDeviceCount = { _count: { select: { devices: true } } } as const;

/** A row of a host without what only some need, with the number of its devices. */
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
