// An open stream that becomes silent, as when its connection is lost without a FIN: hosts poll for orders, and readers of events get an error.

import { createServer } from 'node:http';
import { afterEach, expect, test } from 'vitest';
import { readEvents } from '../../src/client/read-events.ts';
import { ControlConnection } from '../../src/host/control-connection.ts';
import { IdleTimeoutError } from '../../src/protocol/idle-timeout.ts';

const ended: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ended.splice(0)) await end();
});

/** Starts a service whose order stream sends one comment and then nothing. Returns its URL and the requested paths. */
async function startSilentService(): Promise<{ readonly url: string; readonly paths: string[] }> {
  const paths: string[] = [];
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://service');
    paths.push(pathname);
    if (pathname.endsWith('/orders')) {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(': open\n\n');
    } else {
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ orders: [] }));
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  ended.push(
    () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  );
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the server has no port');
  return { url: `http://127.0.0.1:${address.port}`, paths };
}

test('a host polls for orders when its open stream becomes silent', async () => {
  const { url, paths } = await startSilentService();
  const stop = new AbortController();
  const reasons: string[] = [];
  const connection = new ControlConnection(url, 'token', stop.signal, { idleTimeouts: { first: 60_000, later: 20 } });
  const following = connection.receiveOrders('host', 'boot', {
    onOrder: async () => {},
    onMalformed: () => {},
    onPolling: (reason) => reasons.push(reason),
  });
  await expect.poll(() => paths, { timeout: 30_000 }).toContain('/agent/v1/hosts/host/orders/next');
  expect(reasons).toEqual(['no data arrived for 0.02 s']);
  stop.abort();
  await following.catch(() => {});
});

test('a reader of events gets an error when its open stream becomes silent', async () => {
  const silent = new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(new TextEncoder().encode('data: 1\n\n')),
  });
  const { signal } = new AbortController();
  const events = readEvents<number>(async () => silent, { signal, idleTimeouts: { first: 60_000, later: 20 } });
  expect(await events.next()).toEqual({ done: false, value: 1 });
  await expect(events.next()).rejects.toThrow(IdleTimeoutError);
});
