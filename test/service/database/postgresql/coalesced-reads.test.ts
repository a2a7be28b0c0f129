// Coalesced reads: concurrent equal queries are sent once, and no caller gets data from before its call.

import { expect, test, vi } from 'vitest';
import { newCommitEffects } from '../../../../src/service/database/commit-effects.ts';
import type { Connection } from '../../../../src/service/database/connection.ts';
import { CoalescedReads } from '../../../../src/service/database/postgresql/coalesced-reads.ts';
import { type ParamValues, PreparedQuery, type QueryParams } from '../../../../src/service/database/prepared-statements.ts';
import { sqliteCompiler } from '../../../../src/service/database/sqlite/statement-compiler.ts';

const query = new PreparedQuery({ name: 'text' }, (sql, { name }) => sql.selectFrom('Host').select('capacity').where('name', '=', name));
const other = new PreparedQuery({ name: 'text' }, (sql, { name }) => sql.selectFrom('Host').select('capacity').where('id', '=', name));

/** A connection that returns the number of queries once it is released, and fails on request. */
class Counting implements Connection {
  readonly commitEffects = newCommitEffects();
  readonly sql = sqliteCompiler.sql;
  readonly asked: unknown[] = [];
  mayResponse: Promise<void> = Promise.resolve();

  async executeForRows(): Promise<number[]> {
    return [];
  }

  async queryReadable(): Promise<never[]> {
    return [];
  }

  async query<Names extends QueryParams, Row>(_query: PreparedQuery<Names, Row>, given: ParamValues<Names>): Promise<Row[]> {
    const values: Readonly<Record<string, unknown>> = given;
    this.asked.push(values['name']);
    const rows = JSON.stringify([{ capacity: this.asked.length }]);
    await this.mayResponse;
    if (values['name'] === 'fail') throw new Error('no response');
    return JSON.parse(rows);
  }
}

test('equal queries in one turn of the event loop are sent once, and each caller gets its own rows', async () => {
  const database = new Counting();
  const reads = new CoalescedReads(database);
  const responses = await Promise.all([
    ...Array.from({ length: 100 }, () => reads.query(query, { name: 'a' })),
    reads.query(query, { name: 'b' }),
    reads.query(other, { name: 'a' }),
  ]);
  expect(database.asked).toEqual(['a', 'b', 'a']);
  expect(responses.slice(0, 100)).toEqual(Array.from({ length: 100 }, () => [{ capacity: 1 }]));
  expect(responses.slice(100)).toEqual([[{ capacity: 2 }], [{ capacity: 3 }]]);
  expect(responses[0]?.[0]).not.toBe(responses[1]?.[0]);
});

test('a query after the send is sent again, even before the first result arrives', async () => {
  const database = new Counting();
  const reads = new CoalescedReads(database);
  const { promise, resolve } = Promise.withResolvers<void>();
  database.mayResponse = promise;
  const first = reads.query(query, { name: 'a' });
  await vi.waitUntil(() => database.asked.length === 1);
  const second = reads.query(query, { name: 'a' });
  await vi.waitUntil(() => database.asked.length === 2);
  resolve();
  expect(await Promise.all([first, second])).toEqual([[{ capacity: 1 }], [{ capacity: 2 }]]);
});

test('an error rejects all callers, and the next query is sent again', async () => {
  const database = new Counting();
  const reads = new CoalescedReads(database);
  const failing = Promise.allSettled([reads.query(query, { name: 'fail' }), reads.query(query, { name: 'fail' })]);
  expect(await failing).toMatchObject([{ reason: { message: 'no response' } }, { reason: { message: 'no response' } }]);
  await expect(reads.query(query, { name: 'fail' })).rejects.toThrow('no response');
  expect(database.asked).toHaveLength(2);
});
