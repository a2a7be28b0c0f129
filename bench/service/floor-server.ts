// Run by floor.ts: one insert for each request, on disk before it is answered.

import console from 'node:console';
import { randomUUID } from 'node:crypto';
import Database from 'better-sqlite3';
import { fastify } from 'fastify';

const [, , file = ''] = process.argv;
const database = new Database(file);
database.pragma('journal_mode = WAL');
database.pragma('synchronous = FULL');
database.exec('CREATE TABLE load (id TEXT PRIMARY KEY, device TEXT NOT NULL, body TEXT NOT NULL, at INTEGER NOT NULL)');
const insert = database.prepare<[string, string, string, number]>('INSERT INTO load VALUES (?, ?, ?, ?)');

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
  insert.run(id, device, JSON.stringify(request.body), Date.now());
  return reply.status(202).send({ batch: id, loads: [{ id, device, version }] });
});
console.log(await app.listen({ port: 0, host: '127.0.0.1' }));
process.once('SIGTERM', async () => {
  await app.close();
  database.close();
});
