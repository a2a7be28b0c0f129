// The limit of devices per host, and large registrations that do not block the service.

import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Schemas } from '../../../src/client/client.ts';
import { agentLimits } from '../../../src/protocol/agent.ts';
import { bearer, itemsOf, joinToken, TestService } from '../test-service.ts';

let service: TestService;
beforeEach(async () => {
  service = await new TestService().start();
});
afterEach(() => service.close());

const limit = agentLimits.devicesPerHost;
const devices = (prefix: string, count: number) =>
  Array.from({ length: count }, (_, index) => ({ name: `${prefix}-${index}`, labels: { zone: 'north' }, ramPages: 64 }));

function register(bootId: string, brought: Schemas['HostRegistration']['devices']) {
  const registration = { name: 'large', bootId, capacity: limit, devices: brought };
  return service.post('/agent/v1/hosts', registration, bearer(joinToken));
}

test('a host can register devices up to the limit, and another registration cannot exceed it', { timeout: 180_000 }, async () => {
  const bootId = randomUUID();
  let responses = 0;
  const registering = register(bootId, devices('d', limit - 1));
  const others = (async () => {
    // A response needs turns of the event loop, so a blocked event loop delays it.
    while ((await Promise.race([registering, null])) === null) {
      expect((await service.get('/v1/hosts')).status).toBe(200);
      responses += 1;
    }
  })();
  expect(await registering).toMatchObject({ status: 201, body: { devices: limit - 1 } });
  await others;
  expect(responses).toBeGreaterThan(10);

  const tooMany = await register(bootId, devices('e', 2));
  expect(tooMany).toMatchObject({ status: 409, body: { type: 'urn:patchbay:problem:too-many-devices' } });
  expect(tooMany.body.detail).toMatch(/^limit exceeded \(20000 devices per host\): the host \S+ has 19999 devices and registers 2 more/);
  expect(await register(randomUUID(), devices('e', 2))).toMatchObject({ status: 409 });
  expect(itemsOf(await service.get('/v1/devices?namePrefix=e-'))).toEqual([]);
  expect(await register(bootId, [...devices('d', 3), ...devices('e', 1)])).toMatchObject({ status: 201, body: { devices: limit } });
  // Existing devices do not count again.
  expect(await register(randomUUID(), devices('d', limit - 1))).toMatchObject({ status: 201, body: { devices: limit } });
});

test('only changed labels are written', async () => {
  const labelled = (labels: Schemas['Labels']) => [{ name: 'a', labels, ramPages: 64 }];
  const bootId = randomUUID();
  const orders: Schemas['Labels'][] = [{ zone: 'north', tier: 'edge' }, { tier: 'edge', zone: 'north' }, { zone: 'south' }, {}];
  for (const labels of orders) {
    await register(bootId, labelled(labels));
    expect(itemsOf(await service.get('/v1/devices'))).toMatchObject([{ labels }]);
    expect(itemsOf(await service.get('/v1/devices'))[0]?.labels).toEqual(labels);
  }
});
