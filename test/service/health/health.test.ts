// Readiness of the service and health of the fleet, with reasons.

import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFileSync, renameSync } from 'node:fs';
import { promisify } from 'node:util';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Order } from '../../../src/protocol/agent.ts';
import { postgresqlMigrations } from '../../../src/service/database/postgresql/migrations.ts';
import { sqliteMigrations } from '../../../src/service/database/sqlite/migrations.ts';
import { alterPostgresql, endConnections, kind, runSql, timeInSql } from '../../databases.ts';
import { Agent, attached } from '../agents/agent.ts';
import { itemsOf, TestService, until, workModule } from '../test-service.ts';

let service: TestService;
beforeEach(async () => {
  service = await new TestService().start();
});
afterEach(() => service.close());

const ready = () => service.get('/health/ready', { authorization: '' });

/** Changes the database without the service. */
const change = (sql: string) => runSql(service.database, sql);

/** Waits until the service is not ready, and returns the response: results are cached for a second. */
const notReady = () =>
  until('the service is not ready', async () => {
    const { status, body } = await ready();
    return status === 503 && body;
  });
const isReady = () => until('the service is ready', async () => (await ready()).status === 200);

const migration = (kind === 'sqlite' ? sqliteMigrations() : postgresqlMigrations()).at(-1)?.name;

test('a healthy service is live and ready, without an API key', async () => {
  expect(await ready()).toMatchObject({ status: 200, body: { status: 'ready', reasons: [] } });
  expect(await service.get('/health/live', { authorization: '' })).toMatchObject({ status: 200, body: { status: 'live' } });
});

test.runIf(kind === 'sqlite')('a moved database file is a reason until it is back, and no change is acknowledged meanwhile', async () => {
  const makeKey = (name: string) => service.post('/v1/keys', { name, role: 'viewer' });
  renameSync(service.database, `${service.database}.moved`);
  const reason = `the file ${service.database} was deleted or moved while the service was running`;
  expect(await notReady()).toEqual({ status: 'not-ready', reasons: [expect.stringContaining(reason)] });
  expect((await service.get('/health/live')).status).toBe(200);
  expect((await service.get('/v1/health')).body).toMatchObject({ status: 'degraded', reasons: expect.arrayContaining([reason]) });
  const refused = await makeKey('meanwhile');
  expect(refused).toMatchObject({
    status: 503,
    body: { type: 'urn:patchbay:problem:database-unavailable', detail: expect.stringContaining(reason) },
  });
  expect(refused.body.detail).toMatch(/stop the service, restore the database, and start the service again$/);
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
  renameSync(`${service.database}.moved`, service.database);
  await isReady();
  expect((await makeKey('afterwards')).status).toBe(201);
  expect(itemsOf(await service.get('/v1/keys')).map(({ name }) => name)).not.toContain('meanwhile');
});

test.runIf(kind === 'sqlite')(
  'a database locked by another process is a reason with Retry-After, and the service resumes when it is unlocked',
  async () => {
    const other = new Database(service.database);
    other.exec('BEGIN IMMEDIATE');
    const refused = await service.post('/v1/keys', { name: 'meanwhile', role: 'viewer' });
    expect(refused).toMatchObject({
      status: 503,
      body: {
        type: 'urn:patchbay:problem:database-unavailable',
        detail: expect.stringMatching(/another process has held the write lock.*retry after the time in Retry-After$/),
      },
    });
    expect(refused.headers.get('retry-after')).toBe('1');
    const waiting = service.post('/v1/keys', { name: 'waits', role: 'viewer' });
    expect((await service.get('/v1/keys')).status).toBe(200);
    other.exec('ROLLBACK');
    other.close();
    expect((await waiting).status).toBe(201);
    await isReady();
  },
);

