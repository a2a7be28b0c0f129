// Deliveries of events: order, filters, retries, parking, replay, gaps, restarts.

import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createPatchbayClient, type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { Store } from '../../../src/service/database/store.ts';
import { inTransaction } from '../records.ts';
import { bearer, itemsOf, TestService, until, workModule } from '../test-service.ts';
import { Receiver } from './receiver.ts';

const hour = 3_600_000;

/** A machine whose clocks the test moves forward. On PostgreSQL the time comes from the database; the monotonic clock moves it too. */
class Machine {
  slept = 0;
  readonly time = { wall: () => Date.now() + this.slept, monotonic: () => performance.now() + this.slept };
}

let service: TestService;
let receiver: Receiver;
let machine: Machine;
beforeEach(async () => {
  machine = new Machine();
  service = new TestService();
  service.time = machine.time;
  await service.start();
  receiver = await new Receiver().start();
});
afterEach(async () => {
  await service.close();
  receiver.close();
});

const client = () => createPatchbayClient(service.url, service.key);
type Named = { readonly id: string };

async function create(given: Partial<Schemas['NewWebhook']> = {}): Promise<Schemas['CreatedWebhook']> {
  const body = { name: `hook-${randomUUID()}`, url: receiver.url, eventTypes: ['*'], ...given };
  return unwrapResponse(await client().POST('/v1/webhooks', { body }));
}
async function read({ id }: Named): Promise<Schemas['Webhook']> {
  return unwrapResponse(await client().GET('/v1/webhooks/{webhook}', { params: { path: { webhook: id } } }));
}
const pathOf = ({ id }: Named) => `/v1/webhooks/${id}` as const;
const deliveryOf = async (webhook: Named) => (await read(webhook)).delivery;
/** Causes an event: a key is created. Returns the key. */
const cause = async () => String((await service.post('/v1/keys', { name: `key-${randomUUID()}`, role: 'viewer' })).body.id);
/** Returns the numbers of the events of these actions in the trail after a number. */
async function numbersOf(after: number, action?: string): Promise<number[]> {
  const events = itemsOf(await service.get(`/v1/audit?limit=200&order=asc${action === undefined ? '' : `&action=${action}`}`));
  return events.map(({ number }) => number).filter((number) => number > after);
}
const arrived = (count: number) => until(`${count} requests arrived`, async () => receiver.requests.length >= count);

test('each event after the creation arrives once and in order, one at a time', async () => {
  await cause();
  const webhook = await create();
  const from = webhook.delivery.deliveredThrough;
  await Promise.all(Array.from({ length: 30 }, () => cause()));
  await arrived(30);
  expect(receiver.numbers).toEqual(await numbersOf(from));
  expect(receiver.mostInProgress).toBe(1);
  const [first] = receiver.events;
  const [event] = itemsOf(await service.get('/v1/audit?action=key.created&order=asc')).filter(({ number }) => number > from);
  expect(first).toEqual({
    specversion: '1.0',
    id: `evt_${event?.number}_${event?.hash.slice('sha256:'.length).slice(0, 16)}`,
    source: expect.stringMatching(/^patchbay\/[0-9a-f]{16}$/),
    type: 'com.patchbay.key.created',
    subject: event?.object,
    time: event?.at,
    datacontenttype: 'application/json',
    data: event,
  });
  const delivery = await until('the position is saved', async () => {
    const found = await deliveryOf(webhook);
    return found.deliveredThrough === from + 30 ? found : null;
  });
  expect(delivery).toMatchObject({ status: 'delivering', attempts: 0, failingSince: null, lastError: null });
});

test('event types and a label selector filter events', async () => {
  const types = await create({ eventTypes: ['key.revoked', 'build.*'] });
  const north = new Receiver();
  await north.start();
  const selected = await create({ eventTypes: ['load.completed'], selector: 'zone in (north)', url: north.url });
  const key = await cause();
  await service.post(`/v1/keys/${key}/revoke`, undefined);
  await service.push('tcp', '1.0.0', workModule(1));
  service.startHost('north', 1, { zone: 'north' });
  service.startHost('south', 1, { zone: 'south' });
  const devices = await service.connectedDevices(2);
  await service.load('tcp', '1.0.0', devices);
  await until('the events arrived', async () => north.requests.length === 1 && receiver.requests.length >= 2);
  expect(receiver.events.map(({ data }) => data.action)).toEqual(['key.revoked', 'build.created']);
  expect(north.events).toMatchObject([{ data: { action: 'load.completed', detail: { device: devices[0] } } }]);
  // The positions pass the events that are not for the webhooks, although nothing is sent for them.
  for (const webhook of [types, selected])
    await until('the position is saved', async () => (await deliveryOf(webhook)).deliveredThrough >= (receiver.numbers.at(-1) ?? 0));
  north.close();
});

