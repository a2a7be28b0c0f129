// The dashboard routes: pages and assets for browsers, problems for API clients.

import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Fastify from 'fastify';
import { validatorCompiler, type ZodTypeProvider } from 'fastify-type-provider-zod';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { addDashboard } from '../../../src/service/http/dashboard.ts';
import { pagePaths } from '../../../web/page-paths.ts';
import { TestService } from '../test-service.ts';

const service = new TestService();
beforeAll(() => service.start());
afterAll(() => service.close());

const browser = { accept: 'text/html,application/xhtml+xml,*/*;q=0.8', 'accept-encoding': 'gzip' };
const ask = (path: string, headers: Record<string, string> = browser, method = 'GET') =>
  fetch(`${service.url}${path}`, { method, headers });
const paths = pagePaths.map(({ path }) => path.replaceAll(/:\w+/g, 'dev_1'));

test.each(paths)('%s is served to browsers without a key, with a strict content security policy', async (path) => {
  const response = await ask(path);
  expect(response.status).toBe(200);
  expect(response.headers.get('content-type')).toBe('text/html; charset=utf-8');
  expect(response.headers.get('cache-control')).toBe('no-cache');
  const policy = response.headers.get('content-security-policy') ?? '';
  expect(policy).toContain("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'");
  expect(policy).not.toMatch(/unsafe|\*|https?:/);
  const page = await response.text();
  expect(page).not.toMatch(/<style|style=|<script(?![^>]* src=)|https?:/);
  const again = await ask(path, { ...browser, 'if-none-match': response.headers.get('etag') ?? '' });
  expect([again.status, await again.text()]).toEqual([304, '']);
});

test('assets of a page are compressed and cacheable forever', async () => {
  const page = await (await ask('/')).text();
  const loaded = [...page.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path = '']) => path);
  expect(loaded.map((path) => path.split('.').at(-1)).toSorted()).toEqual(['css', 'js', 'svg']);
  const script = await (await ask(loaded.find((path) => path.endsWith('.js')) ?? '')).text();
  const later = [...new Set([...script.matchAll(/\/((?:verify|shared-events)-[\w-]+\.js)/g)].map(([, name]) => `/assets/${name}`))];
  expect(later.toSorted()).toEqual([expect.stringMatching(/\/shared-events-/), expect.stringMatching(/\/verify-/)]);
  const all = [...loaded, ...later];
  for (const path of all) {
    const response = await ask(path);
    expect(response.status).toBe(200);
    expect(response.headers.get('cache-control')).toBe('public, max-age=31536000, immutable');
    expect(response.headers.get('content-encoding')).toBe('gzip');
    // The content security policy of a worker is that of its script response.
    expect(response.headers.get('content-security-policy')).toContain("connect-src 'self'");
    expect(response.headers.get('content-type')).toMatch(/^(text\/javascript|text\/css|image\/svg)/);
    const plain = await ask(path, { 'accept-encoding': 'identity' });
    expect(plain.headers.get('content-encoding')).toBeNull();
    expect(await plain.text()).toBe(await response.text());
  }
  expect(readdirSync(new URL('../../../web/built/assets/', import.meta.url)).length).toBe(all.length);
});

test('clients that do not accept HTML get problems, and the API is unaffected', async () => {
  for (const path of paths) {
    const response = await ask(path, { accept: 'application/json' });
    expect([response.status, response.headers.get('content-type')]).toEqual([404, 'application/problem+json']);
  }
  for (const path of ['/v1/nothing', '/nothing', '/assets/nothing.js', '/assets/../../package.json', '/devices', '/devices/a/b']) {
    const received = await ask(path);
    expect([received.status, received.headers.get('content-type')]).toEqual([404, 'application/problem+json']);
  }
  expect((await ask('/', browser, 'POST')).status).toBe(405);
  expect((await ask('/v1/devices')).status).toBe(401);
  expect((await ask('/documentation')).status).toBe(200);
  expect((await ask('/health/live')).status).toBe(200);
  expect(
    Object.keys((await service.get('/documentation/json')).body['paths'] ?? {}).filter(
      (path) => !path.match(/^\/(v1|agent|health|metrics)/),
    ),
  ).toEqual([]);
});

test('a dashboard that is not built shows how to build it', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'patchbay-not-built-'));
  const app = Fastify();
  try {
    app.setValidatorCompiler(validatorCompiler);
    addDashboard(app.withTypeProvider<ZodTypeProvider>(), folder);
    const { statusCode, body, headers } = await app.inject({ url: '/', headers: { accept: 'text/html' } });
    expect([statusCode, headers['content-type']]).toEqual([200, 'text/html; charset=utf-8']);
    expect(body).toContain('npm run build:dashboard');
  } finally {
    await app.close();
    rmSync(folder, { recursive: true });
  }
});
