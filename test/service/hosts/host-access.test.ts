// The access of a host ends with the credential that it registered with: a revoked agent key, or a replaced join token.

import { afterEach, beforeEach, expect, test } from 'vitest';
import { z } from 'zod';
import { kind } from '../../databases.ts';
import { Agent, attached } from '../agents/agent.ts';
import { bearer, TestService, until, workModule } from '../test-service.ts';

let service: TestService;
let others: TestService[];
beforeEach(async () => {
  others = [];
  service = await new TestService().start();
});
afterEach(async () => {
  for (const other of others) await other.close();
  await service.close();
});

async function agentKey(host: string): Promise<{ readonly id: string; readonly secret: string }> {
  const made = await service.post('/v1/keys', { name: `key-of-${host}`, role: 'agent', host });
  return z.object({ id: z.string(), secret: z.string() }).parse(made.body);
}

/** Returns one request for each use of a host token. */
function uses(replica: TestService, { host, token, bootId }: Agent, digest: string) {
  const path = `/agent/v1/hosts/${host}` as const;
  const shown = bearer(token);
  return Promise.all([
    replica.get(`${path}/orders?bootId=${bootId}`, shown),
    replica.get(`${path}/orders/next?bootId=${bootId}&waitSeconds=0`, shown),
    replica.post(`${path}/heartbeats`, { bootId }, shown),
    replica.post(`${path}/reports`, { bootId, reports: [] }, shown),
    replica.get(`/agent/v1/images/${digest}`, shown),
    replica.get(`/agent/v1/images/${digest}/provenance`, shown),
    replica.get('/agent/v1/signing-keys', shown),
  ]);
}

async function pushed(): Promise<string> {
  const { body } = await service.push('tcp', '1.0.0', workModule(1));
  return z.object({ image: z.object({ digest: z.string() }) }).parse(body).image.digest;
}

/** Returns a host that registered with a key and has an order stream. */
async function connectedWith(secret: string, replica = service): Promise<Agent> {
  const agent = new Agent(replica);
  expect(await agent.register('rack-7', ['d1'], secret)).toMatchObject({ status: 201 });
  await agent.connect();
  const [attach] = await agent.order('attach-device');
  if (attach !== undefined) await agent.report(attached(attach));
  return agent;
}

const unauthenticated = { status: 401, body: { type: 'urn:patchbay:problem:unauthenticated' } };

test('revoking an agent key ends the token, the stream and the downloads of its host, and does not affect other hosts', async () => {
  const digest = await pushed();
  const key = await agentKey('rack-7');
  const agent = await connectedWith(key.secret);
  const other = new Agent(service);
  await other.register('rack-8', ['d2']);
  await other.connect();
  const waiting = service.get(
    `/agent/v1/hosts/${agent.host}/orders/next?bootId=${agent.bootId}&after=1000&waitSeconds=50`,
    bearer(agent.token),
  );
  expect((await service.post(`/v1/keys/${key.id}/revoke`, undefined)).status).toBe(200);

  await until('the stream ends', async () => agent.ended);
  expect(await waiting).toMatchObject(unauthenticated);
  for (const response of await uses(service, agent, digest)) expect(response).toMatchObject(unauthenticated);
  expect(await agent.register('rack-7', ['d1'], key.secret)).toMatchObject(unauthenticated);
  expect(other.ended).toBe(false);
  expect((await other.heartbeat()).status).toBe(204);
  other.disconnect();

  const next = await connectedWith((await agentKey('rack-7')).secret);
  expect((await next.heartbeat()).status).toBe(204);
  expect(next.host).toBe(agent.host);
  next.disconnect();
});

test('a host keeps its token when an earlier credential is revoked', async () => {
  const key = await agentKey('rack-7');
  const agent = await connectedWith(key.secret);
  agent.disconnect();
  await agent.register('rack-7', ['d1']);
  await service.post(`/v1/keys/${key.id}/revoke`, undefined);
  expect((await agent.heartbeat()).status).toBe(204);
});

test('a host with a replaced join token must register again with the new one', async () => {
  const digest = await pushed();
  const agent = new Agent(service);
  await agent.register('rack-7', ['d1']);
  await service.stop();
  service.joinToken = 'another-join-token-of-the-tests';
  await service.start();
  for (const response of await uses(service, agent, digest)) expect(response).toMatchObject(unauthenticated);
  expect(await agent.register('rack-7', ['d1'])).toMatchObject(unauthenticated);
  expect(await agent.register('rack-7', ['d1'], service.joinToken)).toMatchObject({ status: 201 });
  expect((await agent.heartbeat()).status).toBe(204);
});

test.runIf(kind === 'postgresql')('revoking a key at one replica ends the access of its host at the others', async () => {
  const digest = await pushed();
  const second = new TestService();
  others.push(second);
  second.database = service.database;
  second.privateKeys = service.privateKeys;
  second.key = service.key;
  await second.start();
  const key = await agentKey('rack-7');
  const agent = await connectedWith(key.secret, second);
  const waiting = second.get(
    `/agent/v1/hosts/${agent.host}/orders/next?bootId=${agent.bootId}&after=1000&waitSeconds=50`,
    bearer(agent.token),
  );
  await service.post(`/v1/keys/${key.id}/revoke`, undefined);
  await until('the stream ends', async () => agent.ended);
  expect(await waiting).toMatchObject(unauthenticated);
  for (const response of await uses(second, agent, digest)) expect(response).toMatchObject(unauthenticated);
});