test('a group filters events by the labels of devices at each event, together with a selector, and cannot be deleted', async () => {
  const edge = await service.post('/v1/groups', { name: 'edge', selector: 'zone in (north,south)' });
  const both = new Receiver();
  await both.start();
  await create({ eventTypes: ['load.completed'], group: 'edge' });
  const narrow = await create({ eventTypes: ['load.completed'], group: 'edge', selector: 'tier=core', url: both.url });
  expect((await service.get(`/v1/webhooks/${narrow.id}`)).body).toMatchObject({ group: edge.body.id, selector: 'tier=core' });
  for (const version of ['1.0.0', '1.1.0']) await service.push('tcp', version, workModule(1));
  service.startHost('north', 1, { zone: 'north' });
  service.startHost('south', 1, { zone: 'south', tier: 'core' });
  service.startHost('west', 1, { zone: 'west', tier: 'core' });
  const [north = '', south = '', west = ''] = await service.connectedDevices(3);
  await service.load('tcp', '1.0.0', [north, south, west]);
  await until('the events arrived', async () => both.requests.length === 1 && receiver.requests.length >= 2);
  const devicesOf = ({ events }: Receiver) => events.map(({ data }) => String(Object(data['detail']).device));
  expect(devicesOf(receiver).toSorted()).toEqual([north, south].toSorted());
  expect(devicesOf(both)).toEqual([south]);
  await service.put('/v1/groups/edge', { name: 'rim', selector: 'zone=west' });
  await service.load('tcp', '1.1.0', [north, south, west]);
  await until('the events arrived', async () => both.requests.length === 2 && receiver.requests.length >= 3);
  expect([devicesOf(receiver).at(-1), devicesOf(both).at(-1)]).toEqual([west, west]);
  expect(receiver.requests).toHaveLength(3);
  expect(await service.request('DELETE', '/v1/groups/rim')).toMatchObject({
    status: 409,
    body: { type: 'urn:patchbay:problem:group-in-use', detail: expect.stringMatching(/the webhook .* the webhook /) },
  });
  const invalid = { name: 'x', url: receiver.url, eventTypes: ['*'], group: 'none' };
  expect(await service.postRaw('/v1/webhooks', invalid)).toMatchObject({ status: 422, body: { errors: [{ pointer: '/group' }] } });
  both.close();
});

test('a failed event is attempted again with back-off, and the next ones wait', async () => {
  const webhook = await create();
  receiver.reply = () => ({ status: 500 });
  await cause();
  await cause();
  await arrived(1);
  const failing = await until('the failure is recorded', async () => {
    const found = await deliveryOf(webhook);
    return found.attempts === 1 ? found : null;
  });
  expect(failing).toMatchObject({ status: 'failing', lastError: 'the receiver responded with 500', failingSince: expect.any(String) });
  const wait = Date.parse(failing.nextAttemptAt ?? '') - Date.parse(failing.failingSince ?? '');
  expect(wait).toBeGreaterThanOrEqual(2_500);
  expect(wait).toBeLessThanOrEqual(5_001);
  receiver.reply = () => ({ status: 200 });
  machine.slept += 6_000;
  await arrived(3);
  const [first, second, third] = receiver.events;
  expect(second?.id).toBe(first?.id);
  expect(third?.data.number).toBe((first?.data.number ?? 0) + 1);
  await until('the webhook delivers', async () => (await deliveryOf(webhook)).status === 'delivering');
});

test('Retry-After is honoured up to an hour', async () => {
  const webhook = await create();
  receiver.reply = () => ({ status: 503, headers: { 'retry-after': '1800' } });
  await cause();
  const delivery = await until('the failure is recorded', async () => {
    const found = await deliveryOf(webhook);
    return found.attempts === 1 ? found : null;
  });
  const wait = Date.parse(delivery.nextAttemptAt ?? '') - Date.parse(delivery.failingSince ?? '');
  expect(wait).toBeGreaterThan(1_790_000);
  expect(wait).toBeLessThan(1_810_000);
  receiver.reply = () => ({ status: 503, headers: { 'retry-after': '999999' } });
  machine.slept += 0.6 * hour;
  const second = await until('the second failure is recorded', async () => {
    const found = await deliveryOf(webhook);
    return found.attempts === 2 ? found : null;
  });
  const secondWait = Date.parse(second.nextAttemptAt ?? '') - Date.parse(delivery.nextAttemptAt ?? '');
  expect(secondWait).toBeLessThan(1.2 * hour);
});

