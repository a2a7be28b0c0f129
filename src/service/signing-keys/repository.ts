// The keys that the service signs with: their public parts, and which vouches for which.

import { Prisma } from '../database/generated/client.ts';
import type { SigningKeyModel } from '../database/generated/models.ts';
import { type Comparison, type PageByTime, timeConditions } from '../database/page.ts';
import { type MarkedRows, markedRows } from '../database/readable-rows.ts';

export type SigningKeyRecord = SigningKeyModel;
type NamedSigningKey = Pick<SigningKeyModel, 'id' | 'keyId' | 'publicKey'>;
export type CurrentKeys = { readonly active: NamedSigningKey; readonly first: NamedSigningKey };
export type NewSigningKey = Omit<SigningKeyModel, 'retiredAt' | 'endorsement'> & { readonly endorsement: Prisma.InputJsonObject | null };

export class SigningKeyRecords {
  readonly #client: Prisma.TransactionClient;
  /** Reads rows that do not depend on each other: those that cannot be decoded are left out. */
  readonly #readable: Prisma.TransactionClient;

  constructor(client: Prisma.TransactionClient, readable: Prisma.TransactionClient) {
    this.#client = client;
    this.#readable = readable;
  }

  async create({ endorsement, ...key }: NewSigningKey): Promise<SigningKeyRecord> {
    return this.#client.signingKey.create({ data: { ...key, endorsement: endorsement ?? Prisma.DbNull } });
  }

  async find(id: string): Promise<SigningKeyRecord | null> {
    return this.#client.signingKey.findFirst({ where: { id } });
  }

  /** The key that is signed with now, and the first that ever was; null where there was none. No more is read of them than the service starts with. */
  async current(): Promise<CurrentKeys | null> {
    const { signingKey } = this.#client;
    const select = { id: true, keyId: true, publicKey: true } as const;
    const active = await signingKey.findFirst({ where: { retiredAt: null }, orderBy: { id: 'desc' }, select });
    // The first vouches for none before it; by their times, one that was made while the clock was behind would seem to be the first.
    const orderBy = [{ createdAt: 'asc' as const }, { id: 'asc' as const }];
    const first =
      (await signingKey.findFirst({ where: { predecessor: null }, orderBy, select })) ?? (await signingKey.findFirst({ orderBy, select }));
    return active === null || first === null ? null : { active, first };
  }

  async count(): Promise<number> {
    return this.#client.signingKey.count();
  }

  /** Every key that there ever was, the oldest first. */
  async all(): Promise<SigningKeyRecord[]> {
    return this.#readable.signingKey.findMany({ orderBy: [{ createdAt: 'asc' }, { id: 'asc' }] });
  }

  async list(page: PageByTime): Promise<MarkedRows<SigningKeyRecord>> {
    const createdAt = (comparison: Comparison<Date>): Prisma.SigningKeyWhereInput => ({ createdAt: comparison });
    const keys = await this.#readable.signingKey.findMany({
      where: { AND: timeConditions({}, page, createdAt, (id) => ({ id })) },
      orderBy: [{ createdAt: page.order }, { id: page.order }],
      take: page.limit,
    });
    return markedRows(keys);
  }

  /** Nothing is signed with any key that there is from then on. */
  async retireAll(retiredAt: Date): Promise<void> {
    await this.#client.signingKey.updateMany({ where: { retiredAt: null }, data: { retiredAt } });
  }
}
