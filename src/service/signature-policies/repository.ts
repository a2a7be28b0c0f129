// Signature policies: whose signatures of a build a device demands, or every device that has some labels.

import { z } from 'zod';
import { Prisma } from '../database/generated/client.ts';
import type { SignaturePolicyModel } from '../database/generated/models.ts';
import { type Comparison, type PageByTime, timeConditions } from '../database/page.ts';
import { type MarkedRows, markedRows } from '../database/readable-rows.ts';
import { Query, type Statements } from '../database/statements.ts';

export type SignaturePolicyRecord = Omit<SignaturePolicyModel, 'labels' | 'publisherKeys'> & {
  readonly labels: Readonly<Record<string, string>> | null;
  readonly publisherKeys: readonly string[];
};

const Labels = z.record(z.string(), z.string()).nullable();
const PublisherKeys = z.array(z.string());

type Row = Omit<SignaturePolicyModel, 'labels' | 'publisherKeys' | 'createdAt'> & {
  readonly labels: string | null;
  readonly publisherKeys: string;
  readonly createdAt: number;
};

const policiesOfModules = new Query<Row>(
  { modules: 'list' },
  `
  SELECT "id", "name", "deviceId", "labels", "module", "publisherKeys", "threshold", "createdAt" FROM "SignaturePolicy"
  WHERE "module" IS NULL OR "module" IN :modules ORDER BY "createdAt", "id"`,
);

export class SignaturePolicyRecords {
  readonly #client: Prisma.TransactionClient;
  /** Reads rows that do not depend on each other: those that cannot be decoded are left out. */
  readonly #readable: Prisma.TransactionClient;
  readonly #statements: Statements;

  constructor(client: Prisma.TransactionClient, readable: Prisma.TransactionClient, statements: Statements) {
    this.#client = client;
    this.#readable = readable;
    this.#statements = statements;
  }

  async create(policy: SignaturePolicyRecord): Promise<void> {
    await this.#client.signaturePolicy.create({ data: toRow(policy) });
  }

  async replace({ id, ...policy }: SignaturePolicyRecord): Promise<void> {
    await this.#client.signaturePolicy.update({ where: { id }, data: toRow(policy) });
  }

  async remove(id: string): Promise<void> {
    await this.#client.signaturePolicy.delete({ where: { id } });
  }

  async find(id: string): Promise<SignaturePolicyRecord | null> {
    const policy = await this.#client.signaturePolicy.findFirst({ where: { id } });
    return policy && toPolicyRecord(policy);
  }

  async findByName(name: string): Promise<SignaturePolicyRecord | null> {
    const policy = await this.#client.signaturePolicy.findFirst({ where: { name } });
    return policy && toPolicyRecord(policy);
  }

  /** Those that are about builds of one of the modules, the oldest first. */
  async ofModules(modules: readonly string[]): Promise<SignaturePolicyRecord[]> {
    const policies = await this.#statements.all(policiesOfModules, [JSON.stringify(modules)]);
    return policies.map(({ labels, publisherKeys, createdAt, ...policy }) => ({
      ...policy,
      labels: Labels.parse(JSON.parse(labels ?? 'null')),
      publisherKeys: PublisherKeys.parse(JSON.parse(publisherKeys)),
      createdAt: new Date(createdAt),
    }));
  }

  async count(): Promise<number> {
    return this.#client.signaturePolicy.count();
  }

  /** As they are stored, so that one that violates its schema does not keep the others from being read. */
  async list(page: PageByTime): Promise<MarkedRows<SignaturePolicyModel>> {
    const createdAt = (comparison: Comparison<Date>): Prisma.SignaturePolicyWhereInput => ({ createdAt: comparison });
    const policies = await this.#readable.signaturePolicy.findMany({
      where: { AND: timeConditions({}, page, createdAt, (id) => ({ id })) },
      orderBy: [{ createdAt: page.order }, { id: page.order }],
      take: page.limit,
    });
    return markedRows(policies);
  }
}

/** A stored policy. @throws {z.ZodError} where it violates its schema. */
export function toPolicyRecord({ labels, publisherKeys, ...policy }: SignaturePolicyModel): SignaturePolicyRecord {
  return { ...policy, labels: Labels.parse(labels), publisherKeys: PublisherKeys.parse(publisherKeys) };
}

function toRow<Policy extends Omit<SignaturePolicyRecord, 'id'>>({ labels, publisherKeys, ...policy }: Policy) {
  return { ...policy, labels: labels === null ? Prisma.DbNull : { ...labels }, publisherKeys: [...publisherKeys] };
}
