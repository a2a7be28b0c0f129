// Limits: rates, overload, timeouts and sizes; and security headers.

import { once } from 'node:events';
import { connect } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Agent } from '../agents/agent.ts';
import { bearer, TestService, until, workModule } from '../test-service.ts';

let service: TestService;
beforeEach(() => {
  service = new TestService();
});
afterEach(() => service.close());

const limitTo = (limits: Partial<TestService['limits']>) => {
  service.limits = { ...service.limits, ...limits };
  return service.start();
};

test('limits the requests of a key per minute, and does not affect other keys', async () => {
  await limitTo({ requestsPerMinute: 20 });
  const { body } = await service.post('/v1/keys', { name: 'busy', role: 'viewer' });
  const ask = () => service.get('/v1/devices', bearer(String(body.secret)));
  for (let count = 1; count <= 20; count += 1) {
    const response = await ask();
    expect(response.status).toBe(200);
    expect(response.headers.get('ratelimit-remaining')).toBe(String(20 - count));
  }
  const refused = await ask();
  expect(refused).toMatchObject({
    status: 429,
    body: { type: 'urn:patchbay:problem:too-many-requests', detail: expect.stringContaining('20 requests per minute') },
  });
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
  expect(Number(refused.headers.get('retry-after'))).toBeLessThanOrEqual(60);
  expect((await service.get('/v1/devices')).status).toBe(200);
});

test('limits rejected requests per address, and does not affect requests with keys', async () => {
  await limitTo({ unauthenticatedPerMinute: 30 });
  const guess = (index: number) => service.get('/v1/devices', bearer(`patchbay_${String(index).padStart(32, '0')}_${'x'.repeat(43)}`));
  for (let index = 0; index < 30; index += 1) expect((await guess(index)).status).toBe(401);
  expect(await guess(31)).toMatchObject({ status: 429, body: { type: 'urn:patchbay:problem:too-many-requests' } });
  expect((await service.get('/v1/devices')).status).toBe(200);
});

const guessFrom = (forwardedFor: string, index = 0) =>
  service.get('/v1/devices', {
    ...bearer(`patchbay_${String(index).padStart(32, '0')}_${'x'.repeat(43)}`),
    'x-forwarded-for': forwardedFor,
  });
const statuses = async (paths: readonly string[]) => Promise.all(paths.map(async (path) => (await fetch(`${service.url}${path}`)).status));

test('rejected requests do not block health checks and pages', async () => {
  await limitTo({ unauthenticatedPerMinute: 5 });
  for (let index = 0; index < 10; index += 1) await guessFrom('', index);
  for (const path of ['/v1/nothing', '/nothing']) expect((await service.get(path, { authorization: '' })).status).toBe(429);
  const asset = /src="(\/assets\/[^"]+)"/.exec(await (await fetch(`${service.url}/`)).text())?.[1] ?? '';
  expect(await statuses(['/', asset, '/documentation/json'])).toEqual([200, 200, 200]);
  expect(await statuses(['/', '/'])).toEqual([200, 429]);
  for (let count = 0; count < 20; count += 1) expect(await statuses(['/health/live', '/health/ready'])).toEqual([200, 200]);
});

test('clients of a trusted proxy are counted separately, by the address that the proxy forwards', async () => {
  service.trustedProxies = ['10.0.0.0/8', '127.0.0.1'];
  await limitTo({ unauthenticatedPerMinute: 5 });
  for (let index = 0; index < 5; index += 1) expect((await guessFrom(`203.0.113.${index}, 198.51.100.7`, index)).status).toBe(401);
  // The address that the client claims precedes the one that the proxy adds. Another trusted proxy in the chain is not a client.
  for (const address of ['198.51.100.7', '203.0.113.9, 198.51.100.7', '198.51.100.7, 10.1.2.3'])
    expect((await guessFrom(address)).status).toBe(429);
  for (const address of ['198.51.100.8', '2001:db8::1', '198.51.100.7, 198.51.100.9']) expect((await guessFrom(address)).status).toBe(401);
});

