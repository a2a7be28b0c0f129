// Findings of the ABI test: programs that held on to the addresses of code that had gone.

import type { Prisma } from '../generated/client.ts';
import type { AbiViolationModel } from '../generated/models.ts';
import { change, type Statements } from '../statements.ts';
import { chunksOf } from './chunks.ts';
import { type Comparison, equalTo, type PageByTime, type TimeRange, timeConditions } from './page.ts';

export type AbiViolationRecord = AbiViolationModel;
export type NewAbiViolation = Omit<AbiViolationModel, 'number'>;
export type AbiViolationFilter = TimeRange & {
  readonly deviceId: string;
  readonly programId?: string | undefined;
  readonly module?: string | undefined;
};

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
  readonly #statements: Statements;

  constructor(client: Prisma.TransactionClient, statements: Statements) {
    this.#client = client;
    this.#statements = statements;
  }

  /** Those of one device in one boot of its host. */
  async ofBoot(deviceId: string, bootId: string): Promise<AbiViolationRecord[]> {
    return this.#client.abiViolation.findMany({ where: { deviceId, bootId } });
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

  async list({ from, until, ...filter }: AbiViolationFilter, page: PageByTime<number>): Promise<AbiViolationRecord[]> {
    const at = (comparison: Comparison<Date>): Prisma.AbiViolationWhereInput => ({ at: comparison });
    return this.#client.abiViolation.findMany({
      where: { AND: [equalTo(filter), ...timeConditions({ from, until }, page, at, (number) => ({ number }))] },
      orderBy: [{ at: page.order }, { number: page.order }],
      take: page.limit,
    });
  }
}
