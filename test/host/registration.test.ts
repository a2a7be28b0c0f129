// A host whose registration fails: it stops if the failure is permanent, and retries otherwise.

import { createServer, type ServerResponse } from 'node:http';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { RegistrationRejectedError, runHost } from '../../src/host/host.ts';
import { newIdentifier } from '../../src/protocol/identifiers.ts';
import { until } from '../machine/test-machine.ts';

/** The responses to the registrations, in order; the last one is repeated. */
let responses: ((response: ServerResponse) => void)[];
let registrations: number;
let streams: ServerResponse[];
let stop: AbortController;
const server = createServer((request, response) => {
  request.resume();
  // On a slow machine, a host takes a stream for a buffered one and polls: a poll that fails lets it register again.
  if (request.url?.includes('/orders/next?')) return void response.writeHead(502).end();
  if (request.url !== '/agent/v1/hosts') {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': \n\n');
    streams.push(response);
    return;
  }
  const respond = responses[Math.min(registrations, responses.length - 1)];
  registrations += 1;
  respond?.(response);
});
beforeEach(async () => {
  registrations = 0;
  streams = [];
  stop = new AbortController();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterEach(async () => {
  stop.abort();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

const problem =
  (status: number, detail: string, type = 'x') =>
  (response: ServerResponse) => {
    response
      .writeHead(status, { 'content-type': 'application/problem+json' })
      .end(JSON.stringify({ type: `urn:patchbay:problem:${type}`, detail }));
  };
const page = (status: number) => (response: ServerResponse) => {
  response.writeHead(status, { 'content-type': 'text/html' }).end('<h1>a proxy</h1>');
};
const json = (status: number, body: object) => (response: ServerResponse) => {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
};
const registered = json(201, {
  host: newIdentifier('host'),
  name: 'host',
  devices: 0,
  token: 'agt_test',
  heartbeatSeconds: 60,
  signingKeys: [],
});

function run(logger = pino({ enabled: false })): Promise<void> {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('not listening');
  return runHost({
    controlUrl: `http://127.0.0.1:${address.port}`,
    joinToken: 'join-token-of-this-test',
    name: 'rack-1',
    devices: [],
    capacity: 1,
    trustedKeys: null,
    signal: stop.signal,
    logger,
  });
}

test.each([
  ['a wrong join token or a revoked key', 401],
  ['a key for another host', 403],
  ['a path that the service does not have', 404],
  ['a device name that is taken, or too many devices', 409],
  ['a registration that is too large', 413],
  ['a configuration that is invalid', 422],
])('stops if the service rejects the registration permanently: %s', async (_what, status) => {
  responses = [problem(503, 'overloaded'), problem(status, 'this is what to change')];
  const ended = run();
  await expect(ended).rejects.toThrow(RegistrationRejectedError);
  await expect(ended).rejects.toThrow(/rack-1 \(4\d\d\): this is what to change/);
  expect(registrations).toBe(2);
});

test('ends its work once it is decommissioned, but not by itself: a supervisor would start it again', async () => {
  responses = [registered, problem(409, 'it was decommissioned', 'decommissioned')];
  const messages: unknown[] = [];
  const ended = run(pino({ level: 'fatal' }, { write: (line) => messages.push(JSON.parse(line)) }));
  await until(() => streams.length > 0, 'the host has an order stream');
  for (const stream of streams) stream.end();
  await until(() => messages.length > 0, 'the host has logged why it ends');
  expect(messages).toMatchObject([{ reason: expect.stringContaining('it was decommissioned') }]);
  const first = await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 100, 'still running'))]);
  expect([first, registrations]).toEqual(['still running', 2]);
  stop.abort();
  await ended;
});

test('stops if the service has another protocol version', async () => {
  responses = [json(201, { host: 7 })];
  await expect(run()).rejects.toThrow(/run the host and the service in the same version/);
});

test('retries while the service is busy or unreachable, or a proxy responds instead', async () => {
  const away = (response: ServerResponse) => response.destroy();
  responses = [problem(429, 'busy'), problem(503, 'overloaded'), problem(500, 'failed'), page(401), page(404), page(502), away, registered];
  const ended = run();
  await until(() => streams.length > 0, 'the host has an order stream');
  expect(registrations).toBe(responses.length);
  stop.abort();
  await ended;
});

test('waits at least for Retry-After, and briefly if the header is invalid', async () => {
  const times: number[] = [];
  const busy = (status: number, retryAfter: string) => (response: ServerResponse) => {
    times.push(performance.now());
    response.writeHead(status, { 'retry-after': retryAfter }).end();
  };
  responses = [
    busy(503, '1'),
    busy(429, '1'),
    // The header is ignored with another status, and this value is not a time.
    busy(500, '86400'),
    busy(503, 'soon'),
    (response) => {
      times.push(performance.now());
      registered(response);
    },
  ];
  const ended = run();
  await until(() => streams.length > 0, 'the host has an order stream');
  expect(times).toHaveLength(5);
  // Timers count whole milliseconds; the wait has no upper bound.
  for (const index of [1, 2]) expect((times[index] ?? 0) - (times[index - 1] ?? 0)).toBeGreaterThanOrEqual(998);
  stop.abort();
  await ended;
});

test('keeps its devices running when a later registration is rejected', async () => {
  responses = [registered, problem(401, 'the key was revoked'), problem(401, 'the key was revoked'), registered];
  const ended = run();
  await until(() => streams.length > 0, 'the host has an order stream');
  streams[0]?.destroy();
  await until(() => streams.length > 1, 'the host has registered again');
  expect(registrations).toBe(4);
  stop.abort();
  await ended;
});
