// Webhooks as resources: create, read, replace, delete, secrets, limits.

import { createHmac, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createPatchbayClient, type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { itemsOf, TestService, until } from '../test-service.ts';
import { type ReceivedRequest, Receiver } from './receiver.ts';

const service = new TestService();
const receiver = new Receiver();

beforeAll(async () => {
  await service.start();
  await receiver.start();
});
afterAll(async () => {
  await service.close();
  receiver.close();
});

type Content = Partial<Schemas['NewWebhook']>;
const content = (given: Content = {}) => ({ name: `hook-${randomUUID()}`, url: receiver.url, eventTypes: ['*'], ...given });

const client = () => createPatchbayClient(service.url, service.key);

async function create(given: Content = {}): Promise<Schemas['CreatedWebhook']> {
  const created = unwrapResponse(await client().POST('/v1/webhooks', { body: content(given) }));
  expect(created.id).toMatch(/^whk_/);
  return created;
}
const remove = (id: string) => service.request('DELETE', `/v1/webhooks/${id}`);
const problem = (status: number, type: string, detail: string) => ({
  status,
  body: { type: `urn:patchbay:problem:${type}`, detail: expect.stringContaining(detail) },
});

/** Returns the signatures of a request that a secret verifies, by the specification of Standard Webhooks. */
function verified({ headers, text }: ReceivedRequest, secret: string): string[] {
  const key = Buffer.from(secret.replace('whsec_', ''), 'base64');
  const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${text}`;
  const expected = `v1,${createHmac('sha256', key).update(signed).digest('base64')}`;
  return String(headers['webhook-signature'])
    .split(' ')
    .filter((signature) => signature === expected);
}

test('the secret is shown once, and never in reads, lists or audit events', async () => {
  const path = `/v1/webhooks`;
  const { status, headers, body } = await service.post(path, content({ name: 'once' }));
  expect({ status, location: headers.get('location'), cache: headers.get('cache-control') }).toEqual({
    status: 201,
    location: `/v1/webhooks/${body.id}`,
    cache: 'no-store',
  });
  expect(body.secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
  const read = await service.get(`/v1/webhooks/${body.id}`);
  expect(read.body).toMatchObject({
    name: 'once',
    enabled: true,
    format: 'cloudevents',
    delivery: { status: 'delivering', parkedEvents: 0 },
  });
  const list = await service.get('/v1/webhooks');
  const trail = await service.get(`/v1/audit?object=${body.id}`);
  expect(itemsOf(trail)).toMatchObject([{ action: 'webhook.created', detail: { name: 'once', receiver: new URL(receiver.url).origin } }]);
  const key = String(body.secret).replace('whsec_', '');
  for (const response of [read, list, trail]) expect(JSON.stringify(response.body)).not.toContain(key);
  expect(JSON.stringify(trail.body)).not.toContain('/hook');
  await remove(String(body.id));
});

test('a repeated creation with an Idempotency-Key returns the same secret', async () => {
  const body = content();
  const key = { 'idempotency-key': randomUUID() };
  const [first, second] = [await service.post('/v1/webhooks', body, key), await service.post('/v1/webhooks', body, key)];
  expect(second.body).toEqual(first.body);
  await remove(String(first.body.id));
});

test('names are unique, and invalid contents are refused', async () => {
  const webhook = await create({ name: 'taken' });
  expect(await service.post('/v1/webhooks', content({ name: 'taken' }))).toMatchObject(problem(409, 'name-taken', webhook.id));
  const refused: [Content, string, string][] = [
    [{ url: 'ftp://example.com/' }, '/url', 'https://'],
    [{ url: 'https://user:word@example.com/' }, '/url', 'user name'],
    [{ url: 'http://169.254.169.254/latest/meta-data' }, '/url', 'link-local'],
    [{ url: 'not a url' }, '/url', 'must be a URL'],
    [{ eventTypes: [] }, '/eventTypes', ''],
    [{ eventTypes: ['loads.*'] }, '/eventTypes/0', 'must begin with a kind of event'],
    [{ eventTypes: ['load.**'] }, '/eventTypes/0', 'must be an action'],
    [{ selector: 'zone in' }, '/selector', 'label selector'],
  ];
  for (const [given, pointer, detail] of refused) {
    const { status, body } = await service.postRaw('/v1/webhooks', content(given));
    expect({ status, body }).toMatchObject({ status: 422, body: { errors: [{ pointer, detail: expect.stringContaining(detail) }] } });
  }
  await remove(webhook.id);
});

test('a webhook is replaced and deleted only if it is the one that was read', async () => {
  const webhook = await create();
  const path = `/v1/webhooks/${webhook.id}` as const;
  const etag = (await service.get(path)).headers.get('etag') ?? '';
  const replaced = await service.put(path, content({ name: 'replaced', enabled: false }), { 'if-match': etag });
  expect(replaced).toMatchObject({ status: 200, body: { name: 'replaced', enabled: false, delivery: { status: 'disabled' } } });
  expect(await service.put(path, content(), { 'if-match': etag })).toMatchObject(problem(412, 'precondition-failed', 'replaced'));
  expect(await service.request('DELETE', path, undefined, { 'if-match': etag })).toMatchObject(problem(412, 'precondition-failed', ''));
  const newTag = replaced.headers.get('etag') ?? '';
  expect((await service.request('DELETE', path, undefined, { 'if-match': newTag })).status).toBe(204);
  expect(await service.get(path)).toMatchObject(problem(404, 'not-found', webhook.id));
  const actions = itemsOf(await service.get(`/v1/audit?object=${webhook.id}&order=asc`)).map(({ action }) => action);
  expect(actions).toEqual(['webhook.created', 'webhook.replaced', 'webhook.deleted']);
});

test('only administrators see webhooks: the URLs of Slack and Teams are secrets', async () => {
  const { body } = await service.post('/v1/keys', { name: 'an-operator', role: 'operator' });
  const operator = { authorization: `Bearer ${body.secret}` };
  expect(await service.get('/v1/webhooks', operator)).toMatchObject({ status: 403 });
  expect(await service.post('/v1/webhooks', content(), operator)).toMatchObject({ status: 403 });
});

test('after a rotation, both secrets sign', async () => {
  const webhook = await create({ enabled: false });
  receiver.requests.length = 0;
  const rotated = await service.post(`/v1/webhooks/${webhook.id}/rotate-secret`, undefined);
  expect(rotated.status).toBe(201);
  expect(rotated.body.secret).not.toBe(webhook.secret);
  expect(Date.parse(rotated.body.previousSecretUntil ?? '') - Date.now()).toBeGreaterThan(23.9 * 3_600_000);
  const tested = await service.post(`/v1/webhooks/${webhook.id}/test`, undefined);
  expect(tested).toMatchObject({ status: 200, body: { delivered: true, status: 204, error: null } });
  const [request] = receiver.requests;
  if (request === undefined) throw new Error('no request');
  expect(request.headers).toMatchObject({ 'webhook-id': tested.body.event, 'content-type': 'application/cloudevents+json; charset=utf-8' });
  expect(verified(request, webhook.secret)).toHaveLength(1);
  expect(verified(request, String(rotated.body.secret))).toHaveLength(1);
  expect(verified(request, `whsec_${Buffer.from('another').toString('base64')}`)).toHaveLength(0);
  expect(String(request.headers['webhook-signature']).split(' ')).toHaveLength(2);
  await remove(webhook.id);
});

test('a test reports why the event was not delivered', async () => {
  const webhook = await create({ enabled: false });
  receiver.reply = () => ({ status: 302, headers: { location: 'http://169.254.169.254/' } });
  const tested = await service.post(`/v1/webhooks/${webhook.id}/test`, undefined);
  expect(tested.body).toMatchObject({ delivered: false, status: 302, error: expect.stringContaining('redirects are not followed') });
  receiver.reply = () => ({ status: 204 });
  await remove(webhook.id);
});

test('a test with a lost key of the secrets says how to recover', async () => {
  const webhook = await create({ enabled: false });
  const key = service.privateKeys.keys.get('seal_1') ?? '';
  service.privateKeys.keys.delete('seal_1');
  const path = `/v1/webhooks/${webhook.id}` as const;
  expect((await service.post(`${path}/test`, undefined)).body).toMatchObject({
    delivered: false,
    error: expect.stringContaining('rotate the secret'),
  });
  await service.post(`${path}/rotate-secret`, undefined);
  expect((await service.post(`${path}/test`, undefined)).body).toMatchObject({ delivered: true });
  service.privateKeys.keys.set('seal_1', key);
  await remove(webhook.id);
});

test('messages for Slack and Teams are sentences with the facts of the event', async () => {
  const webhook = await create({ enabled: false, format: 'slack' });
  const path = `/v1/webhooks/${webhook.id}` as const;
  receiver.requests.length = 0;
  await service.post(`${path}/test`, undefined);
  await service.put(path, content({ name: webhook.name, enabled: false, format: 'teams' }));
  await service.post(`${path}/test`, undefined);
  const [slack, teams] = receiver.requests.map(({ text }) => JSON.parse(text));
  expect(slack.text).toMatch(/^webhook test: whk_.* \(name hook-.*\), by key_/);
  expect(slack.blocks).toMatchObject([{ type: 'section' }, { type: 'context' }]);
  expect(teams.attachments).toMatchObject([
    {
      contentType: 'application/vnd.microsoft.card.adaptive',
      content: { type: 'AdaptiveCard', body: [{ text: slack.text.replaceAll('&amp;', '&') }, {}] },
    },
  ]);
  expect(receiver.requests.map(({ headers }) => headers['content-type'])).toEqual(Array(2).fill('application/json; charset=utf-8'));
  await remove(webhook.id);
});

test('there are at most 50 webhooks', async () => {
  const existing = itemsOf(await service.get('/v1/webhooks?limit=200')).length;
  const created: string[] = [];
  for (let count = existing; count < 50; count += 1) created.push((await create({ enabled: false })).id);
  expect(await service.post('/v1/webhooks', content())).toMatchObject(problem(409, 'too-many-webhooks', '50 webhooks'));
  for (const id of created) await remove(id);
  await until('the webhooks are deleted', async () => itemsOf(await service.get('/v1/webhooks?limit=200')).length === existing);
});
