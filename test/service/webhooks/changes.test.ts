// Webhooks that are changed while an attempt is in flight, and parked events at their limit.

import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createPatchbayClient, type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { Store } from '../../../src/service/database/store.ts';
import { ParkedEventRecords } from '../../../src/service/webhooks/repository.ts';
import { inTransaction } from '../records.ts';
import { itemsOf, TestService, until } from '../test-service.ts';
import { Receiver, type Reply } from './receiver.ts';

const hour = 3_600_000;
/** Number of the first event that tests park: beyond those of the trail. */
const firstParked = 10_001;

let slept = 0;
let service: TestService;
let receiver: Receiver;
let other: Receiver;
beforeEach(async () => {
  slept = 0;
  service = new TestService();
  service.time = { wall: () => Date.now() + slept, monotonic: () => performance.now() + slept };
  await service.start();
  receiver = await new Receiver().start();
  other = await new Receiver().start();
});
afterEach(async () => {
  await service.close();
  receiver.close();
  other.close();
});

const client = () => createPatchbayClient(service.url, service.key);
type Content = Schemas['NewWebhook'];
const content = (given: Partial<Content> = {}): Content => ({ name: 'hook', url: receiver.url, eventTypes: ['key.*'], ...given });

async function create(given: Partial<Content> = {}): Promise<`/v1/webhooks/${string}`> {
  const { id } = unwrapResponse(await client().POST('/v1/webhooks', { body: content(given) }));
  return `/v1/webhooks/${id}`;
}
/** Causes an event: a key is created. Returns the key. */
const cause = async () => String((await service.post('/v1/keys', { name: `key-${randomUUID()}`, role: 'viewer' })).body.id);
async function deliveryOf(path: string): Promise<Schemas['WebhookDelivery']> {
  const webhook = path.slice('/v1/webhooks/'.length);
  return unwrapResponse(await client().GET('/v1/webhooks/{webhook}', { params: { path: { webhook } } })).delivery;
}

/** Holds the response to the first request. Returns a function that sends it; later requests get the other response. */
function hold(first: Reply, later: Reply = { status: 204 }): () => void {
  const { promise, resolve } = Promise.withResolvers<Reply>();
  const responses = [promise];
  receiver.reply = () => responses.pop() ?? later;
  return () => resolve(first);
}
const arrived = (at: Receiver, count: number) => until(`${count} requests arrived`, async () => at.requests.length >= count);

test('a webhook that is disabled while it sends a backlog gets no further event', async () => {
  const release = hold({ status: 204 });
  const path = await create();
  for (let count = 0; count < 5; count += 1) await cause();
  await arrived(receiver, 1);
  await service.put(path, content({ enabled: false }));
  release();
  // Another webhook shows that the service still sends.
  await create({ name: 'other', url: other.url });
  await cause();
  await arrived(other, 1);
  expect(receiver.requests).toHaveLength(1);
  // Whether the receiver has processed the event in flight is unknown: it is sent again.
  await service.put(path, content());
  await arrived(receiver, 7);
  expect(receiver.numbers[1]).toBe(receiver.numbers[0]);
});

test.each([410, 500])(
  'a response %i to a request that began before the URL was replaced does not count for the new URL',
  async (status) => {
    const release = hold({ status, headers: { 'retry-after': '3600' } });
    const path = await create();
    const key = await cause();
    await arrived(receiver, 1);
    await service.put(path, content({ url: other.url }));
    release();
    await arrived(other, 1);
    expect(other.events[0]?.data.object).toBe(key);
    expect((await service.get(path)).body).toMatchObject({
      enabled: true,
      disabledReason: null,
      delivery: { attempts: 0, failingSince: null },
    });
  },
);

test('a replay from the current position sends events that were not for the webhook before it was replaced', async () => {
  const path = await create({ eventTypes: ['build.*'] });
  const { deliveredThrough } = await deliveryOf(path);
  const all = await new Receiver().start();
  await create({ name: 'all', url: all.url });
  const keys = [await cause(), await cause()];
  await arrived(all, 2);
  await service.put(path, content());
  expect((await service.post(`${path}/replay`, { after: deliveredThrough })).status).toBe(202);
  // The change may have made the service send them already.
  const objects = await until('both arrived', async () => {
    const found = new Set(receiver.events.map(({ data }) => data.object));
    return found.size === 2 && [...found];
  });
  expect(objects).toEqual(keys);
  all.close();
});

