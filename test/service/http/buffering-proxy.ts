// Buffering proxies: one implemented here, and nginx if it is installed.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from '../test-service.ts';

export type HttpProxy = { readonly url: string; readonly close: () => Promise<void> };

/**
 * Starts an HTTP proxy that sends the body of a response once it is complete, so that a stream that never ends never arrives.
 * @param holdsHeaders Whether it also sends the headers only then.
 */
export async function startBufferingProxy(target: string, holdsHeaders: boolean): Promise<HttpProxy> {
  const server = createServer((incoming, outgoing) => forward(target, incoming, outgoing, holdsHeaders));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const close = async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  };
  return { url: `http://127.0.0.1:${portOf(server.address())}`, close };
}

function forward(target: string, incoming: IncomingMessage, outgoing: ServerResponse, holdsHeaders: boolean): void {
  const { method, headers } = incoming;
  const upstream = request(new URL(incoming.url ?? '/', target), { method, headers }, (response) => {
    outgoing.writeHead(response.statusCode ?? 502, response.headers);
    if (!holdsHeaders) outgoing.flushHeaders();
    const chunks: Buffer[] = [];
    response.on('data', (chunk: Buffer) => chunks.push(chunk));
    response.on('end', () => outgoing.end(Buffer.concat(chunks)));
    response.on('error', () => outgoing.destroy());
  });
  upstream.on('error', () => outgoing.destroy());
  outgoing.on('close', () => upstream.destroy());
  incoming.pipe(upstream);
}

export const isNginxInstalled = spawnSync('nginx', ['-v']).status === 0;

/** Starts nginx, which buffers responses by default. @param settings Additional directives of the location. */
export async function startNginx(target: string, settings = ''): Promise<HttpProxy> {
  const folder = mkdtempSync(join(tmpdir(), 'patchbay-nginx-'));
  const port = await freePort();
  const file = join(folder, 'nginx.conf');
  writeFileSync(file, configuration(folder, port, target, settings));
  const nginx = spawn('nginx', ['-p', folder, '-e', 'stderr', '-c', file], { stdio: ['ignore', 'ignore', 'pipe'] });
  const said: string[] = [];
  nginx.stderr.on('data', (data) => said.push(String(data)));
  const url = `http://127.0.0.1:${port}`;
  await until('nginx responds', async () => {
    if (nginx.exitCode !== null) throw new Error(`nginx did not start: ${said.join('')}`);
    return fetch(`${url}/health/live`).then(
      ({ ok }) => ok,
      () => false,
    );
  });
  return { url, close: () => stop(nginx, folder) };
}

async function stop(nginx: ChildProcess, folder: string): Promise<void> {
  const exited = once(nginx, 'exit');
  nginx.kill('SIGTERM');
  await exited;
  rmSync(folder, { recursive: true, force: true });
}

/** All files are in the folder. The workers run as the user who starts nginx and can read the folder. */
function configuration(folder: string, port: number, target: string, settings: string): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${join(folder, name)};`);
  return `
    daemon off;
    ${process.getuid?.() === 0 ? 'user root;' : ''}
    worker_processes 1;
    pid ${join(folder, 'nginx.pid')};
    events {}
    http {
      access_log off;
      ${temporary.join('\n      ')}
      server {
        listen 127.0.0.1:${port};
        location / {
          proxy_pass ${target};
          # The default of most versions, in which responses without a length are held back until a buffer is full.
          proxy_http_version 1.0;
          proxy_set_header Host $http_host;
          ${settings}
        }
      }
    }`;
}

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const port = portOf(server.address());
  server.close();
  await once(server, 'close');
  return port;
}

function portOf(address: ReturnType<ReturnType<typeof createServer>['address']>): number {
  if (address === null || typeof address === 'string') throw new Error('not listening on a port');
  return address.port;
}
