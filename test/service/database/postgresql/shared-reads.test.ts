// Questions that several ask at the same time: they are asked once, and nobody is answered what was before they asked.

import { expect, test, vi } from 'vitest';
import { SharedReads } from '../../../../src/service/database/postgresql/shared-reads.ts';
import { type Found, Query, type Statements, type Value } from '../../../../src/service/database/statements.ts';

type Row = { readonly answer: number };
const query = new Query<Row>({ name: 'text' }, 'SELECT :name');
const other = new Query<Row>({ name: 'text' }, 'SELECT :name AND more');

/** A database that answers how often it was asked, once it may, and fails when it is asked that. */
class CountingDatabase implements Statements {
  readonly asked: (readonly Value[])[] = [];
  mayAnswer: Promise<void> = Promise.resolve();

  async each(): Promise<number[]> {
    return [];
  }

  async all<One extends Found>(_query: Query<One>, values: readonly Value[]): Promise<One[]> {
    this.asked.push(values);
    const rows: Found[] = [{ answer: this.asked.length }];
    await this.mayAnswer;
    if (values[0] === 'fail') throw new Error('no answer');
    return JSON.parse(JSON.stringify(rows));
  }
}

test('what is asked in one turn of the event loop is sent once, and each has an answer of its own', async () => {
  const database = new CountingDatabase();
  const reads = new SharedReads(database);
  const answers = await Promise.all([
    ...Array.from({ length: 100 }, () => reads.all(query, ['a'])),
    reads.all(query, ['b']),
    reads.all(other, ['a']),
  ]);
  expect(database.asked).toEqual([['a'], ['b'], ['a']]);
  expect(answers.slice(0, 100)).toEqual(Array.from({ length: 100 }, () => [{ answer: 1 }]));
  expect(answers.slice(100)).toEqual([[{ answer: 2 }], [{ answer: 3 }]]);
  expect(answers[0]?.[0]).not.toBe(answers[1]?.[0]);
});

test('what is asked when it was sent is sent again, also while the answer is not there yet', async () => {
  const database = new CountingDatabase();
  const reads = new SharedReads(database);
  const { promise, resolve } = Promise.withResolvers<void>();
  database.mayAnswer = promise;
  const first = reads.all(query, ['a']);
  await vi.waitUntil(() => database.asked.length === 1);
  const second = reads.all(query, ['a']);
  await vi.waitUntil(() => database.asked.length === 2);
  resolve();
  expect(await Promise.all([first, second])).toEqual([[{ answer: 1 }], [{ answer: 2 }]]);
});

test('where it cannot be answered all who have asked it are told, and the next is asked anew', async () => {
  const database = new CountingDatabase();
  const reads = new SharedReads(database);
  const failing = Promise.allSettled([reads.all(query, ['fail']), reads.all(query, ['fail'])]);
  expect(await failing).toMatchObject([{ reason: { message: 'no answer' } }, { reason: { message: 'no answer' } }]);
  await expect(reads.all(query, ['fail'])).rejects.toThrow('no answer');
  expect(database.asked).toHaveLength(2);
});
