// What goes wrong between a command and its service: it is repeated where that may help, and otherwise said with what to do.

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

/** Something that answers as it is told; answers its address. */
async function listen(answer: RequestListener): Promise<string> {
  const listening = createServer(answer);
  server = listening;
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve));
  const address = listening.address();
  return `http://127.0.0.1:${isInternet(address) ? address.port : 0}`;
}

const isInternet = (address: ReturnType<Server['address']>): address is AddressInfo => typeof address === 'object' && address !== null;

const problem = (status: number, title: string, detail: string) =>
  JSON.stringify({ type: 'urn:patchbay:problem:any', title, status, detail, instance: 'req_1' });

function answering(status: number, title: string, detail: string): RequestListener {
  return (_request, response) =>
    response.writeHead(status, { 'content-type': 'application/problem+json' }).end(problem(status, title, detail));
}

const never = new AbortController().signal;
const keyOf = ({ headers }: IncomingMessage) => headers['idempotency-key'];

test('a POST is repeated with one key until it is answered: after lost connections, and where the service is busy or away', async () => {
  const keys: unknown[] = [];
  const url = await listen((request, response) => {
    keys.push(keyOf(request));
    if (keys.length === 1) request.socket.destroy();
    else if (keys.length === 2) response.writeHead(429, { 'retry-after': '0' }).end();
    else if (keys.length === 3) response.writeHead(503, { 'retry-after': new Date().toUTCString() }).end();
    else request.pipe(response.writeHead(201));
  });
  const request = new Request(url, { method: 'POST', body: 'what is to be done' });
  const response = await fetchWithRetries(request, never);
  expect([response.status, await response.text()]).toEqual([201, 'what is to be done']);
  expect(keys).toHaveLength(4);
  expect(new Set(keys)).toEqual(new Set([expect.stringMatching(/^[0-9a-f-]{36}$/)]));
  await fetchWithRetries(new Request(url, { method: 'POST', body: 'another' }), never);
  expect(keys[4]).not.toBe(keys[0]);
});

test('a request is repeated a bounded number of times, and not at all where it was answered or stopped', async () => {
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

test('events are followed over streams that break off and a service that is busy, but not begun where there is none', async () => {
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
  const begun = Array.fromAsync(streamEvents(client, { after: 7, signal: never }));
  await expect(begun).rejects.toThrow('/v1/events answered 503');
  requests = 0;
  const connections: Connection[] = [];
  const numbers: number[] = [];
  const following = { after: 7, signal: never, wasThere: true, onConnection: (now: Connection) => connections.push(now) };
  for await (const { number } of streamEvents(client, following)) {
    numbers.push(number);
    if (numbers.length === 3) break;
  }
  expect(numbers).toEqual([8, 9, 10]);
  expect(connections).toEqual(['away', 'streaming', 'away', 'streaming', 'away', 'streaming']);
});

test('that no service is there is told with how to start it', async () => {
  const url = await listen(() => {});
  server?.close();
  expect(await runPatchbay(folder, ['health', '--service', url])).toEqual({
    code: 1,
    stdout: '',
    stderr: `no service is reachable at ${url} (ECONNREFUSED)\nhint: start it there with "patchbay serve", or name another with --service or PATCHBAY_SERVICE\n`,
  });
});

test('that a key is missing, unknown, or of another role is told with what to do', async () => {
  const url = await listen(answering(401, 'The token is missing or unknown', 'show a key'));
  const env = { PATCHBAY_SERVICE: url };
  const missing = await runPatchbay(folder, ['health'], env);
  expect(missing).toMatchObject({ code: 1, stdout: '' });
  expect(missing.stderr).toBe(
    'The token is missing or unknown: show a key\n  request req_1\nhint: give a key with --key-file, PATCHBAY_KEY_FILE or PATCHBAY_KEY; the service keeps the one that its first start makes in data/admin-key, where it runs; if it is lost, "patchbay serve --new-admin-key" makes another\n',
  );
  const unknown = await runPatchbay(folder, ['health', '--key', 'of-nobody'], env);
  expect(unknown.stderr).toContain('hint: the service does not know the key of --key, or it is revoked');
  expect(unknown.stderr).not.toContain('of-nobody');
  server?.close();
  const forbidding = await listen(answering(403, 'The token does not allow it', 'this needs the role operator'));
  const forbidden = await runPatchbay(folder, ['health', '--service', forbidding, '--key', 'of-a-viewer']);
  // The service says itself what to do: which role it needs, or which page to use.
  expect(forbidden.stderr).toBe('The token does not allow it: this needs the role operator\n  request req_1\n');
});

test('the answer of something else is told', async () => {
  const url = await listen((_request, response) => response.writeHead(502, { 'content-type': 'text/html' }).end('<h1>Bad Gateway</h1>'));
  const said = await runPatchbay(folder, ['health', '--service', url]);
  expect(said).toMatchObject({
    code: 1,
    stdout: '',
    stderr: expect.stringContaining(`${url} does not answer as a Patchbay service does: /v1/health answered 502`),
  });
});

test('the key that is shown is of the flags, the environment, the file, or where a service keeps it', async () => {
  const shown: (string | undefined)[] = [];
  const url = await listen((request, response) => {
    shown.push(request.headers.authorization);
    answering(404, 'There is none', 'none')(request, response);
  });
  mkdirSync(join(folder, 'data'));
  mkdirSync(join(folder, '.config', 'patchbay'), { recursive: true });
  writeFileSync(join(folder, 'data', 'admin-key'), 'kept-by-the-service\n');
  await runPatchbay(folder, ['health', '--service', url]);
  writeFileSync(join(folder, '.config', 'patchbay', 'config.json'), JSON.stringify({ service: url, key: 'of-the-file' }));
  await runPatchbay(folder, ['health']);
  await runPatchbay(folder, ['health'], { PATCHBAY_KEY: 'of-the-environment' });
  writeFileSync(join(folder, 'key'), 'of-the-flags\n');
  await runPatchbay(folder, ['--key-file', 'key', 'health'], { PATCHBAY_KEY: 'of-the-environment' });
  expect(shown).toEqual(['Bearer kept-by-the-service', 'Bearer of-the-file', 'Bearer of-the-environment', 'Bearer of-the-flags']);
});
