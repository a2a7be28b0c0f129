// Cross-origin requests cannot change anything, with and without API keys.

import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { z } from 'zod';
import type { KeyPolicy } from '../../../src/service/http/access.ts';
import { itemsOf, TestService } from '../test-service.ts';

let service: TestService;
beforeEach(() => {
  service = new TestService();
});
afterEach(() => service.close());

const start = (keys: KeyPolicy) => {
  service.keys = keys;
  return service.start();
};

/** The headers of a browser for a cross-site request. */
const otherSites: readonly Record<string, string>[] = [
  { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' },
  { origin: 'http://127.0.0.1:1', 'sec-fetch-site': 'same-site' },
  { 'sec-fetch-site': 'cross-site' },
  { origin: 'https://evil.example' },
  { origin: 'http://127.0.0.1:1' },
  { origin: 'null' },
];

const Document = z.object({ paths: z.record(z.string(), z.record(z.string(), z.unknown())) });

/** Every operation that changes something, with a path that the router accepts. */
async function changingOperations(): Promise<{ method: string; path: string }[]> {
  const { paths } = Document.parse((await service.get('/documentation/json')).body);
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods)
      .filter((method) => method !== 'get')
      .map((method) => ({ method: method.toUpperCase(), path: path.replaceAll(/\{\w+\}/g, 'x') })),
  );
}

test.each(['required', 'off'] as const)('no operation is executed for a page of another site (keys: %s)', async (keys) => {
  await start(keys);
  const before = itemsOf(await service.get('/v1/audit'));
  const operations = await changingOperations();
  expect(operations.length).toBeGreaterThan(25);
  for (const { method, path } of operations)
    for (const headers of otherSites) {
      const response = await service.request(method, path, undefined, headers);
      expect(response, `${method} ${path} ${JSON.stringify(headers)}`).toMatchObject({
        status: 403,
        body: { type: 'urn:patchbay:problem:cross-origin' },
      });
    }
  expect(itemsOf(await service.get('/v1/audit'))).toEqual(before);
});

test('without keys, the dashboard and non-browser clients can rotate the signing key, and other sites cannot', async () => {
  await start('off');
  const rotate = (headers: Record<string, string>) => service.request('POST', '/v1/signing-keys', undefined, headers);
  const count = async () => itemsOf(await service.get('/v1/signing-keys')).length;
  expect(await count()).toBe(1);
  for (const headers of otherSites) expect((await rotate(headers)).status).toBe(403);
  expect(await count()).toBe(1);
  const own = [{}, { origin: service.url }, { origin: service.url, 'sec-fetch-site': 'same-origin' }, { 'sec-fetch-site': 'none' }];
  for (const headers of own) expect((await rotate(headers)).status).toBe(201);
  expect(await count()).toBe(1 + own.length);
});

test('behind a proxy that terminates TLS or changes Host, the dashboard can make changes', async () => {
  service.trustedProxies = ['127.0.0.1'];
  await start('required');
  const make = (name: string, headers: Record<string, string>) => service.post('/v1/keys', { name, role: 'viewer' }, headers);
  const { host } = new URL(service.url);
  // Over TLS, the browser sends Sec-Fetch-Site; otherwise the forwarded host decides.
  expect((await make('one', { origin: 'https://patchbay.example', 'sec-fetch-site': 'same-origin' })).status).toBe(201);
  expect((await make('two', { origin: `https://${host}` })).status).toBe(201);
  expect((await make('three', { origin: 'http://patchbay.example', 'x-forwarded-host': 'patchbay.example' })).status).toBe(201);
  expect((await make('four', { origin: 'http://evil.example', 'x-forwarded-host': 'patchbay.example' })).status).toBe(403);
});

test('without keys, another site can neither start an expensive operation nor reach the service by DNS rebinding', async () => {
  service.trustedProxies = ['127.0.0.1'];
  await start('off');
  const ask = (headers: Record<string, string>) => statusOf('/v1/audit/export', headers);
  expect(await ask({ 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' })).toBe(403);
  expect(await ask({ 'sec-fetch-site': 'same-site', 'sec-fetch-mode': 'cors' })).toBe(403);
  expect(await ask({ 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'cors' })).toBe(200);
  expect(await ask({ 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' })).toBe(200);
  expect(await ask({ host: 'evil.example' })).toBe(403);
  // The page can set this header: for the browser it has the same origin as the service.
  expect(await ask({ host: 'evil.example', 'x-forwarded-host': 'localhost' })).toBe(403);
});

/** Returns the status of a GET with exactly these headers; fetch adds some. */
async function statusOf(path: string, headers: Record<string, string>): Promise<number | undefined> {
  const asked = request(new URL(path, service.url), { headers }).end();
  const response = await new Promise<IncomingMessage>((resolve, reject) => asked.on('response', resolve).on('error', reject));
  response.resume();
  await once(response, 'end');
  return response.statusCode;
}