test('an event that fails for a day is parked; the next ones follow, and a replay delivers it', async () => {
  const webhook = await create({ eventTypes: ['key.*'] });
  let poison = '';
  receiver.reply = ({ text }) => ({ status: text.includes(poison) ? 400 : 200 });
  poison = await cause();
  await until('the first attempt failed', async () => (await deliveryOf(webhook)).attempts === 1);
  const later = await cause();
  // Each step is longer than the longest back-off.
  for (let hours = 0; hours < 25; hours += 1) {
    const { attempts, parkedEvents } = await deliveryOf(webhook);
    if (parkedEvents > 0) break;
    machine.slept += 1.01 * hour;
    await until('there was another attempt', async () => {
      const delivery = await deliveryOf(webhook);
      return delivery.parkedEvents === 1 || delivery.attempts > attempts;
    });
  }
  await until('the next event arrived', async () => receiver.events.some(({ data }) => data.object === later));
  expect(await deliveryOf(webhook)).toMatchObject({ parkedEvents: 1 });
  const parkedPath = `${pathOf(webhook)}/parked-events` as const;
  const [parked] = itemsOf(await service.get(parkedPath));
  expect(parked).toMatchObject({
    action: 'key.created',
    lastError: 'the receiver responded with 400',
    data: { object: poison },
    replayRequestedAt: null,
  });
  expect(Date.parse(parked?.parkedAt ?? '') - Date.parse(parked?.firstAttemptAt ?? '')).toBeGreaterThanOrEqual(24 * hour);
  expect(itemsOf(await service.get('/v1/audit?action=webhook.event-parked'))).toMatchObject([
    { object: webhook.id, detail: { event: parked?.number } },
  ]);

  // A replay that fails leaves the event parked, and does not delay others.
  const requests = receiver.requests.length;
  expect(await service.post(`${pathOf(webhook)}/replay`, { parked: 'all' })).toMatchObject({ status: 202, body: { parkedEvents: 1 } });
  await until('the replay failed', async () => {
    const [again] = itemsOf(await service.get(parkedPath));
    return again?.attempts === (parked?.attempts ?? 0) + 1 && again.replayRequestedAt === null;
  });
  receiver.reply = () => ({ status: 200 });
  await service.post(`${pathOf(webhook)}/replay`, { events: [parked?.number ?? 0] });
  await until('the event is not parked', async () => (await deliveryOf(webhook)).parkedEvents === 0);
  const replayed = receiver.events.slice(requests).filter(({ data }) => data.object === poison);
  expect(replayed.map(({ id }) => id)).toEqual([parked?.event, parked?.event]);
  const unknown = await service.post(`${pathOf(webhook)}/replay`, { events: [parked?.number ?? 0] });
  expect(unknown).toMatchObject({ status: 422, body: { errors: [{ pointer: '/events' }] } });
});

test('a replay after an event sends the later ones again, with the same identifiers', async () => {
  const webhook = await create({ eventTypes: ['key.*'] });
  for (let count = 0; count < 5; count += 1) await cause();
  await arrived(5);
  const ids = receiver.events.map(({ id }) => id);
  await until('all are delivered', async () => (await deliveryOf(webhook)).deliveredThrough >= (receiver.numbers[4] ?? 0));
  await service.post(`${pathOf(webhook)}/replay`, { after: receiver.numbers[1] ?? 0 });
  await arrived(8);
  expect(receiver.events.map(({ id }) => id)).toEqual([...ids, ...ids.slice(2)]);
  const beyond = await service.post(`${pathOf(webhook)}/replay`, { after: 1_000_000 });
  expect(beyond).toMatchObject({ status: 422, body: { errors: [{ pointer: '/after' }] } });
});

test('410 disables the webhook; when enabled again, it continues where it was', async () => {
  const webhook = await create({ eventTypes: ['key.*'] });
  receiver.reply = () => ({ status: 410 });
  const first = await cause();
  await until('the webhook is disabled', async () => !(await read(webhook)).enabled);
  const second = await cause();
  const body = await read(webhook);
  expect(body).toMatchObject({ disabledReason: 'the receiver responded with 410 (Gone)', delivery: { status: 'disabled' } });
  expect((await service.get('/v1/health')).body.reasons).toContainEqual(expect.stringContaining(`the webhook ${body.name} is disabled`));
  receiver.reply = () => ({ status: 204 });
  receiver.requests.length = 0;
  await service.put(pathOf(webhook), { name: body.name, url: body.url, eventTypes: body.eventTypes });
  await arrived(2);
  expect(receiver.events.map(({ data }) => data.object)).toEqual([first, second]);
});

