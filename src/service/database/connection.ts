// A connection to the database, or a transaction on it: the SQL builder and prepared statements.

import { type Compilable, type CompiledQuery, type DatabaseConnection, type Dialect, type Driver, Kysely, type QueryResult } from 'kysely';
import type { CommitEffects } from './commit-effects.ts';
import type { Params, ParamValues, PreparedQuery, QueryParams, RowStatement } from './prepared-statements.ts';
import type { MarkedRows } from './readable-rows.ts';
import type { Tables } from './tables.ts';
import type { RowKind } from './undecodable-row.ts';

export interface Connection {
  /** The effects that listeners are notified of after the commit. */
  readonly commitEffects: CommitEffects;
  /** Builds and executes statements. */
  readonly sql: Kysely<Tables>;
  /** Executes a statement for each row. Returns the number of table rows that each execution changed; 1 for an insert. */
  executeForRows<Names extends Params>(statement: RowStatement<Names>, rows: readonly ParamValues<Names>[]): Promise<number[]>;
  /** Runs a prepared query and returns all rows. */
  query<Names extends QueryParams, Row>(query: PreparedQuery<Names, Row>, values: ParamValues<Names>): Promise<Row[]>;
  /** Runs a query and returns all rows. A row that cannot be decoded is reported and replaced with a marker. */
  queryReadable<Row extends object>(query: Compilable<Row>, rowKind: RowKind): Promise<MarkedRows<Row>>;
}

/** Executes a compiled statement on one connection. */
export type ExecuteQuery = <Row>(query: CompiledQuery) => Promise<QueryResult<Row>>;

/** Creates an SQL builder whose statements run on one connection. Only `Engine` begins and ends transactions. */
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
        throw new Error('streaming queries are not supported');
      },
    };
  }

  async init(): Promise<void> {}

  async acquireConnection(): Promise<DatabaseConnection> {
    return this.#connection;
  }

  beginTransaction = rejectTransaction;
  commitTransaction = rejectTransaction;
  rollbackTransaction = rejectTransaction;

  async releaseConnection(): Promise<void> {}

  async destroy(): Promise<void> {}
}

async function rejectTransaction(): Promise<never> {
  throw new Error('use Store.transaction to begin a transaction');
}
