// Failures between a command and its service: transient failures are retried, others are reported with what to do.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createPatchbayClient } from '../../src/client/client.ts';
import { type Connection, streamEvents } from '../../src/client/event-stream.ts';
import { fetchWithRetries, UnreachableError } from '../../src/client/fetch-with-retries.ts';
import { runPatchbay } from './command.ts';

let folder: string;
let server: Server | null = null;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'patchbay-failures-'));
});
afterEach(() => {
  server?.close();
  server?.closeAllConnections();
  server = null;
  rmSync(folder, { recursive: true, force: true });
});

/** Starts a server, and returns its URL. */
async function listen(listener: RequestListener): Promise<string> {
  const listening = createServer(listener);
  server = listening;
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve));
  const address = listening.address();
  return `http://127.0.0.1:${isInternet(address) ? address.port : 0}`;
}

const isInternet = (address: ReturnType<Server['address']>): address is AddressInfo => typeof address === 'object' && address !== null;

const problem = (status: number, title: string, detail: string) =>
  JSON.stringify({ type: 'urn:patchbay:problem:any', title, status, detail, instance: 'req_1' });

function respondWith(status: number, title: string, detail: string): RequestListener {
  return (_request, response) =>
    response.writeHead(status, { 'content-type': 'application/problem+json' }).end(problem(status, title, detail));
}

const never = new AbortController().signal;
const keyOf = ({ headers }: IncomingMessage) => headers['idempotency-key'];

test('a POST is retried with one key after lost connections and while the service is busy', async () => {
  const keys: unknown[] = [];
  const url = await listen((request, response) => {
    keys.push(keyOf(request));
    if (keys.length === 1) request.socket.destroy();
    else if (keys.length === 2) response.writeHead(429, { 'retry-after': '0' }).end();
    else if (keys.length === 3) response.writeHead(503, { 'retry-after': new Date().toUTCString() }).end();
    else request.pipe(response.writeHead(201));
  });
  const request = new Request(url, { method: 'POST', body: 'a load' });
  const response = await fetchWithRetries(request, never);
  expect([response.status, await response.text()]).toEqual([201, 'a load']);
  expect(keys).toHaveLength(4);
  expect(new Set(keys)).toEqual(new Set([expect.stringMatching(/^[0-9a-f-]{36}$/)]));
  await fetchWithRetries(new Request(url, { method: 'POST', body: 'another' }), never);
  expect(keys[4]).not.toBe(keys[0]);
});

test('a request is sent up to five times, and only once after other responses or an abort', async () => {
  let requests = 0;
  let status = 503;
  const url = await listen((_request, response) => {
    requests++;
    response.writeHead(status, { 'retry-after': '0' }).end();
  });
  expect((await fetchWithRetries(new Request(url), never)).status).toBe(503);
  expect(requests).toBe(5);
  status = 500;
  expect((await fetchWithRetries(new Request(url), never)).status).toBe(500);
  expect(requests).toBe(6);
  server?.close();
  await expect(fetchWithRetries(new Request(url), AbortSignal.abort())).rejects.toThrow(/abort/);
  const failure = await fetchWithRetries(new Request(url), never).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(UnreachableError);
  expect(failure).toMatchObject({ message: 'ECONNREFUSED', url });
});

test('an event stream reconnects after lost connections and while the service is busy, but fails if the first connection fails', async () => {
  let requests = 0;
  const url = await listen((request, response) => {
    requests++;
    if (requests <= 5) {
      response.writeHead(503, { 'retry-after': '0' }).end();
      return;
    }
    const after = Number(new URL(request.url ?? '', url).searchParams.get('after'));
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(`id: ${after + 1}\nevent: load.completed\ndata: ${JSON.stringify({ number: after + 1 })}\n\n`, () =>
      request.socket.destroy(),
    );
  });
  const client = createPatchbayClient(url, null, (request) => fetchWithRetries(request, never));
  const events = Array.fromAsync(streamEvents(client, { after: 7, signal: never }));
  await expect(events).rejects.toThrow('unexpected response with status 503');
  requests = 0;
  const connections: Connection[] = [];
  const numbers: number[] = [];
  const options = { after: 7, signal: never, isExpected: true, onConnection: (now: Connection) => connections.push(now) };
  for await (const { number } of streamEvents(client, options)) {
    numbers.push(number);
    if (numbers.length === 3) break;
  }
  expect(numbers).toEqual([8, 9, 10]);
  expect(connections).toEqual(['disconnected', 'streaming', 'disconnected', 'streaming', 'disconnected', 'streaming']);
});

