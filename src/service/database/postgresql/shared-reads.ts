// Reads outside of transactions: requests that come at the same time have often the same to ask, as who it is that shows this key.

import { setImmediate as turnOfTheEventLoop } from 'node:timers/promises';
import type { Change, Found, Query, Statements, Value } from '../statements.ts';

/** Sends a question when the turn of the event loop in which it was asked is over, once for all who have asked it then: none gets an answer from before it asked. */
export class SharedReads implements Statements {
  readonly #statements: Statements;

  constructor(statements: Statements) {
    this.#statements = statements;
  }

  each(change: Change, rows: readonly (readonly Value[])[]): Promise<number[]> {
    return this.#statements.each(change, rows);
  }

  async all<Row extends Found>(query: Query<Row>, values: readonly Value[]): Promise<Row[]> {
    const asked = query.asked.get(this) ?? new Map<string, Promise<Row[]>>();
    query.asked.set(this, asked);
    const name = JSON.stringify(values);
    const answer = asked.get(name) ?? this.#send(query, values, () => asked.delete(name));
    asked.set(name, answer);
    // Each has rows of its own.
    return (await answer).map((row) => ({ ...row }));
  }

  async #send<Row extends Found>(query: Query<Row>, values: readonly Value[], isSent: () => void): Promise<Row[]> {
    await turnOfTheEventLoop();
    isSent();
    return this.#statements.all(query, values);
  }
}