test('health names a webhook that fails for an hour, and metrics count attempts', async () => {
  const webhook = await create({ eventTypes: ['key.*'] });
  receiver.reply = () => ({ status: 500 });
  await cause();
  await until('the attempt failed', async () => (await deliveryOf(webhook)).attempts === 1);
  const named = expect.stringMatching(new RegExp(`the webhook ${webhook.name} has failed since .*: the receiver responded with 500`));
  expect((await service.get('/v1/health')).body.reasons).not.toContainEqual(named);
  machine.slept += 1.01 * hour;
  expect((await service.get('/v1/health')).body.reasons).toContainEqual(named);
  const { text } = (await service.request('GET', '/metrics')).body;
  expect(text).toMatch(/patchbay_webhook_attempts_total\{result="failed"\} [1-9]/);
  expect(text).toContain('patchbay_webhooks{status="failing"} 1');
});

test('after a restart, undelivered events follow the last delivered one', async () => {
  const webhook = await create({ eventTypes: ['key.*'] });
  await cause();
  await arrived(1);
  await until('it is recorded', async () => (await deliveryOf(webhook)).deliveredThrough >= (receiver.numbers[0] ?? 0));
  // The receiver does not respond until the service has stopped.
  const responses = Promise.withResolvers<void>();
  receiver.reply = async () => {
    await responses.promise;
    return { status: 204 };
  };
  const missed = [await cause(), await cause()];
  await arrived(2);
  await service.stop();
  responses.resolve();
  await service.start();
  await arrived(4);
  expect(receiver.events.slice(2).map(({ data }) => data.object)).toEqual(missed);
  expect(receiver.events[1]?.id).toBe(receiver.events[2]?.id);
});

test('events that are not delivered are pruned a week later than others, and the gap is visible', async () => {
  const webhook = await create({ eventTypes: ['device.*', 'webhook.events-skipped'] });
  receiver.reply = () => ({ status: 500 });
  await appendEvents(700);
  await until('the first attempt failed', async () => (await deliveryOf(webhook)).attempts === 1);
  await service.stop();
  service.retention = { ...service.retention, interval: 20, events: { age: hour, number: null } };
  await service.start();
  machine.slept += 2 * hour;
  const other = await create({ enabled: false });
  await until('there was another attempt', async () => (await deliveryOf(webhook)).attempts >= 2);
  await service.post('/v1/audit/checkpoints', undefined);
  expect(await exportStatus()).toBe(200);
  machine.slept += 7 * 24 * hour;
  await until('events are pruned', async () => itemsOf(await service.get('/v1/audit?action=audit.pruned')).length > 0);
  expect(await exportStatus()).toBe(410);
  receiver.reply = () => ({ status: 204 });
  receiver.requests.length = 0;
  const gap = await until('the gap is recorded', async () => (await deliveryOf(webhook)).skipped);
  expect(gap.through % 256).toBe(0);
  expect(gap.through).toBeGreaterThan(gap.after);
  await until('the event about the gap arrived', async () =>
    receiver.events.some(({ type }) => type === 'com.patchbay.webhook.events-skipped'),
  );
  expect(receiver.numbers[0]).toBe(gap.through + 1);
  expect((await deliveryOf(other)).skipped).toBe(null);
});

const exportStatus = async () => (await fetch(`${service.url}/v1/audit/export?after=0`, { headers: bearer(service.key) })).status;

/** Appends events about devices to the trail. */
async function appendEvents(count: number): Promise<void> {
  const store = await Store.open(service.database);
  const facts = { at: new Date(), actor: 'a', action: 'device.relabelled', object: 'b', requestId: '', detail: {} };
  const event = { ...facts, outcome: 'succeeded' as const };
  await inTransaction(store, (records) => records.audit.append(Array.from({ length: count }, () => event)));
  await store.close();
}

test('a slow receiver delays neither other webhooks nor requests', async () => {
  const slow = await new Receiver().start();
  const release = Promise.withResolvers<void>();
  slow.reply = async () => {
    await release.promise;
    return { status: 204 };
  };
  await create({ url: slow.url });
  await create();
  for (let count = 0; count < 20; count += 1) await cause();
  await arrived(20);
  expect(slow.requests).toHaveLength(1);
  release.resolve();
  slow.close();
});

test('responses are read up to a limit, and their connection is not used again', async () => {
  const webhook = await create();
  receiver.reply = () => ({ status: 200, body: Buffer.alloc(10_000_000) });
  await cause();
  await cause();
  await arrived(2);
  await until('both are delivered', async () => (await deliveryOf(webhook)).deliveredThrough >= (receiver.numbers[1] ?? 0));
});
