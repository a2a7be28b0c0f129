// Rows of signature policies.

import { z } from 'zod';
import type { Connection } from '../database/connection.ts';
import type { SignaturePolicyModel } from '../database/generated/models.ts';
import { Json } from '../database/json.ts';
import { PreparedQuery } from '../database/prepared-statements.ts';

export type SignaturePolicyRecord = Omit<SignaturePolicyModel, 'labels' | 'publisherKeys'> & {
  readonly labels: Readonly<Record<string, string>> | null;
  readonly publisherKeys: readonly string[];
};

const Labels = z.record(z.string(), z.string()).nullable();
const PublisherKeys = z.array(z.string());

const policiesOfModules = new PreparedQuery({ modules: 'list' }, (sql, { modules }) =>
  sql
    .selectFrom('SignaturePolicy')
    .select(['id', 'name', 'deviceId', 'labels', 'selector', 'groupId', 'module', 'publisherKeys', 'threshold', 'createdAt'])
    .where(({ or, eb, ref }) => or([eb('module', 'is', null), modules.includes(ref('module'))]))
    .orderBy('createdAt')
    .orderBy('id'),
);

export class SignaturePolicyRecords {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  async create(policy: SignaturePolicyRecord): Promise<void> {
    await this.#connection.sql.insertInto('SignaturePolicy').values(toRow(policy)).execute();
  }

  async replace({ id, ...policy }: SignaturePolicyRecord): Promise<void> {
    await this.#connection.sql.updateTable('SignaturePolicy').set(toRow(policy)).where('id', '=', id).execute();
  }

  async remove(id: string): Promise<void> {
    await this.#connection.sql.deleteFrom('SignaturePolicy').where('id', '=', id).execute();
  }

  async find(id: string): Promise<SignaturePolicyRecord | null> {
    const policy = await this.#connection.sql.selectFrom('SignaturePolicy').selectAll().where('id', '=', id).executeTakeFirst();
    return policy === undefined ? null : toPolicyRecord(policy);
  }

  async findByName(name: string): Promise<SignaturePolicyRecord | null> {
    const policy = await this.#connection.sql.selectFrom('SignaturePolicy').selectAll().where('name', '=', name).executeTakeFirst();
    return policy === undefined ? null : toPolicyRecord(policy);
  }

  /** Returns the policies for builds of one of the modules, oldest first. */
  async findForModules(modules: readonly string[]): Promise<SignaturePolicyRecord[]> {
    return (await this.#connection.query(policiesOfModules, { modules })).map(toPolicyRecord);
  }

  /** Returns the names of the policies that apply to a group, oldest first. */
  async namesOfGroup(groupId: string): Promise<string[]> {
    const policies = this.#connection.sql.selectFrom('SignaturePolicy').select('name').where('groupId', '=', groupId);
    return (await policies.orderBy('createdAt').orderBy('id').execute()).map(({ name }) => name);
  }

  async count(): Promise<number> {
    const { count } = await this.#connection.sql
      .selectFrom('SignaturePolicy')
      .select(({ fn }) => fn.countAll<number | bigint>().as('count'))
      .executeTakeFirstOrThrow();
    return Number(count);
  }
}

/** Parses a stored policy. @throws {z.ZodError} if it is invalid. */
export function toPolicyRecord({ labels, publisherKeys, ...policy }: SignaturePolicyModel): SignaturePolicyRecord {
  return { ...policy, labels: Labels.parse(labels), publisherKeys: PublisherKeys.parse(publisherKeys) };
}

function toRow<Policy extends Omit<SignaturePolicyRecord, 'id'>>({ labels, publisherKeys, ...policy }: Policy) {
  return { ...policy, labels: labels && Json.of(labels), publisherKeys: Json.of(publisherKeys) };
}
