// Finds a connection pooler between the service and PostgreSQL. The service needs sessions of its own: for their settings, for prepared statements,
// for advisory locks and to LISTEN. A pooler that gives each transaction another session would break each of them at some time, and not at the start.

import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { PoolerError } from '../unavailable.ts';
import { connectionOptions, statementMilliseconds } from './connection-options.ts';

/** Rounds in which is looked whether two connections have the same session: a pooler may give them different ones by chance. */
const rounds = 3;
const advice = 'name PostgreSQL itself with --database, or a proxy that passes connections through, but no pooler such as PgBouncer';

/** @throws {PoolerError} where a pooler is in between. */
export async function rejectPooler(url: string): Promise<void> {
  const clients = [new pg.Client(connectionOptions(url)), new pg.Client(connectionOptions(url))] as const;
  const [first, second] = clients;
  // What ends a connection is told by the statement that is under way.
  for (const client of clients) client.on('error', () => {});
  try {
    for (const client of clients) await client.connect().catch(explainConnect);
    await checkSettings(first);
    for (let round = 0; round < rounds; round += 1) await checkSessions(first, second);
  } finally {
    await Promise.allSettled(clients.map((client) => client.end()));
  }
}

/** @throws {PoolerError} where the connection is refused for the settings that it brings, which PostgreSQL itself takes. */
function explainConnect(error: unknown): never {
  if (error instanceof Error && /unsupported startup parameter/.test(error.message))
    throw new PoolerError(`a connection pooler refuses the settings of the service's sessions (${error.message}): ${advice}`);
  throw error;
}

async function checkSettings(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ setting: string }>(`SELECT setting FROM pg_settings WHERE name = 'statement_timeout'`);
  const setting = rows[0]?.setting;
  if (Number(setting) === statementMilliseconds) return;
  throw new PoolerError(
    `the settings of the service's sessions do not arrive at PostgreSQL (statement_timeout is ${setting} ms instead of ${statementMilliseconds} ms), ` +
      `as with the ignore_startup_parameters of PgBouncer: ${advice}`,
  );
}

/** A mark that one connection leaves in its session is seen there in the next statement, and not by the other connection. */
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
  if (isShared) throw new PoolerError(`a connection pooler gives the connections of the service each other's sessions: ${advice}`);
}
