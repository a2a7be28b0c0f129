// Publishers' public keys, by which devices can be made to demand signatures of builds.

import { readInChunks } from '../database/chunks.ts';
import type { Prisma } from '../database/generated/client.ts';
import type { PublisherKeyModel } from '../database/generated/models.ts';
import { type Comparison, type PageByTime, timeConditions } from '../database/page.ts';
import { type MarkedRows, markedRows } from '../database/readable-rows.ts';

export type PublisherKeyRecord = PublisherKeyModel;
export type PublisherKeyFilter = { readonly isRevoked?: boolean | undefined };

export class PublisherKeyRecords {
  readonly #client: Prisma.TransactionClient;
  /** Reads rows that do not depend on each other: those that cannot be decoded are left out. */
  readonly #readable: Prisma.TransactionClient;

  constructor(client: Prisma.TransactionClient, readable: Prisma.TransactionClient) {
    this.#client = client;
    this.#readable = readable;
  }

  async create(key: PublisherKeyRecord): Promise<void> {
    await this.#client.publisherKey.create({ data: key });
  }

  async find(id: string): Promise<PublisherKeyRecord | null> {
    return this.#client.publisherKey.findFirst({ where: { id } });
  }

  async findMany(ids: readonly string[]): Promise<PublisherKeyRecord[]> {
    return readInChunks(ids, (some) => this.#client.publisherKey.findMany({ where: { id: { in: some } } }));
  }

  /** The key of that digest, also if it is revoked. */
  async findByKeyId(keyId: string): Promise<PublisherKeyRecord | null> {
    return this.#client.publisherKey.findFirst({ where: { keyId } });
  }

  /** The key of that name that is not revoked. */
  async findByName(name: string): Promise<PublisherKeyRecord | null> {
    return this.#client.publisherKey.findFirst({ where: { name, revokedAt: null } });
  }

  /** How many are not revoked. */
  async countInUse(): Promise<number> {
    return this.#client.publisherKey.count({ where: { revokedAt: null } });
  }

  async list({ isRevoked }: PublisherKeyFilter, page: PageByTime): Promise<MarkedRows<PublisherKeyRecord>> {
    const createdAt = (comparison: Comparison<Date>): Prisma.PublisherKeyWhereInput => ({ createdAt: comparison });
    const filter = isRevoked === undefined ? [] : [{ revokedAt: isRevoked ? { not: null } : null }];
    const keys = await this.#readable.publisherKey.findMany({
      where: { AND: [...filter, ...timeConditions({}, page, createdAt, (id) => ({ id }))] },
      orderBy: [{ createdAt: page.order }, { id: page.order }],
      take: page.limit,
    });
    return markedRows(keys);
  }

  async revoke(id: string, revokedAt: Date): Promise<void> {
    await this.#client.publisherKey.update({ where: { id }, data: { revokedAt } });
  }
}
