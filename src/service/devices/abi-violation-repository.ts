// Findings of the ABI test: programs that held on to the addresses of code that had gone.

import { chunksOf } from '../database/chunks.ts';
import type { Prisma } from '../database/generated/client.ts';
import type { AbiViolationModel } from '../database/generated/models.ts';
import { type Comparison, equalTo, type PageByTime, type TimeRange, timeConditions } from '../database/page.ts';
import { type MarkedRows, markedRows } from '../database/readable-rows.ts';
import { change, type Statements } from '../database/statements.ts';

export type AbiViolationRecord = AbiViolationModel;
export type NewAbiViolation = Omit<AbiViolationModel, 'number'>;
export type AbiViolationFilter = TimeRange & {
  readonly deviceId: string;
  readonly programId?: string | undefined;
  readonly module?: string | undefined;
};

/** What identifies a violation in one boot; the faults are null where they cannot be decoded. */
export type KnownViolation = Pick<AbiViolationModel, 'number' | 'programId' | 'version' | 'address'> & { readonly faults: bigint | null };

/** How often a program has faulted by now. */
export type MoreFaults = { readonly number: number; readonly faults: number; readonly lastAt: Date };

/** Violations kept of a device: more than one state tells of, so that none of them is forgotten while it is told of. */
const kept = 2_000;

const countFaults = change(
  'AbiViolation',
  { faults: 'integer', lastAt: 'time', number: 'integer' },
  `"faults" = :faults, "lastAt" = :lastAt`,
  `"number" = :number`,
);

export class AbiViolationRecords {
  readonly #client: Prisma.TransactionClient;
  /** Reads rows that do not depend on each other: those that cannot be decoded are left out. */
  readonly #readable: Prisma.TransactionClient;
  readonly #statements: Statements;

  constructor(client: Prisma.TransactionClient, readable: Prisma.TransactionClient, statements: Statements) {
    this.#client = client;
    this.#readable = readable;
    this.#statements = statements;
  }

  /** Those of one device in one boot of its host. */
  async ofBoot(deviceId: string, bootId: string): Promise<KnownViolation[]> {
    const where = { deviceId, bootId };
    const identity = { number: true, programId: true, version: true, address: true } as const;
    const [known, counted] = [
      await this.#client.abiViolation.findMany({ where, select: identity }),
      await this.#readable.abiViolation.findMany({ where, select: { number: true, faults: true } }),
    ];
    const faults = new Map(counted.map((row) => [row.number, row.faults]));
    return known.map((row) => ({ ...row, faults: faults.get(row.number) ?? null }));
  }

  /** Adds violations of one device; of more than may be kept, those whose last faults are the longest ago are forgotten. */
  async create(deviceId: string, violations: readonly NewAbiViolation[]): Promise<void> {
    await this.#client.abiViolation.createMany({ data: [...violations] });
    const forgotten = await this.#client.abiViolation.findMany({
      where: { deviceId },
      orderBy: [{ lastAt: 'desc' }, { number: 'desc' }],
      skip: kept,
      select: { number: true },
    });
    for (const some of chunksOf(forgotten.map(({ number }) => number)))
      await this.#client.abiViolation.deleteMany({ where: { number: { in: some } } });
  }

  /** Counts faults: each may have more with every state. */
  async count(more: readonly MoreFaults[]): Promise<void> {
    await this.#statements.each(
      countFaults,
      more.map(({ number, faults, lastAt }) => [faults, lastAt.getTime(), number]),
    );
  }

  async list({ from, until, ...filter }: AbiViolationFilter, page: PageByTime<number>): Promise<MarkedRows<AbiViolationRecord>> {
    const at = (comparison: Comparison<Date>): Prisma.AbiViolationWhereInput => ({ at: comparison });
    const violations = await this.#readable.abiViolation.findMany({
      where: { AND: [equalTo(filter), ...timeConditions({ from, until }, page, at, (number) => ({ number }))] },
      orderBy: [{ at: page.order }, { number: page.order }],
      take: page.limit,
    });
    return markedRows(violations);
  }
}
