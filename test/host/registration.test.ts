// What a host does when the service does not register it: it ends where that would never change, and waits otherwise.

import { createServer, type ServerResponse } from 'node:http';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { RegistrationRejectedError, runHost } from '../../src/host/host.ts';
import { newIdentifier } from '../../src/protocol/identifiers.ts';
import { until } from '../machine/test-machine.ts';

/** What the service answers to each registration in turn; the last again and again. */
let answers: ((response: ServerResponse) => void)[];
let registrations: number;
let streams: ServerResponse[];
let stop: AbortController;
const server = createServer((request, response) => {
  request.resume();
  if (request.url !== '/agent/v1/hosts') {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': \n\n');
    streams.push(response);
    return;
  }
  const answer = answers[Math.min(registrations, answers.length - 1)];
  registrations += 1;
  answer?.(response);
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

const problem = (status: number, detail: string) => (response: ServerResponse) => {
  response
    .writeHead(status, { 'content-type': 'application/problem+json' })
    .end(JSON.stringify({ type: 'urn:patchbay:problem:x', detail }));
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

function run(): Promise<void> {
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
    logger: pino({ enabled: false }),
  });
}

test.each([
  ['a wrong join token or a revoked key', 401],
  ['a key for another host', 403],
  ['a path that the service does not have', 404],
  ['a device name that is taken, or too many devices', 409],
  ['a registration that is too large', 413],
  ['a configuration that is invalid', 422],
])('ends when the service refuses it for good: %s', async (_what, status) => {
  answers = [problem(503, 'overloaded'), problem(status, 'this is what to change')];
  const ended = run();
  await expect(ended).rejects.toThrow(RegistrationRejectedError);
  await expect(ended).rejects.toThrow(/rack-1 \(4\d\d\): this is what to change/);
  expect(registrations).toBe(2);
});

test('ends when the service speaks another version of the protocol', async () => {
  answers = [json(201, { host: 7 })];
  await expect(run()).rejects.toThrow(/use a host of the version of the service/);
});

test('waits while the service is busy or away, or something else answers in its place', async () => {
  const away = (response: ServerResponse) => response.destroy();
  answers = [problem(429, 'busy'), problem(503, 'overloaded'), problem(500, 'failed'), page(401), page(404), page(502), away, registered];
  const ended = run();
  await until(() => streams.length > 0, 'the host follows its orders');
  expect(registrations).toBe(answers.length);
  stop.abort();
  await ended;
});

test('comes back no sooner than a busy service asks, and soon where the header says nothing', async () => {
  const times: number[] = [];
  const busy = (status: number, retryAfter: string) => (response: ServerResponse) => {
    times.push(performance.now());
    response.writeHead(status, { 'retry-after': retryAfter }).end();
  };
  answers = [
    busy(503, '1'),
    busy(429, '1'),
    // Of another status it is not for the host, and this is no time.
    busy(500, '86400'),
    busy(503, 'soon'),
    (response) => {
      times.push(performance.now());
      registered(response);
    },
  ];
  const ended = run();
  await until(() => streams.length > 0, 'the host follows its orders');
  expect(times).toHaveLength(5);
  // Timers count whole milliseconds. Nothing is said of how much later it comes.
  for (const index of [1, 2]) expect((times[index] ?? 0) - (times[index - 1] ?? 0)).toBeGreaterThanOrEqual(998);
  stop.abort();
  await ended;
});

test('keeps its devices running when the service refuses it after it has registered', async () => {
  answers = [registered, problem(401, 'the key was revoked'), problem(401, 'the key was revoked'), registered];
  const ended = run();
  await until(() => streams.length > 0, 'the host follows its orders');
  streams[0]?.destroy();
  await until(() => streams.length > 1, 'the host has registered again');
  expect(registrations).toBe(4);
  stop.abort();
  await ended;
});
