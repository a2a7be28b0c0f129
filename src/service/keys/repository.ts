// API keys: who may use the API, in which role. Their secrets are not kept.

import type { Prisma } from '../database/generated/client.ts';
import type { ApiKeyModel } from '../database/generated/models.ts';
import { type Comparison, type PageByTime, type TimeRange, timeConditions } from '../database/page.ts';
import { type MarkedRows, markedRows } from '../database/readable-rows.ts';
import { Query, type Statements } from '../database/statements.ts';

export type KeyRecord = ApiKeyModel;
export type KeyFilter = { readonly role?: string | undefined; readonly isRevoked?: boolean | undefined };

type Times = 'createdAt' | 'lastUsedAt' | 'revokedAt';
type Row = Omit<KeyRecord, Times> & { readonly createdAt: number; readonly lastUsedAt: number | null; readonly revokedAt: number | null };

const findKey = new Query<Row>(
  { id: 'text' },
  `
  SELECT "id", "name", "role", "host", "secretDigest", "createdAt", "createdBy", "lastUsedAt", "revokedAt" FROM "ApiKey" WHERE "id" = :id`,
);

export class KeyRecords {
  readonly #client: Prisma.TransactionClient;
  /** Reads rows that do not depend on each other: those that cannot be decoded are left out. */
  readonly #readable: Prisma.TransactionClient;
  readonly #statements: Statements;

  constructor(client: Prisma.TransactionClient, readable: Prisma.TransactionClient, statements: Statements) {
    this.#client = client;
    this.#readable = readable;
    this.#statements = statements;
  }

  async create(key: KeyRecord): Promise<void> {
    await this.#client.apiKey.create({ data: key });
  }

  async find(id: string): Promise<KeyRecord | null> {
    const [row] = await this.#statements.all(findKey, [id]);
    if (row === undefined) return null;
    const date = (time: number | null) => (time === null ? null : new Date(time));
    return { ...row, createdAt: new Date(row.createdAt), lastUsedAt: date(row.lastUsedAt), revokedAt: date(row.revokedAt) };
  }

  /** The key of that name that is not revoked. */
  async findByName(name: string): Promise<KeyRecord | null> {
    return this.#client.apiKey.findFirst({ where: { name, revokedAt: null } });
  }

  async list(filter: KeyFilter & TimeRange, page: PageByTime): Promise<MarkedRows<KeyRecord>> {
    return markedRows(await this.#readable.apiKey.findMany(this.#pageQuery(filter, page)));
  }

  #pageQuery(filter: KeyFilter & TimeRange, page: PageByTime) {
    const createdAt = (comparison: Comparison<Date>): Prisma.ApiKeyWhereInput => ({ createdAt: comparison });
    return {
      where: { AND: [whereOf(filter), ...timeConditions(filter, page, createdAt, (id) => ({ id }))] },
      orderBy: [{ createdAt: page.order }, { id: page.order }],
      take: page.limit,
    } satisfies Prisma.ApiKeyFindManyArgs;
  }

  async count(filter: KeyFilter): Promise<number> {
    return this.#client.apiKey.count({ where: whereOf(filter) });
  }

  async revoke(id: string, revokedAt: Date): Promise<void> {
    await this.#client.apiKey.update({ where: { id }, data: { revokedAt } });
  }

  async setLastUsed(id: string, lastUsedAt: Date): Promise<void> {
    await this.#client.apiKey.update({ where: { id }, data: { lastUsedAt } });
  }
}

function whereOf({ role, isRevoked }: KeyFilter): Prisma.ApiKeyWhereInput {
  return {
    ...(role === undefined ? {} : { role }),
    ...(isRevoked === undefined ? {} : { revokedAt: isRevoked ? { not: null } : null }),
  };
}
