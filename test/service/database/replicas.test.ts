// Several replicas on one PostgreSQL database: any of them can serve any request.

import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect } from 'vitest';
import type { Schemas } from '../../../src/client/client.ts';
import { verifyExport } from '../../../src/proof/audit-export.ts';
import { readPublicKey } from '../../../src/proof/ed25519.ts';
import { kind } from '../../databases.ts';
import { Agent } from '../agents/agent.ts';
import { ofReplicas, startReplicas } from '../replicas.ts';
import { bearer, eventsOf, itemsOf, TestService, until, workModule } from '../test-service.ts';

const [first, second, third] = [new TestService(), new TestService(), new TestService()];
const replicas = [first, second, third];
let devices: string[] = [];

beforeAll(async () => {
  if (kind === 'sqlite') return;
  for (const replica of replicas) replica.unreachableAfter = 4_000;
  // The migrations are applied once, and one administrator key and one signing key are created.
  expect(await startReplicas(replicas)).toHaveLength(1);
  first.startHost('near', 2, { place: 'near' });
  second.startHost('far', 2, { place: 'far' });
  devices = await third.connectedDevices(4);
  for (const [minor, plus] of [1, 2, 3].entries()) await third.push('tcp', `1.${minor}.0`, workModule(plus));
});
afterAll(() => Promise.all(replicas.map((replica) => replica.close())));

ofReplicas('a load requested from one replica reaches hosts of the others, and every replica reports its outcome', async () => {
  const loads = await third.load('tcp', '1.0.0', devices);
  expect(loads.map(({ outcome }) => outcome)).toEqual(Array(4).fill('installed'));
  for (const replica of replicas) expect(itemsOf(await replica.get('/v1/loads?outcome=installed'))).toHaveLength(4);
});

ofReplicas('a follower of the events of one replica receives those of another', async () => {
  const leaving = new AbortController();
  const response = await fetch(`${first.url}/v1/events`, { headers: bearer(first.key), signal: leaving.signal });
  expect(response.status).toBe(200);
  const made = await second.post('/v1/keys', { name: 'made-at-the-second', role: 'viewer' });
  for await (const { data } of eventsOf(response)) if (data.includes(String(made.body.id))) break;
  leaving.abort();
});

ofReplicas('a request sent to every replica at once with one Idempotency-Key is executed once', async () => {
  for (let round = 0; round < 5; round += 1) {
    const key = { 'idempotency-key': randomUUID() };
    const body: Schemas['NewLoads'] = { module: 'tcp', version: '1.1.0', devices: devices.slice(0, 1), versionPolicy: 'different' };
    const responses = await Promise.all(replicas.map((replica) => replica.post('/v1/loads', body, key)));
    expect(responses.map(({ status }) => status)).toEqual([202, 202, 202]);
    expect(new Set(responses.map((response) => response.body.batch)).size).toBe(1);
    expect(responses.filter(({ headers }) => headers.get('idempotency-replayed') === 'true')).toHaveLength(2);
    expect(itemsOf(await first.get(`/v1/loads?batch=${responses[0]?.body.batch}`))).toHaveLength(1);
  }
  const name: Schemas['NewKey'] = { name: 'once', role: 'viewer' };
  const key = { 'idempotency-key': randomUUID() };
  const made = await Promise.all(replicas.map((replica) => replica.post('/v1/keys', name, key)));
  expect(made.map(({ status }) => status)).toEqual([201, 201, 201]);
  expect(new Set(made.map((response) => response.body.id)).size).toBe(1);
  // The same key for another request.
  const other = await second.post('/v1/keys', { ...name, name: 'twice' }, key);
  expect(other).toMatchObject({ status: 422, body: { errors: [{ in: 'header', pointer: '/idempotency-key' }] } });
});

ofReplicas('an audit trail that all replicas write at once has no gaps', async () => {
  const names = Array.from({ length: 60 }, (_, index) => `racer-${index}`);
  const made = await Promise.all(names.map((name, index) => replicas[index % 3]?.post('/v1/keys', { name, role: 'viewer' })));
  expect(new Set(made.map((response) => response?.status))).toEqual(new Set([201]));
  const checkpoints = await Promise.all(replicas.map((replica) => replica.post('/v1/audit/checkpoints', undefined)));
  expect(checkpoints.every(({ status }) => status === 200 || status === 201)).toBe(true);
  const text = await (await fetch(`${second.url}/v1/audit/export`, { headers: bearer(second.key) })).text();
  const lines = text.split('\n').filter((line) => line !== '');
  const keys = itemsOf(await first.get('/v1/signing-keys')).map(({ publicKey }) => readPublicKey(String(publicKey)));
  const notes = checkpoints.map(({ body }) => String(body.note));
  const verified = await verifyExport(toAsync(lines), { checkpoints: notes, keys, isPartial: false });
  expect(verified).toMatchObject({ kind: 'intact', first: 1 });
});

