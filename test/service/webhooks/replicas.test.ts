// Three replicas on one PostgreSQL database: one of them sends at a time, and another one takes over.

import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect } from 'vitest';
import { kind } from '../../databases.ts';
import { ofReplicas, startReplicas } from '../replicas.ts';
import { itemsOf, TestService, until } from '../test-service.ts';
import { Receiver } from './receiver.ts';

const replicas = [new TestService(), new TestService(), new TestService()];
const [, second] = replicas;
const receiver = new Receiver();

beforeAll(async () => {
  await startReplicas(replicas);
  if (kind === 'postgresql') await receiver.start();
});
afterAll(async () => {
  await Promise.all(replicas.map((replica) => replica.close()));
  if (kind === 'postgresql') receiver.close();
});

ofReplicas('events of every replica arrive once and in order, and the others continue when replicas stop', async () => {
  if (second === undefined) throw new Error('no second replica');
  const created = await second.post('/v1/webhooks', { name: 'all', url: receiver.url, eventTypes: ['key.created'] });
  expect(created.status).toBe(201);
  let made = 0;
  const causeInEach = async (services: readonly TestService[]) => {
    made += 10 * services.length;
    await Promise.all(
      services.flatMap((replica) =>
        Array.from({ length: 10 }, () => replica.post('/v1/keys', { name: `key-${randomUUID()}`, role: 'viewer' })),
      ),
    );
  };
  await causeInEach(replicas);
  const expected = async () =>
    itemsOf(await second.get('/v1/audit?action=key.created&limit=200&order=asc'))
      .slice(1)
      .map(({ number }) => number);
  await until('all events arrived', async () => receiver.requests.length >= made);
  expect(receiver.numbers).toEqual(await expected());
  expect(receiver.mostInProgress).toBe(1);
  // Whichever replica sends: after two of three have stopped, the last one does.
  for (const [index, replica] of replicas.entries()) {
    if (replica === second) continue;
    await replica.stop();
    await causeInEach(replicas.slice(index + 1).filter((one) => one !== replica));
    await until('all events arrived', async () => new Set(receiver.numbers).size >= made);
    expect([...new Set(receiver.numbers)]).toEqual(await expected());
  }
});
