// A host has so many devices at most, however often it registers, and the service does other things while it registers them.

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

test('a host registers as many devices as it may have, and no more with another registration', { timeout: 180_000 }, async () => {
  const bootId = randomUUID();
  let answered = 0;
  const registering = register(bootId, devices('d', limit - 1));
  const others = (async () => {
    // Each answer needs turns of the event loop, of which there is none while it is blocked.
    while ((await Promise.race([registering, null])) === null) {
      expect((await service.get('/v1/hosts')).status).toBe(200);
      answered += 1;
    }
  })();
  expect(await registering).toMatchObject({ status: 201, body: { devices: limit - 1 } });
  await others;
  expect(answered).toBeGreaterThan(10);

  const tooMany = await register(bootId, devices('e', 2));
  expect(tooMany).toMatchObject({ status: 409, body: { type: 'urn:patchbay:problem:too-many-devices' } });
  expect(tooMany.body.detail).toMatch(/^limit exceeded \(20000 devices per host\): the host \S+ has 19999 devices and registers 2 more/);
  expect(await register(randomUUID(), devices('e', 2))).toMatchObject({ status: 409 });
  expect(itemsOf(await service.get('/v1/devices?name=e-'))).toEqual([]);
  expect(await register(bootId, [...devices('d', 3), ...devices('e', 1)])).toMatchObject({ status: 201, body: { devices: limit } });
  // Devices that are there are none more.
  expect(await register(randomUUID(), devices('d', limit - 1))).toMatchObject({ status: 201, body: { devices: limit } });
});

test('only devices that get other labels are labelled again', async () => {
  const labelled = (labels: Schemas['Labels']) => [{ name: 'a', labels, ramPages: 64 }];
  const bootId = randomUUID();
  const orders: Schemas['Labels'][] = [{ zone: 'north', tier: 'edge' }, { tier: 'edge', zone: 'north' }, { zone: 'south' }, {}];
  for (const labels of orders) {
    await register(bootId, labelled(labels));
    expect(itemsOf(await service.get('/v1/devices'))).toMatchObject([{ labels }]);
    expect(itemsOf(await service.get('/v1/devices'))[0]?.labels).toEqual(labels);
  }
});
