// A connection to the database, or a transaction on one: the SQL builder, and statements that were compiled before.

import { type Compilable, type CompiledQuery, type DatabaseConnection, type Dialect, type Driver, Kysely, type QueryResult } from 'kysely';
import type { CommitEffects } from './commit-effects.ts';
import type { Params, ParamValues, PreparedQuery, QueryParams, RowStatement } from './prepared-statements.ts';
import type { MarkedRows } from './readable-rows.ts';
import type { Tables } from './tables.ts';
import type { RowKind } from './undecodable-row.ts';

export interface Connection {
  /** What others are told of once the transaction is on disk. */
  readonly commitEffects: CommitEffects;
  /** Builds and runs statements, in the order in which they are executed. */
  readonly sql: Kysely<Tables>;
  /** Executes a statement for each row. Returns how many rows of the table each has changed; of an insert 1. */
  executeForRows<Names extends Params>(statement: RowStatement<Names>, rows: readonly ParamValues<Names>[]): Promise<number[]>;
  /** Every row of a query. */
  query<Names extends QueryParams, Row>(query: PreparedQuery<Names, Row>, given: ParamValues<Names>): Promise<Row[]>;
  /** Every row of a query; in the place of one that cannot be decoded there is a mark, and the row is reported. */
  queryReadable<Row extends object>(query: Compilable<Row>, rowKind: RowKind): Promise<MarkedRows<Row>>;
}

/** Runs a compiled statement on one connection. */
export type ExecuteQuery = <Row>(query: CompiledQuery) => Promise<QueryResult<Row>>;

/** A builder whose statements run on one connection. Transactions are begun and ended by `Engine`, never by the builder. */
export function createQueryBuilder(dialect: Omit<Dialect, 'createDriver'>, run: ExecuteQuery): Kysely<Tables> {
  const driver = new ConnectionDriver(run);
  return new Kysely<Tables>({
    dialect: {
      createDriver: () => driver,
      createAdapter: () => dialect.createAdapter(),
      createIntrospector: (database) => dialect.createIntrospector(database),
      createQueryCompiler: () => dialect.createQueryCompiler(),
    },
  });
}

class ConnectionDriver implements Driver {
  readonly #connection: DatabaseConnection;

  constructor(run: ExecuteQuery) {
    this.#connection = {
      executeQuery: (query) => run(query),
      streamQuery: () => {
        throw new Error('queries of this service are not streamed');
      },
    };
  }

  async init(): Promise<void> {}

  async acquireConnection(): Promise<DatabaseConnection> {
    return this.#connection;
  }

  beginTransaction = refuseTransaction;
  commitTransaction = refuseTransaction;
  rollbackTransaction = refuseTransaction;

  async releaseConnection(): Promise<void> {}

  async destroy(): Promise<void> {}
}

async function refuseTransaction(): Promise<never> {
  throw new Error('transactions are begun by Store.transaction');
}