test.each([
  ['203.0.113.11', '203.0.113.12'],
  ['[2001:db8:1::1]', '[2001:db8:2::1]'],
])('a client whose port is forwarded, as in %s:1000, is counted by its address', async (client, another) => {
  service.trustedProxies = ['127.0.0.1'];
  await limitTo({ unauthenticatedPerMinute: 5 });
  for (let index = 0; index < 5; index += 1) expect((await guessFrom(`${client}:${1000 + index}`, index)).status).toBe(401);
  for (const same of [`${client}:443`, client, client.replaceAll(/[[\]]/g, '')]) expect((await guessFrom(same)).status).toBe(429);
  expect((await guessFrom(`${another}:1000`)).status).toBe(401);
});

test.each([
  ['203.0.113.11:5678, 10.1.2.3:443', '203.0.113.12:5678, 10.1.2.3:443'],
  [
    '203.0.113.99, [2001:db8:1::1]:443, [2001:db8:ffff::7]:1, 10.1.2.3:9',
    '203.0.113.99, [2001:db8:2::1]:443, [2001:db8:ffff::7]:1, 10.1.2.3:9',
  ],
  ['203.0.113.11, [::ffff:10.1.2.3]:5678', '203.0.113.12, [::ffff:10.1.2.3]:5678'],
])('behind a chain of trusted proxies that forward ports, as in %s, clients are counted separately', async (client, another) => {
  service.trustedProxies = ['10.0.0.0/8', '2001:db8:ffff::/48', '127.0.0.1'];
  await limitTo({ unauthenticatedPerMinute: 5 });
  for (let index = 0; index < 5; index += 1) expect((await guessFrom(client, index)).status).toBe(401);
  expect((await guessFrom(client)).status).toBe(429);
  expect((await guessFrom(another)).status).toBe(401);
});

test.each(['unknown', '_hidden', '203.0.113.1:99999x', '[2001:db8::1', '203.0.113.1:', '999.1.1.1:80', '10.1.2.3/8', 'fe80::1%eth0'])(
  'a forwarded value that is not an address, such as "%s", ends the chain: the request counts for the proxy',
  async (invalid) => {
    service.trustedProxies = ['10.0.0.0/8', '127.0.0.1'];
    await limitTo({ unauthenticatedPerMinute: 5 });
    for (let index = 0; index < 5; index += 1)
      expect((await guessFrom(`203.0.113.${index}, ${invalid}, 10.1.2.3:80`, index)).status).toBe(401);
    expect((await guessFrom(`203.0.113.77, ${invalid}, 10.1.2.3:80`)).status).toBe(429);
    expect((await guessFrom('203.0.113.77')).status).toBe(401);
  },
);

test('an address forwarded by an untrusted proxy, or a malformed one, counts for the proxy', async () => {
  service.trustedProxies = ['192.0.2.1'];
  await limitTo({ unauthenticatedPerMinute: 5 });
  for (let index = 0; index < 5; index += 1) expect((await guessFrom(`198.51.100.${index}`, index)).status).toBe(401);
  expect((await guessFrom('198.51.100.99')).status).toBe(429);
  await service.stop();
  service.trustedProxies = ['127.0.0.1'];
  await service.start();
  for (let index = 0; index < 5; index += 1) expect((await guessFrom(`unknown-${index}`, index)).status).toBe(401);
  expect((await guessFrom('unknown-99')).status).toBe(429);
});

test('an overloaded service responds with 503, except to health checks and hosts', async () => {
  await limitTo({ eventLoopDelay: 50 });
  const agent = new Agent(service);
  await agent.register('played', []);
  const block = () => {
    const end = performance.now() + 400;
    while (performance.now() < end);
  };
  const refused = await until('the service is overloaded', async () => {
    block();
    const response = await service.get('/v1/devices');
    return response.status === 503 && response;
  });
  expect(refused.body).toMatchObject({ type: 'urn:patchbay:problem:overloaded', detail: expect.stringContaining('Retry-After') });
  expect(refused.headers.get('retry-after')).toBe('2');
  const exempt = await until('the service is overloaded again', async () => {
    block();
    const [live, heartbeat, devices] = await Promise.all([service.get('/health/live'), agent.heartbeat(), service.get('/v1/devices')]);
    return devices.status === 503 && [live.status, heartbeat.status];
  });
  expect(exempt).toEqual([200, 204]);
  await until('it has recovered', async () => (await service.get('/v1/devices')).status === 200);
});

