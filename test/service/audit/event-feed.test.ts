// The event stream: live and past events, resumption, types and the limit of followers.

import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { z } from 'zod';
import { AuditEvent } from '../../../src/service/audit/schemas.ts';
import { eventsOf, itemsOf, joinToken, TestService, until, workModule } from '../test-service.ts';

let service: TestService;
const followers: EventFollower[] = [];
beforeEach(async () => {
  service = new TestService();
  // Without authentication the creation of the signing key is the only event.
  service.keys = 'off';
  await service.start();
});
afterEach(async () => {
  for (const follower of followers.splice(0)) follower.leave();
  await service.close();
});

class EventFollower {
  readonly events: z.infer<typeof AuditEvent>[] = [];
  readonly response: Response;
  /** How the stream ended. */
  end: 'complete' | 'aborted' | null = null;
  readonly #leaving: AbortController;

  private constructor(response: Response, leaving: AbortController) {
    this.response = response;
    this.#leaving = leaving;
    followers.push(this);
    if (response.ok)
      this.#read().then(
        () => (this.end = 'complete'),
        () => (this.end = 'aborted'),
      );
  }

  static async begin(query = '', headers: Record<string, string> = {}): Promise<EventFollower> {
    const leaving = new AbortController();
    return new EventFollower(await fetch(`${service.url}/v1/events${query}`, { headers, signal: leaving.signal }), leaving);
  }

  get numbers(): number[] {
    return this.events.map(({ number }) => number);
  }

  get actions(): string[] {
    return this.events.map(({ action }) => action);
  }

  leave(): void {
    this.#leaving.abort();
  }

  /** Waits for the event with a number. */
  async reached(number: number): Promise<void> {
    await until(`event ${number} arrives`, async () => this.numbers.includes(number));
  }

  async #read(): Promise<void> {
    for await (const { id, event, data } of eventsOf(this.response)) {
      const known = AuditEvent.parse(JSON.parse(data));
      expect({ id, event }).toEqual({ id: String(known.number), event: known.action });
      this.events.push(known);
    }
  }
}

/** Registers a host that never connects. This creates an event for the host and for each of its devices. */
function registerHost(devices: number) {
  const ofHost = Array.from({ length: devices }, (_, index) => ({ name: `d${index}`, labels: {}, ramPages: 64 }));
  const registration = { name: 'simulated', bootId: randomUUID(), capacity: devices, devices: ofHost };
  return service.post('/agent/v1/hosts', registration, { authorization: `Bearer ${joinToken}` });
}

async function pushBuilds(...versions: string[]): Promise<void> {
  for (const version of versions) await service.push('tcp', version, workModule(1));
}

const audited = async () => itemsOf(await service.get('/v1/audit?order=asc&limit=200'));
const upTo = (last: number, first = 1) => Array.from({ length: last - first + 1 }, (_, index) => first + index);

test('streams new events as the audit trail records them', async () => {
  await pushBuilds('1.0.0');
  const follower = await EventFollower.begin();
  expect(follower.response.headers.get('content-type')).toBe('text/event-stream');
  expect(follower.response.headers.get('cache-control')).toBe('no-cache, no-transform');
  await pushBuilds('1.1.0');
  await follower.reached(3);
  service.startHost('host', 1);
  const devices = await service.connectedDevices(1);
  await service.load('tcp', '1.1.0', devices);
  await until('the load is reported', async () => follower.actions.includes('load.completed'));
  const expected = ['build.created', 'host.registered', 'device.created', 'device.attached'];
  expect(follower.actions.toSorted()).toEqual([...expected, 'load.requested', 'load.completed'].toSorted());
  expect(follower.events).toEqual((await audited()).slice(2));
});

test('a client that resumes with its last number receives the missed events in order, each once', async () => {
  const before = await EventFollower.begin();
  await pushBuilds('1.0.0', '1.1.0');
  await before.reached(3);
  before.leave();
  await pushBuilds('1.2.0', '1.3.0', '1.4.0');
  const after = await EventFollower.begin('?after=0', { 'last-event-id': String(before.numbers.at(-1)) });
  await after.reached(6);
  await pushBuilds('1.5.0');
  await after.reached(7);
  expect([...before.numbers, ...after.numbers]).toEqual(upTo(7, 2));
});

test('streams many events in order, each once, while others are added', async () => {
  await registerHost(1_200);
  const [whole, part] = [await EventFollower.begin('?after=0'), await EventFollower.begin('?after=600')];
  await pushBuilds('1.0.0', '1.1.0');
  await whole.reached(1_204);
  await part.reached(1_204);
  expect(whole.numbers).toEqual(upTo(1_204));
  expect(part.numbers).toEqual(upTo(1_204, 601));
});

test('streams only events of the requested types, past and live', async () => {
  await pushBuilds('1.0.0');
  const builds = await EventFollower.begin('?types=build&after=0');
  const both = await EventFollower.begin('?types=build&types=host&after=0');
  await registerHost(2);
  await pushBuilds('1.1.0');
  await builds.reached(6);
  await both.reached(6);
  expect(builds.actions).toEqual(['build.created', 'build.created']);
  expect(both.actions).toEqual(['build.created', 'host.registered', 'build.created']);
});

test('rejects a follower above the limit, and accepts it once another has left', async () => {
  const all = await Promise.all(Array.from({ length: 100 }, () => EventFollower.begin()));
  expect(all.map(({ response }) => response.status)).toEqual(all.map(() => 200));
  const refused = await service.get('/v1/events');
  expect(refused).toMatchObject({
    status: 429,
    body: { type: 'urn:patchbay:problem:busy', detail: expect.stringContaining('100 clients follow the events') },
  });
  expect(refused.headers.get('retry-after')).toBe('1');
  all[0]?.leave();
  const next = await until('a follower is accepted', async () => {
    const follower = await EventFollower.begin();
    return follower.response.ok && follower;
  });
  await pushBuilds('1.0.0');
  await next.reached(2);
  await all[99]?.reached(2);
});

test.each(['', 'x', '-1', '1.5', '1e3', '1, 2'])('rejects a Last-Event-ID of "%s"', async (id) => {
  expect(await service.get('/v1/events', { 'last-event-id': id })).toMatchObject({
    status: 422,
    body: { type: 'urn:patchbay:problem:invalid-value', errors: [{ in: 'header', pointer: '/last-event-id' }] },
  });
});

test.each(['after=', 'after=x', 'after=-1', 'after=1&after=2', 'types=', 'types=order', 'types=load,host', 'colour=red'])(
  'rejects the query %s',
  async (query) => {
    expect(await service.get(`/v1/events?${query}`)).toMatchObject({ status: 422, body: { errors: [{ in: 'query' }] } });
  },
);

test('rejects HEAD', async () => {
  expect(await service.request('HEAD', '/v1/events')).toMatchObject({ status: 405 });
});

test('a service that stops ends the streams, and clients resume after its restart', async () => {
  const before = await EventFollower.begin();
  await pushBuilds('1.0.0');
  await before.reached(2);
  await service.stop();
  await until('the stream ends', async () => before.end);
  expect(before.end).toBe('complete');
  await service.start();
  await pushBuilds('1.1.0');
  const after = await EventFollower.begin('', { 'last-event-id': '2' });
  await after.reached(3);
  expect(after.actions).toEqual(['build.created']);
});