/** Parks events in the database. */
async function park(path: string, count: number, eventOf: (number: number) => object): Promise<void> {
  const webhookId = path.slice('/v1/webhooks/'.length);
  const facts = { attempts: 9, firstAttemptAt: new Date(), parkedAt: new Date(), lastError: 'the receiver responded with 500' };
  const store = await Store.open(service.database);
  await inTransaction(store, async ({ connection }) => {
    for (let number = firstParked; number < firstParked + count; number += 1)
      await new ParkedEventRecords(connection).park({ webhookId, number, event: eventOf(number), ...facts });
  });
  await store.close();
}

const parkedEvent = (number: number) => {
  const members = { number, at: new Date().toISOString(), actor: 'a', action: 'key.created', object: 'b', outcome: 'succeeded' };
  return { id: `evt_${number}`, data: { ...members, request: null, detail: {}, previous: 'sha256:00', hash: 'sha256:00' } };
};

test('a replay that is requested during a failing attempt follows', async () => {
  const path = await create();
  await park(path, 1, parkedEvent);
  const release = hold({ status: 500 });
  await service.post(`${path}/replay`, { parked: 'all' });
  await arrived(receiver, 1);
  await service.post(`${path}/replay`, { parked: 'all' });
  release();
  await until('the event is not parked', async () => (await deliveryOf(path)).parkedEvents === 0);
  expect(receiver.events.map(({ id }) => id)).toEqual(['evt_10001', 'evt_10001']);
});

test('410 to a replay disables the webhook, and the other parked events wait', async () => {
  const path = await create();
  await park(path, 3, parkedEvent);
  receiver.reply = () => ({ status: 410 });
  await service.post(`${path}/replay`, { parked: 'all' });
  await until('the webhook is disabled', async () => !(await service.get(path)).body.enabled);
  expect(receiver.requests).toHaveLength(1);
  receiver.reply = () => ({ status: 204 });
  await service.put(path, content());
  await until('the others are sent', async () => (await deliveryOf(path)).parkedEvents === 1);
  expect(receiver.events.map(({ id }) => id)).toEqual(['evt_10001', 'evt_10002', 'evt_10003']);
});

test('a parked event that cannot be read holds up neither the next ones nor new events', async () => {
  const path = await create();
  await park(path, 2, (number) => (number === firstParked ? {} : parkedEvent(number)));
  await service.post(`${path}/replay`, { parked: 'all' });
  const key = await cause();
  await arrived(receiver, 2);
  expect(receiver.events.map(({ data }) => data.object)).toEqual(['b', key]);
  expect((await deliveryOf(path)).parkedEvents).toBe(1);
});

test('beyond 1,000 parked events, the next one is attempted every hour instead, until a replay makes room', async () => {
  const path = await create();
  await park(path, 1_000, parkedEvent);
  receiver.reply = () => ({ status: 500 });
  const key = await cause();
  await until('the first attempt failed', async () => (await deliveryOf(path)).attempts === 1);
  const { deliveredThrough, failingSince } = await deliveryOf(path);
  for (let attempts = 1; slept < 25 * hour; attempts += 1) {
    slept += 1.01 * hour;
    await until('another attempt failed', async () => (await deliveryOf(path)).attempts > attempts);
  }
  const full = await deliveryOf(path);
  expect(full).toMatchObject({ status: 'failing', parkedEvents: 1_000, deliveredThrough, failingSince });
  const wait = Date.parse(full.nextAttemptAt ?? '') - (Date.now() + slept);
  expect(wait).toBeGreaterThan(0.9 * hour);
  expect(wait).toBeLessThanOrEqual(hour);
  expect(itemsOf(await service.get('/v1/audit?action=webhook.event-parked'))).toEqual([]);

  // The receiver takes the parked events, but not the next one, which is parked now.
  receiver.reply = ({ text }) => ({ status: text.includes(key) ? 500 : 204 });
  await service.post(`${path}/replay`, { events: [firstParked] });
  await until('there is room', async () => (await deliveryOf(path)).parkedEvents === 999);
  slept += 1.01 * hour;
  const later = await cause();
  await until('the next event arrived', async () => receiver.events.some(({ data }) => data.object === later));
  expect((await deliveryOf(path)).parkedEvents).toBe(1_000);
  const [parked] = itemsOf(await service.get(`${path}/parked-events?order=asc&limit=1`));
  expect(parked).toMatchObject({ data: { object: key } });
});