test('an unreachable service is reported with how to start it', async () => {
  const url = await listen(() => {});
  server?.close();
  expect(await runPatchbay(folder, ['health', '--service', url])).toEqual({
    code: 1,
    stdout: '',
    stderr: `error: no service is reachable at ${url} (ECONNREFUSED)\nhint: start the service with "patchbay serve", or give the URL of another with --service or PATCHBAY_SERVICE\n`,
  });
});

test('a missing, unknown or insufficient key is reported with what to do', async () => {
  const url = await listen(respondWith(401, 'Not authenticated', 'show an API key, as `Authorization: Bearer KEY`'));
  const env = { PATCHBAY_SERVICE: url };
  const missing = await runPatchbay(folder, ['health'], env);
  const newKey =
    'hint: the first start of the service writes the administrator key to data/admin-key; "patchbay serve --new-admin-key" creates another\n';
  expect(missing).toEqual({
    code: 1,
    stdout: '',
    stderr: `error: Not authenticated: the service requires an API key\nrequest: req_1\nhint: give a key with --key-file, PATCHBAY_KEY_FILE or PATCHBAY_KEY\n${newKey}`,
  });
  const unknown = await runPatchbay(folder, ['health', '--key', 'unknown-secret'], env);
  expect(unknown.stderr).toContain(
    'hint: the service rejects the key from --key: give another with --key-file, PATCHBAY_KEY_FILE or PATCHBAY_KEY\n',
  );
  expect(unknown.stderr).not.toContain('unknown-secret');
  server?.close();
  const forbidding = await listen(respondWith(403, 'Forbidden', 'this requires the role operator'));
  const forbidden = await runPatchbay(folder, ['health', '--service', forbidding, '--key', 'of-a-viewer']);
  expect(forbidden.stderr).toBe('error: Forbidden: this requires the role operator\nrequest: req_1\n');
});

test('the response of another server is reported', async () => {
  const url = await listen((_request, response) => response.writeHead(502, { 'content-type': 'text/html' }).end('<h1>Bad Gateway</h1>'));
  expect(await runPatchbay(folder, ['health', '--service', url])).toEqual({
    code: 1,
    stdout: '',
    stderr: `error: unexpected response from ${url} (status 502)\nhint: check that --service is the URL of a Patchbay service of this version\n`,
  });
});

test('a request that the service does not know is reported without its path', async () => {
  const url = await listen((_request, response) => {
    const body = JSON.stringify({
      type: 'urn:patchbay:problem:not-found',
      title: 'Not found',
      status: 404,
      detail: 'there is no /v1/health: /documentation lists the paths',
      instance: 'req_1',
    });
    response.writeHead(404, { 'content-type': 'application/problem+json' }).end(body);
  });
  const { stderr } = await runPatchbay(folder, ['health', '--service', url]);
  expect(stderr).toMatch(`error: unexpected response from ${url} (status 404)\n`);
  expect(stderr).not.toContain('/v1');
});

test('the key comes from the flags, the environment, the configuration file or the admin-key file, in this order', async () => {
  const keys: (string | undefined)[] = [];
  const url = await listen((request, response) => {
    keys.push(request.headers.authorization);
    respondWith(404, 'Not found', 'none')(request, response);
  });
  mkdirSync(join(folder, 'data'));
  mkdirSync(join(folder, '.config', 'patchbay'), { recursive: true });
  writeFileSync(join(folder, 'data', 'admin-key'), 'of-the-service\n');
  await runPatchbay(folder, ['health', '--service', url]);
  writeFileSync(join(folder, '.config', 'patchbay', 'config.json'), JSON.stringify({ service: url, key: 'of-the-file' }));
  await runPatchbay(folder, ['health']);
  await runPatchbay(folder, ['health'], { PATCHBAY_KEY: 'of-the-environment' });
  writeFileSync(join(folder, 'key'), 'of-the-flags\n');
  await runPatchbay(folder, ['--key-file', 'key', 'health'], { PATCHBAY_KEY: 'of-the-environment' });
  expect(keys).toEqual(['Bearer of-the-service', 'Bearer of-the-file', 'Bearer of-the-environment', 'Bearer of-the-flags']);
});