/** A connection to the service. `closed` resolves with all received data when the service closes it. */
function open() {
  const { port } = new URL(service.url);
  const chunks: string[] = [];
  const socket = connect(Number(port), '127.0.0.1');
  socket.setEncoding('utf8').on('data', (chunk) => chunks.push(String(chunk)));
  const closed = new Promise<string>((resolve, reject) => {
    socket.on('close', () => resolve(chunks.join('')));
    socket.on('error', reject);
  });
  const opened = once(socket, 'connect');
  return { send: (text: string) => void socket.write(text), received: () => chunks.join(''), opened, closed, end: () => socket.destroy() };
}

/** Returns the response to a connection that sends only this text. */
function responseTo(text: string): Promise<string> {
  const socket = open();
  if (text !== '') socket.send(text);
  return socket.closed;
}

test('an incomplete request gets 408', async () => {
  await limitTo({ requestTimeout: 400 });
  expect(await responseTo('GET /v1/devices HTTP/1.1\r\nHost: x\r\n')).toMatch(/^HTTP\/1\.1 408 .*application\/problem\+json/s);
  const begun = 'POST /v1/devices HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{';
  expect(await responseTo(begun)).toMatch(/^HTTP\/1\.1 (401|408) /);
});

test('a request that arrived while the event loop was blocked gets a response', async () => {
  const connected = Promise.withResolvers<void>();
  service.prepare = (app) => void app.server.once('connection', () => connected.resolve());
  await limitTo({ requestTimeout: 400 });
  const socket = open();
  await Promise.all([connected.promise, socket.opened]);
  socket.send('GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
  const end = performance.now() + 600;
  while (performance.now() < end);
  expect(await socket.closed).toMatch(/^HTTP\/1\.1 200 /);
});

test('an idle connection is closed without a response, which the client would take for that of its next request', async () => {
  await limitTo({ requestTimeout: 400 });
  expect(await responseTo('')).toBe('');
  const socket = open();
  socket.send('GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n');
  await until('the response has arrived', async () => socket.received().includes('200 OK'));
  socket.send('GET /health');
  expect(await socket.closed).toMatch(/^HTTP\/1\.1 200 .*HTTP\/1\.1 408 /s);
});

const eventsRequest = () => `GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${service.key}\r\n\r\n`;

test('an open event stream is not ended by another request on its connection', async () => {
  await limitTo({ requestTimeout: 400 });
  const socket = open();
  socket.send(eventsRequest());
  await until('the stream is open', async () => socket.received().includes('\n: \n'));
  socket.send('GET /v1/devices HTTP/1.1\r\n');
  // Two connections that were opened later were closed.
  for (let count = 0; count < 2; count += 1) expect(await responseTo('GET /v1/devices HTTP/1.1\r\n')).toMatch(/^HTTP\/1\.1 408 /);
  await service.push('tcp', '1.0.0', workModule(1));
  await until('an event arrives', async () => socket.received().includes('event: build.created'));
  expect(socket.received()).not.toContain('HTTP/1.1 408');
  socket.end();
});

test('a malformed request closes the connection of an event stream without writing into the stream', async () => {
  await limitTo({});
  const socket = open();
  socket.send(eventsRequest());
  await until('the stream is open', async () => socket.received().includes('\n: \n'));
  socket.send('no request\r\n\r\n');
  expect(await socket.closed).toMatch(/^HTTP\/1\.1 200 (?!.*HTTP\/1\.1 400)/s);
});

test('headers above the limit get 431', async () => {
  await service.start();
  const header = `X-Long: ${'x'.repeat(17 * 1024)}\r\n`;
  expect(await responseTo(`GET /v1/devices HTTP/1.1\r\nHost: x\r\n${header}\r\n`)).toMatch(/^HTTP\/1\.1 431 .*application\/problem\+json/s);
});

test('security headers mark responses as data, and the documentation page can load its own files only', async () => {
  await service.start();
  const { headers } = await service.get('/v1/devices');
  expect(headers.get('content-security-policy')).toBe("default-src 'none';frame-ancestors 'none'");
  expect(headers.get('x-content-type-options')).toBe('nosniff');
  const page = await service.get('/documentation/');
  expect(page.headers.get('content-security-policy')).toMatch(/^default-src 'self';.*object-src 'none'/);
});
