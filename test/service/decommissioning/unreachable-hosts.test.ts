// Hosts that stay unreachable are decommissioned by the service, if it is set to. Only time that a running service has observed counts.

import { afterEach, beforeEach, expect, test } from 'vitest';
import { runSql, timeInSql } from '../../databases.ts';
import { Agent } from '../agents/agent.ts';
import { itemsOf, TestService, until } from '../test-service.ts';

let service: TestService;
beforeEach(() => {
  service = new TestService();
  service.unreachableAfter = 1_000;
});
afterEach(() => service.close());

async function register(name: string): Promise<Agent> {
  const agent = new Agent(service);
  expect((await agent.register(name, [`${name}-1`])).status).toBe(201);
  return agent;
}
const statusOf = async ({ host }: Agent) => (await service.get(`/v1/hosts/${host}`)).body.status;
const unreachableTime = async ({ host }: Agent) =>
  Number(
    (await runSql(service.database, 'SELECT "unreachableMilliseconds" FROM "Host" WHERE "id" = ?', host))[0]?.['unreachableMilliseconds'],
  );

test('decommissions a host that stays unreachable, and no other', async () => {
  service.decommissionUnreachableAfter = 4_000;
  await service.start();
  const [silent, returning] = [await register('silent'), await register('returning')];
  await until('a run has counted time', async () => (await unreachableTime(returning)) > 0);
  expect((await service.get('/v1/health')).body.reasons).toContainEqual(
    expect.stringMatching(/^the host silent with 1 device is unreachable; if that lasts \S+ days, it is decommissioned$/),
  );
  // A host that returns begins again at zero.
  expect((await returning.heartbeat()).status).toBe(204);
  expect(await unreachableTime(returning)).toBe(0);
  await until('the silent host is decommissioned', async () => {
    await returning.heartbeat();
    return (await statusOf(silent)) === 'decommissioned';
  });
  expect(await statusOf(returning)).toBe('connected');
  const [event, ...others] = itemsOf(await service.get('/v1/audit?action=host.decommissioned'));
  expect(event).toMatchObject({ object: silent.host, actor: 'service', detail: { name: 'silent', devices: 1 } });
  expect(event?.detail['reason']).toMatch(/^its host was unreachable for .* \(--decommission-unreachable-after\)$/);
  expect(others).toEqual([]);
  expect(itemsOf(await service.get('/v1/devices')).map(({ name }) => name)).toEqual(['returning-1']);
});

test('the time in which no service runs does not count', async () => {
  await service.start();
  const agent = await register('rack');
  await service.stop();
  const monthAgo = timeInSql(Date.now() - 30 * 24 * 3_600_000);
  await runSql(service.database, `UPDATE "Host" SET "unreachableSince" = ${monthAgo}`);
  service.decommissionUnreachableAfter = 8_000;
  await service.start();
  const counted = await until('a run has counted time', () => unreachableTime(agent));
  expect(counted).toBeLessThanOrEqual(2 * 2_000);
  expect(await statusOf(agent)).toBe('unreachable');
  await until('the host is decommissioned', async () => (await statusOf(agent)) === 'decommissioned');
});

test('by default, no host is decommissioned', async () => {
  await service.start();
  const agent = await register('rack');
  await runSql(
    service.database,
    `UPDATE "Host" SET "unreachableSince" = ${timeInSql(Date.now() - 365 * 24 * 3_600_000)}, "unreachableMilliseconds" = 99999999999`,
  );
  await service.stop();
  await service.start();
  await until('the host is listed', async () => (await statusOf(agent)) === 'unreachable');
  expect(await unreachableTime(agent)).toBe(99_999_999_999);
});
