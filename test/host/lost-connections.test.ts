// A network that silently drops the pooled connections of a host: requests time out early, so that new connections replace them one after another.

import { once } from 'node:events';
import { createServer } from 'node:http';
import type { Socket } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import { AdaptiveTimeout } from '../../src/host/adaptive-timeout.ts';
import { ControlConnection } from '../../src/host/control-connection.ts';

const pooled = 4;

/** A service that responds to downloads when `pooled` of them are waiting, so that each has a connection. */
async function startService() {
  const lost = new Set<Socket>();
  const sockets = new Set<Socket>();
  const downloads: (() => void)[] = [];
  const server = createServer((request, response) => {
    sockets.add(request.socket);
    if (lost.has(request.socket)) return;
    if (request.method === 'POST') return void response.writeHead(204).end();
    downloads.push(() => response.writeHead(200).end('bytes'));
    if (downloads.length === pooled) for (const respond of downloads.splice(0)) respond();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the server has no port');
  const lose = () => {
    for (const socket of sockets) lost.add(socket);
  };
  return { url: `http://127.0.0.1:${address.port}`, sockets, lose };
}

test('a lost connection costs one short timeout, which doubles until a new connection responds', async () => {
  const { url, sockets, lose } = await startService();
  const connection = new ControlConnection(url, 'token', new AbortController().signal, { timeouts: { min: 50, max: 60_000 } });
  await Promise.all(Array.from({ length: pooled }, () => connection.image('sha256:0')));
  expect(sockets.size).toBe(pooled);
  // The client returns the connections to its pool.
  await setImmediate();
  await setImmediate();
  lose();
  const failures: string[] = [];
  for (let isDelivered = false; !isDelivered; )
    isDelivered = await connection.report('host', 'boot', '[]').then(
      () => true,
      (error: unknown) => {
        failures.push(String(error));
        return false;
      },
    );
  // The client decides how many of the lost connections it tries before it opens another.
  expect(failures.length).toBeGreaterThan(0);
  expect(failures).toEqual(failures.map((_, index) => `TimeoutError: no response in ${(50 * 2 ** index) / 1_000} s`));
  expect(sockets.size).toBeGreaterThan(pooled);
});

test('a timeout stays within its bounds, and admits a service that is slow all the time', () => {
  const bounds = { min: 5_000, max: 30_000 };
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 29_000 })), fc.integer({ min: 0, max: 29_000 }), (earlier, duration) => {
      const timeout = new AdaptiveTimeout(bounds);
      const request = (needed: number) => {
        const isInTime = needed < timeout.milliseconds;
        if (isInTime) timeout.recordResponse(needed);
        else timeout.recordTimeout();
        expect(timeout.milliseconds).toBeGreaterThanOrEqual(bounds.min);
        expect(timeout.milliseconds).toBeLessThanOrEqual(bounds.max);
        return isInTime;
      };
      for (const needed of earlier) request(needed);
      // At most three timeouts, then every request succeeds.
      const attempts = Array.from({ length: 8 }, () => request(duration));
      expect(attempts.indexOf(true)).toBeLessThanOrEqual(3);
      expect(attempts.slice(attempts.indexOf(true))).not.toContain(false);
    }),
  );
});
