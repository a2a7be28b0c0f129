// A service process that is killed again and again loses no event of a webhook.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { PatchbayProcess } from '../../src/cli/running/patchbay-process.ts';
import { createPatchbayClient, unwrapResponse } from '../../src/client/client.ts';
import { newDatabase } from '../databases.ts';
import { until } from '../service/test-service.ts';
import { Receiver } from '../service/webhooks/receiver.ts';
import { retryingClient } from './retrying-client.ts';

let folder: string;
let receiver: Receiver;
const children: PatchbayProcess[] = [];
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'patchbay-webhooks-'));
  receiver = await new Receiver().start();
});
afterEach(async () => {
  await Promise.all(children.splice(0).map((child) => child.stop('SIGKILL')));
  receiver.close();
  rmSync(folder, { recursive: true, force: true });
});

async function startService(database: string) {
  const keyFile = join(folder, 'admin-key');
  const files = ['--admin-key-file', keyFile, '--token-file', join(folder, 'token'), '--signing-keys', join(folder, 'keys')];
  const args = ['serve', '--port', '0', '--database', database, '--no-embedded-host', '--allow-private-webhooks', ...files];
  const child = new PatchbayProcess('the service', args);
  children.push(child);
  const [, url = ''] = await child.waitForLine(/API +(http:\S+)\/v1$/);
  return { child, url, keyFile };
}

test('after each kill, undelivered events follow in order; duplicates have the same identifier', async () => {
  const database = await newDatabase(folder);
  let { child, url, keyFile } = await startService(database);
  unwrapResponse(
    await retryingClient(url, keyFile).POST('/v1/webhooks', { body: { name: 'all', url: receiver.url, eventTypes: ['key.created'] } }),
  );
  const acknowledged: string[] = [];
  for (let round = 0; round < 4; round += 1) {
    const limit = receiver.requests.length + 5;
    const client = createPatchbayClient(url, readFileSync(keyFile, 'utf8').trim());
    const creations = Array.from({ length: 30 }, async (_, index) => {
      const created = await client.POST('/v1/keys', { body: { name: `key-${round}-${index}`, role: 'viewer' } });
      if (created.data !== undefined) acknowledged.push(created.data.id);
    });
    const results = Promise.allSettled(creations);
    // While events are being created and sent.
    await until('some events of the round arrived', async () => receiver.requests.length >= limit);
    expect(await child.stop('SIGKILL')).toBe('SIGKILL');
    await results;
    ({ child, url, keyFile } = await startService(database));
  }
  await until('every acknowledged event arrived', async () => {
    const objects = new Set(receiver.events.map(({ data }) => data.object));
    return acknowledged.every((id) => objects.has(id));
  });
  const byNumber = Map.groupBy(receiver.events, ({ data }) => data.number);
  const numbers = [...byNumber.keys()];
  expect(numbers).toEqual(numbers.toSorted((left, right) => left - right));
  for (const deliveries of byNumber.values()) expect(new Set(deliveries.map(({ id }) => id)).size).toBe(1);
  // At most one event is in flight when the service is killed.
  expect(receiver.requests.length - numbers.length).toBeLessThanOrEqual(4);
});