describe.runIf(kind === 'postgresql')('PostgreSQL', () => {
  /** Changes a setting, which applies to new connections. */
  const alter = async (how: string) => {
    await alterPostgresql(service.database, how);
    await endConnections(service.database);
  };
  const makeKey = async (name: string) => (await service.post('/v1/keys', { name, role: 'viewer' })).status;

  test('a read-only database is a reason until it is writable; the service is live and can still read', async () => {
    await alter('SET default_transaction_read_only = on');
    // The first response may report that the previous connection was ended.
    const isReadOnly = /^the database does not accept writes: the database is read-only/;
    await until('the reason is the read-only database', async () => isReadOnly.test((await notReady()).reasons?.join('; ') ?? ''));
    expect((await service.get('/health/live')).status).toBe(200);
    expect((await service.get('/v1/hosts')).status).toBe(200);
    expect(await makeKey('meanwhile')).toBe(503);
    await alter('RESET default_transaction_read_only');
    await isReady();
    expect(await makeKey('afterwards')).toBe(201);
  });

  test('an unreachable database is a reason until it is reachable', async () => {
    await alter('ALLOW_CONNECTIONS false');
    expect(await notReady()).toEqual({ status: 'not-ready', reasons: ['the database does not respond'] });
    expect((await service.get('/health/live')).status).toBe(200);
    await alter('ALLOW_CONNECTIONS true');
    await isReady();
    expect(await makeKey('afterwards')).toBe(201);
  });
});

test.each([
  ['not applied', `DELETE FROM _prisma_migrations WHERE migration_name = '${migration}'`, `migration ${migration} is not applied`],
  [
    'rolled back',
    `UPDATE _prisma_migrations SET rolled_back_at = ${timeInSql(1)} WHERE migration_name = '${migration}'`,
    `migration ${migration} is not applied`,
  ],
  [
    'not finished',
    `UPDATE _prisma_migrations SET finished_at = NULL WHERE migration_name = '${migration}'`,
    `migration ${migration} was started but not finished`,
  ],
  [
    'changed',
    `UPDATE _prisma_migrations SET checksum = 'x' WHERE migration_name = '${migration}'`,
    `migration ${migration} was changed after it was applied`,
  ],
  [
    'unknown',
    `UPDATE _prisma_migrations SET migration_name = 'later' WHERE migration_name = '${migration}'`,
    'the database has migration later',
  ],
  ['without a record', 'ALTER TABLE _prisma_migrations RENAME TO gone', 'the applied migrations cannot be read'],
])('a migration that is %s is a reason', async (_, sql, reason) => {
  await change(sql);
  const { reasons } = await notReady();
  expect(String(reasons)).toContain(reason);
  expect((await service.get('/health/live')).status).toBe(200);
});

test('a service that is closing is not ready', async () => {
  await service.stop();
  const closing = Promise.withResolvers<void>();
  const responded = Promise.withResolvers<void>();
  service.prepare = (app) => {
    // This request is in progress when the service starts to close.
    app.addHook('onRequest', async ({ url }) => {
      if (url === '/health/ready?last') await closing.promise;
    });
    app.addHook('preClose', async () => {
      closing.resolve();
      await responded.promise;
    });
  };
  await service.start();
  const last = service.get('/health/ready?last');
  await isReady();
  const stopped = service.stop();
  const { status, body } = await last;
  responded.resolve();
  await stopped;
  expect([status, body]).toEqual([503, { status: 'not-ready', reasons: ['the service is closing'] }]);
});

// The probe of PostgreSQL leaves no trace to count.
test.runIf(kind === 'sqlite')('repeated readiness requests share one write to the database', async () => {
  const writes = async () => Number((await runSql(service.database, 'PRAGMA user_version'))[0]?.['user_version']);
  const before = await writes();
  for (let time = 0; time < 2; time += 1) await Promise.all(Array.from({ length: 50 }, ready));
  expect(await writes()).toBeGreaterThan(before);
  expect(await writes()).toBeLessThan(before + 50);
});

test('the health check of the container image succeeds', async () => {
  const compose = readFileSync(new URL('../../../docker-compose.yml', import.meta.url), 'utf8');
  const [, script = ''] = /- "(fetch\(.+)"$/m.exec(compose) ?? [];
  expect(script).toContain('http://127.0.0.1:7070/health/ready');
  const check = () => promisify(execFile)(process.execPath, ['-e', script.replace('http://127.0.0.1:7070', service.url)]);
  await check();
  await service.stop();
  await expect(check()).rejects.toMatchObject({ code: 1 });
});

