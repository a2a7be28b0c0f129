// Detects a connection pooler between the service and PostgreSQL. The service depends on session state: settings, prepared statements, advisory locks and
// LISTEN. A pooler in transaction mode would break these later, not at startup.

import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { PoolerError } from '../unavailable.ts';
import { connectionOptions, statementMilliseconds } from './connection-options.ts';

/** Number of session checks: a pooler may assign different sessions to two connections by chance. */
const rounds = 3;
const advice =
  'connect --database directly to PostgreSQL, or through a proxy that forwards connections, not through a pooler such as PgBouncer';

/** @throws {PoolerError} if the URL leads to a connection pooler. */
export async function rejectPooler(url: string): Promise<void> {
  const clients = [new pg.Client(connectionOptions(url)), new pg.Client(connectionOptions(url))] as const;
  const [first, second] = clients;
  // A lost connection rejects the pending statement.
  for (const client of clients) client.on('error', () => {});
  try {
    for (const client of clients) await client.connect().catch(explainConnect);
    await checkSettings(first);
    for (let round = 0; round < rounds; round += 1) await checkSessions(first, second);
  } finally {
    await Promise.allSettled(clients.map((client) => client.end()));
  }
}

/** @throws {PoolerError} if the connection is refused because of its settings, which PostgreSQL accepts. */
function explainConnect(error: unknown): never {
  if (error instanceof Error && /unsupported startup parameter/.test(error.message))
    throw new PoolerError(`a connection pooler rejects the session settings of the service (${error.message}): ${advice}`);
  throw error;
}

async function checkSettings(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ setting: string }>(`SELECT setting FROM pg_settings WHERE name = 'statement_timeout'`);
  const setting = rows[0]?.setting;
  if (Number(setting) === statementMilliseconds) return;
  throw new PoolerError(
    `the session settings of the service do not reach PostgreSQL (statement_timeout: expected ${statementMilliseconds} ms, found ${setting} ms), ` +
      `for example because of ignore_startup_parameters of PgBouncer: ${advice}`,
  );
}

/** Checks that a session setting is visible to the next statement on the same connection, and not to another connection. */
async function checkSessions(first: pg.Client, second: pg.Client): Promise<void> {
  const mark = randomUUID();
  const isMarked = async (client: pg.Client) => {
    const { rows } = await client.query<{ mark: string | null }>(`SELECT current_setting('patchbay.session', true) AS mark`);
    return rows[0]?.mark === mark;
  };
  await first.query(`SELECT set_config('patchbay.session', $1, false)`, [mark]);
  await second.query('BEGIN');
  const isShared = (await isMarked(second)) || !(await isMarked(first));
  await second.query('ROLLBACK');
  if (isShared) throw new PoolerError(`a connection pooler shares sessions between the connections of the service: ${advice}`);
}
