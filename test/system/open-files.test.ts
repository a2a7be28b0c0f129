// A service with a low limit of open files, whose clients use all of them: it continues, and compiles new sources.

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { until } from '../service/test-service.ts';

const command = fileURLToPath(new URL('../../bin/patchbay.js', import.meta.url));

let folder: string;
let service: ChildProcess | null;
let sockets: Socket[];
/** Keeps one connection open. */
let agent: Agent;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'patchbay-open-files-'));
  service = null;
  sockets = [];
  agent = new Agent({ keepAlive: true, maxSockets: 1 });
});
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  agent.destroy();
  const ended = service?.exitCode === null ? new Promise((resolve) => service?.on('close', resolve)) : null;
  service?.kill('SIGKILL');
  await ended;
  rmSync(folder, { recursive: true, force: true });
});

/** Starts the service with a limit of open files. Returns its address and what it has written. */
async function startWith(openFiles: number): Promise<{ readonly url: URL; readonly output: () => string }> {
  let output = '';
  const args = [command, 'serve', '--port', '0', '--no-embedded-host', '--database', join(folder, 'patchbay.db')];
  service = spawn('sh', ['-c', `ulimit -n ${openFiles} && exec "$@"`, 'sh', process.execPath, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  for (const stream of [service.stdout, service.stderr]) stream?.setEncoding('utf8').on('data', (text: string) => (output += text));
  const [, url = ''] = await until('the service runs', async () => /API +(http:\S+)\/v1$/m.exec(output));
  return { url: new URL(url), output: () => output };
}

function send(url: URL, method: string, path: string, body?: object): Promise<{ readonly status: number; readonly text: string }> {
  const key = readFileSync(join(folder, 'admin-key'), 'utf8').trim();
  const headers = { authorization: `Bearer ${key}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) };
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; text: string }>();
  const outgoing = request({ agent, host: url.hostname, port: url.port, method, path, headers }, (response) => {
    let text = '';
    response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
  });
  outgoing.on('error', reject);
  outgoing.end(body === undefined ? undefined : JSON.stringify(body));
  return promise;
}

test('a service with a limit of open files survives more connections than the limit, and loads no file late', async () => {
  const { url, output } = await startWith(64);
  expect((await send(url, 'GET', '/health/ready')).status).toBe(200);
  let refused = 0;
  for (let index = 0; index < 150; index += 1) {
    const socket = connect(Number(url.port), url.hostname);
    socket.on('error', () => {}).on('close', () => (refused += 1));
    sockets.push(socket);
  }
  await until('the service refuses connections', async () => refused > 0);
  const build = { language: 'assemblyscript', version: '1.0.0', source: 'export function one(): i32 { return 1; }' };
  expect(await send(url, 'POST', '/v1/modules/tcp/builds', build)).toMatchObject({ status: 201 });
  // The metrics of the process itself need a file, too.
  expect((await send(url, 'GET', '/metrics')).status).toBe(200);
  expect((await send(url, 'GET', '/health/ready')).status).toBe(200);
  expect(output()).not.toContain('EMFILE');
});
