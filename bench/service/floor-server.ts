// Run by floor.ts: makes one insert per request and commits it before the response.

import console from 'node:console';
import { randomUUID } from 'node:crypto';
import Database from 'better-sqlite3';
import { fastify } from 'fastify';
import pg from 'pg';
import { isPostgresqlUrl } from '../../src/service/database/store.ts';

type Row = [id: string, device: string, body: string, at: number];
/** Inserts rows. */
type Floor = { readonly insert: (row: Row) => unknown; readonly close: () => unknown };

const table = 'CREATE TABLE load (id TEXT PRIMARY KEY, device TEXT NOT NULL, body TEXT NOT NULL, at BIGINT NOT NULL)';
/** PostgreSQL connections, as many as one replica of the service uses. */
const connections = 10;

function onFile(file: string): Floor {
  const database = new Database(file);
  database.pragma('journal_mode = WAL');
  database.pragma('synchronous = FULL');
  database.exec(table);
  const insert = database.prepare<Row>('INSERT INTO load VALUES (?, ?, ?, ?)');
  return { insert: (row) => insert.run(...row), close: () => database.close() };
}

async function onPostgresql(connectionString: string): Promise<Floor> {
  const pool = new pg.Pool({ connectionString, max: connections });
  await pool.query(table);
  const insert = { name: 'insert', text: 'INSERT INTO load VALUES ($1, $2, $3, $4)' };
  return { insert: (values) => pool.query({ ...insert, values }), close: () => pool.end() };
}

const [, , database = ''] = process.argv;
const floor = isPostgresqlUrl(database) ? await onPostgresql(database) : onFile(database);

const text = { type: 'string', minLength: 1, maxLength: 64 } as const;
const schema = {
  body: {
    type: 'object',
    additionalProperties: false,
    required: ['module', 'version', 'devices'],
    properties: { module: text, version: text, devices: { type: 'array', minItems: 1, maxItems: 1, items: text } },
  },
  response: {
    202: {
      type: 'object',
      properties: {
        batch: text,
        loads: { type: 'array', items: { type: 'object', properties: { id: text, device: text, version: text } } },
      },
    },
  },
} as const;

type Body = { readonly module: string; readonly version: string; readonly devices: readonly string[] };

const app = fastify();
app.post<{ Body: Body }>('/loads', { schema }, async (request, reply) => {
  const { version, devices } = request.body;
  const [device = ''] = devices;
  const id = randomUUID();
  await floor.insert([id, device, JSON.stringify(request.body), Date.now()]);
  return reply.status(202).send({ batch: id, loads: [{ id, device, version }] });
});
console.log(await app.listen({ port: 0, host: '127.0.0.1' }));
process.once('SIGTERM', async () => {
  await app.close();
  await floor.close();
});