const reasons = async () => {
  const { status, body } = await service.get('/v1/health');
  expect(status).toBe(200);
  const all = Array.isArray(body.reasons) ? body.reasons.map(String) : [];
  expect(body.status).toBe(all.length === 0 ? 'healthy' : 'degraded');
  return all;
};

test('devices that could not be restored completely degrade the fleet, and the first are named', async () => {
  const agent = new Agent(service);
  const names = Array.from({ length: 7 }, (_, index) => `d${index + 1}`);
  await agent.register('agent', names);
  const orders = await agent.next(0, 10);
  await agent.report(...orders.map((order) => attached(order)));
  expect(await reasons()).toEqual([]);
  agent.bootId = randomUUID();
  await agent.register('agent', names);
  const again = await agent.next(0, 10);
  const failure = `tcp@1.0.0: ${'no room '.repeat(50)}`;
  const isComplete = (order: Order) => order.kind === 'attach-device' && order.name === 'd7';
  await agent.report(...again.map((order) => ({ ...attached(order), failure: isComplete(order) ? null : failure })));
  const [reason = '', ...others] = await reasons();
  expect(others).toEqual([]);
  expect(reason).toMatch(
    /^6 devices could not be restored completely after a restart of the host: d1 \(tcp@1\.0\.0: no room .{1,200}\), d2 .+, d5 .+, and others$/,
  );
  expect(reason).not.toMatch(/d6/);
});

test('loads that are queued for long degrade the fleet, and new ones do not', async () => {
  const agent = new Agent(service);
  await agent.register('agent', ['d1', 'd2']);
  await agent.report(...(await agent.next(0, 10)).map((order) => attached(order)));
  await service.push('tcp', '1.0.0', workModule(1));
  const devices = itemsOf(await service.get('/v1/devices')).map(({ id }) => id);
  await service.post('/v1/loads', { module: 'tcp', version: '1.0.0', devices });
  expect(await reasons()).toEqual([]);
  const moment = Date.now() - 11 * 60_000;
  await change(`UPDATE "Load" SET "requestedAt" = ${timeInSql(moment)}`);
  const loads = itemsOf(await service.get('/v1/loads')).map(({ id }) => id);
  const first = loads.toSorted()[0];
  const since = new Date(moment).toISOString();
  expect(await reasons()).toEqual([`2 loads queued for more than 10 minutes; the oldest, ${first}, since ${since}`]);
  // A dispatched load is not queued.
  await agent.next(0, 10);
  expect(await reasons()).toEqual([]);
});

test('loads that are held for long do not degrade the fleet, and wait for their hosts only since their release', async () => {
  const agent = new Agent(service);
  await agent.register('agent', ['d1']);
  await agent.report(...(await agent.next(0, 10)).map((order) => attached(order)));
  await service.push('tcp', '1.0.0', workModule(1));
  const devices = itemsOf(await service.get('/v1/devices')).map(({ id }) => id);
  // Closed for the next two days.
  const days = ['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday'];
  const window = { days: [days[(new Date().getUTCDay() + 3) % 7]], from: '00:00', until: '12:00', timeZone: 'UTC' };
  const group = { name: 'all', selector: '!beta', maintenanceWindows: [window] };
  expect((await service.postRaw('/v1/groups', group)).status).toBe(201);
  await service.post('/v1/loads', { module: 'tcp', version: '1.0.0', devices, deadlineSeconds: 7 * 24 * 3_600 });
  const moment = Date.now() - 11 * 60_000;
  await change(`UPDATE "Load" SET "requestedAt" = ${timeInSql(moment)}`);
  expect(await reasons()).toEqual([]);
  expect((await service.request('DELETE', '/v1/groups/all')).status).toBe(204);
  const read = async () => itemsOf(await service.get('/v1/loads'))[0];
  await until('the load is released', async () => (await read())?.heldSince === null);
  expect(await read()).toMatchObject({ state: 'queued', heldSince: null, heldUntil: null });
  expect(await reasons()).toEqual([]);
  await change(`UPDATE "Load" SET "heldUntil" = ${timeInSql(moment)}`);
  expect(await reasons()).toEqual([expect.stringMatching(/^1 load queued for more than 10 minutes; the oldest, /)]);
});