async function* toAsync(lines: readonly string[]): AsyncGenerator<string> {
  yield* lines;
}

ofReplicas('replicas sign with a new signing key after one of them has replaced it', async () => {
  const rotated = await first.post('/v1/signing-keys', undefined);
  expect(rotated.status).toBe(201);
  for (const [index, replica] of replicas.entries()) {
    expect((await replica.push('signed', `1.0.${index}`, workModule(index))).status).toBe(201);
    const { body } = await replica.get(`/v1/modules/signed/builds/1.0.${index}/provenance`);
    expect(body).toMatchObject({ signatures: [{ keyid: rotated.body.keyId }] });
  }
  // Devices whose hosts know the new key accept its signatures.
  expect(await second.load('signed', '1.0.1', devices)).toMatchObject(Array(4).fill({ outcome: 'installed' }));
});

/** The same agent, connected to another replica. */
function movedTo(service: TestService, { host, token, bootId }: Agent): Agent {
  return Object.assign(new Agent(service), { host, token, bootId });
}

ofReplicas('a heartbeat to any replica counts, and a silent host becomes unreachable once', async () => {
  const [wanderer, silent] = [new Agent(first), new Agent(second)];
  await wanderer.register('wanderer', ['w1']);
  await silent.register('silent', ['s1']);
  const statusOf = async (name: string) => itemsOf(await third.get('/v1/hosts')).find((host) => host.name === name)?.status;
  const everywhere = replicas.map((replica) => movedTo(replica, wanderer));
  let beat = 0;
  await until('the silent one is unreachable', async () => {
    beat += 1;
    expect((await everywhere[beat % 3]?.heartbeat())?.status).toBe(204);
    return (await statusOf('silent')) === 'unreachable';
  });
  expect(await statusOf('wanderer')).toBe('connected');
  const actions = itemsOf(await second.get(`/v1/audit?object=${silent.host}&limit=200`)).map(({ action }) => action);
  expect(actions.filter((action) => action === 'host.unreachable')).toHaveLength(1);
});

ofReplicas('a host that follows its orders at another replica does so at the first no more', async () => {
  const agent = new Agent(first);
  await agent.register('mover', ['m1']);
  await agent.connect();
  // The stream stays open: the start times decide which of two streams is newer.
  await agent.order('attach-device');
  const moved = movedTo(second, agent);
  await moved.connect();
  await until('the first stream has ended', async () => agent.ended);
  expect((await moved.order('attach-device'))[0]).toMatchObject({ name: 'm1' });
  moved.disconnect();
});

ofReplicas('a load expires once, and a rollout continues after its replica stopped', async () => {
  const agent = new Agent(second);
  await agent.register('idle', ['i1']);
  const [idle = ''] = itemsOf(await first.get('/v1/devices?name=i1')).map(({ id }) => id);
  const { body } = await first.post('/v1/loads', { module: 'tcp', version: '1.0.0', devices: [idle], deadlineSeconds: 1 });
  const [load] = itemsOf(await first.get(`/v1/loads?batch=${body.batch}`));
  await until('it has expired', async () => (await third.get(`/v1/loads/${load?.id}`)).body.outcome === 'expired');
  expect(itemsOf(await first.get(`/v1/audit?object=${load?.id}&action=load.completed`))).toHaveLength(1);

  const rollout = {
    module: 'tcp',
    version: '1.2.0',
    labels: { place: 'near' },
    waves: [
      { upToPercent: 50, soakSeconds: 0 },
      { upToPercent: 100, soakSeconds: 0 },
    ],
  };
  const asked = await third.post('/v1/rollouts', rollout);
  expect(asked).toMatchObject({ status: 202 });
  await third.stop();
  await until('it is completed', async () => (await first.get(`/v1/rollouts/${asked.body.id}`)).body.state === 'completed');
  await third.start();
});
