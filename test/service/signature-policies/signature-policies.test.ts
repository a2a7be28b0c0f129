// Signature policies: the signatures that devices require, and hosts that refuse builds without them.

import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Agent } from '../agents/agent.ts';
import { Publisher } from '../publishing.ts';
import { itemsOf, type TestResponse, TestService, workModule } from '../test-service.ts';
import type { RequestSchema } from '../typed-paths.ts';

const service = new TestService();
let one = '';
let two = '';
let first: Publisher;
let second: Publisher;
let third: Publisher;

beforeAll(async () => {
  await service.start();
  service.startHost('one', 1, { zone: 'north', tier: 'edge' });
  service.startHost('two', 1, { zone: 'south' });
  [one = '', two = ''] = await service.connectedDevices(2);
  [first, second, third] = await Promise.all([
    new Publisher(service, 'first').register(),
    new Publisher(service, 'second').register(),
    new Publisher(service, 'third').register(),
  ]);
});
afterAll(() => service.close());

const problem = (status: number, type: string, detail: string) => ({
  status,
  body: { type: `urn:patchbay:problem:${type}`, detail: expect.stringContaining(detail) },
});
const etagOf = ({ headers }: TestResponse<unknown>) => headers.get('etag') ?? '';
type Created = Awaited<ReturnType<typeof createPolicy>>;
const remove = (policy: Created, headers: Record<string, string> = {}) =>
  service.request('DELETE', `/v1/signature-policies/${policy.body.id}`, undefined, headers);

async function createPolicy(content: Omit<RequestSchema<'NewSignaturePolicy'>, 'name'> & { name?: string }) {
  const policy = await service.post('/v1/signature-policies', { name: `policy-${randomUUID()}`, ...content });
  expect(policy.status).toBe(201);
  return policy;
}

let builds = 0;
/** Pushes a build of a new module and returns the name of the module. */
async function pushModule(): Promise<string> {
  const module = `module-${builds}`;
  builds += 1;
  await service.push(module, '1.0.0', workModule(1));
  return module;
}

/** Loads the module on both devices and returns the outcomes. */
async function outcomes(module: string): Promise<unknown[]> {
  const loads = await service.load(module, '1.0.0', [one, two], { versionPolicy: 'different' });
  return loads.map(({ outcome }) => outcome);
}
const refused = 'refused-image';

describe('a device', () => {
  test('requires the signatures of its policy; other devices do not', async () => {
    const module = await pushModule();
    const policy = await createPolicy({ name: 'by-device', device: one, publisherKeys: [first.id] });
    const [load] = await service.load(module, '1.0.0', [one]);
    expect(load).toMatchObject({
      outcome: refused,
      reason: `the signature policy by-device (${policy.body.id}) requires signatures of 1 of 1 publisher keys for ${module}@1.0.0, which has 0: sign the build (patchbay build sign ${module} 1.0.0), and load it again`,
    });
    expect(await outcomes(module)).toEqual([refused, 'installed']);
    // The host already has the image and the statement; the signature is newer.
    await first.sign(module, '1.0.0');
    const [later] = await service.load(module, '1.0.0', [one]);
    expect(later).toMatchObject({ outcome: 'installed' });
    const { signedBy } = (await service.get(`/v1/modules/${module}/builds/1.0.0`)).body;
    const { body } = await service.get(`/v1/loads/${later?.id}`);
    expect(signedBy).toEqual([expect.any(String), first.keyId]);
    expect(body).toMatchObject({ report: { steps: [{ step: 'received', facts: { signedBy } }, {}, { step: 'linked' }, {}, {}, {}] } });
    await remove(policy);
  });

  test('matches a policy by all of its labels at the time of the request', async () => {
    const policies = [
      await createPolicy({ labels: { zone: 'north', tier: 'edge' }, publisherKeys: [first.id] }),
      await createPolicy({ labels: { zone: 'south', tier: 'edge' }, publisherKeys: [first.id] }),
    ];
    expect(await outcomes(await pushModule())).toEqual([refused, 'installed']);
    const labels = (zone: string) => service.request('PUT', `/v1/devices/${two}/labels`, { labels: { zone, tier: 'edge' } });
    await labels('north');
    expect(await outcomes(await pushModule())).toEqual([refused, refused]);
    await labels('west');
    expect(await outcomes(await pushModule())).toEqual([refused, 'installed']);
    for (const policy of policies) await remove(policy);
    expect(await outcomes(await pushModule())).toEqual(['installed', 'installed']);
  });

  test('matches a policy by its label selector at the time of the request', async () => {
    const policy = await createPolicy({ selector: 'zone in (north,west),!beta', publisherKeys: [first.id] });
    expect(policy.body).toMatchObject({ device: null, labels: null, selector: 'zone in (north,west),!beta' });
    const labels = (given: Record<string, string>) => service.request('PUT', `/v1/devices/${two}/labels`, { labels: given });
    await labels({ zone: 'west' });
    expect(await outcomes(await pushModule())).toEqual([refused, refused]);
    await labels({ zone: 'west', beta: 'yes' });
    expect(await outcomes(await pushModule())).toEqual([refused, 'installed']);
    await labels({});
    await remove(policy);
    const negative = await createPolicy({ selector: 'zone!=north', publisherKeys: [first.id] });
    expect(await outcomes(await pushModule())).toEqual(['installed', refused]);
    await remove(negative);
    const [removed] = itemsOf(await service.get(`/v1/audit?object=${negative.body.id}&action=signature-policy.removed`));
    expect(removed?.['detail']).toMatchObject({ selector: 'zone!=north' });
  });

  test('requires signatures only for the module of the policy', async () => {
    const [module, other] = [await pushModule(), await pushModule()];
    const policy = await createPolicy({ labels: { zone: 'north' }, module, publisherKeys: [first.id] });
    expect(await outcomes(module)).toEqual([refused, 'installed']);
    expect(await outcomes(other)).toEqual(['installed', 'installed']);
    await remove(policy);
  });

  test('requires as many signatures as the threshold', async () => {
    const module = await pushModule();
    const publisherKeys = [first.id, second.id];
    const policies = [await createPolicy({ device: one, publisherKeys }), await createPolicy({ device: two, publisherKeys, threshold: 1 })];
    expect(policies.map(({ body }) => body.threshold)).toEqual([2, 1]);
    expect(await outcomes(module)).toEqual([refused, refused]);
    await third.sign(module, '1.0.0');
    expect(await outcomes(module)).toEqual([refused, refused]);
    await first.sign(module, '1.0.0');
    expect(await outcomes(module)).toEqual([refused, 'installed']);
    await second.sign(module, '1.0.0');
    expect((await outcomes(module))[0]).toBe('installed');
    for (const policy of policies) await remove(policy);
  });

  test('requires the signatures of each of several policies', async () => {
    const module = await pushModule();
    const policies = [
      await createPolicy({ device: one, publisherKeys: [first.id] }),
      await createPolicy({ labels: { zone: 'north' }, module, publisherKeys: [second.id] }),
    ];
    await first.sign(module, '1.0.0');
    expect((await outcomes(module))[0]).toBe(refused);
    await second.sign(module, '1.0.0');
    expect((await outcomes(module))[0]).toBe('installed');
    for (const policy of policies) await remove(policy);
  });

  test('ignores the signature of a revoked key', async () => {
    const publisher = await new Publisher(service, 'dismissed').register();
    const policies = [
      await createPolicy({ device: one, publisherKeys: [publisher.id, first.id], threshold: 1 }),
      await createPolicy({ device: two, publisherKeys: [publisher.id] }),
    ];
    const module = await pushModule();
    await publisher.sign(module, '1.0.0');
    await publisher.revoke();
    expect(await outcomes(module)).toEqual([refused, refused]);
    await first.sign(module, '1.0.0');
    expect(await outcomes(module)).toEqual(['installed', refused]);
    for (const policy of policies) await remove(policy);
  });
});

test('an order contains exactly the demands on its load', async () => {
  const agent = new Agent(service);
  await agent.register('played', ['played-1']);
  await agent.connect();
  const [attach] = await agent.order('attach-device');
  const device = attach?.device ?? '';
  const module = await pushModule();
  const policy = await createPolicy({ name: 'played', device, publisherKeys: [first.id, second.id], threshold: 1 });
  await createPolicy({ labels: { zone: 'nowhere' }, publisherKeys: [third.id] });
  const request = () => service.post('/v1/loads', { module, version: '1.0.0', devices: [device] });
  await request();
  await remove(policy);
  await request();
  const demands = (await agent.order('load', 2)).map((order) => order.kind === 'load' && order.demands);
  expect(demands).toEqual([
    [{ policy: policy.body.id, name: 'played', publicKeys: [first.publicKey, second.publicKey], threshold: 1 }],
    [],
  ]);
  agent.disconnect();
});

describe('a policy', () => {
  const content = () => ({ name: 'replaced', labels: { zone: 'nowhere', tier: 'edge' }, publisherKeys: [first.id, second.id] });
  const put = (policy: Created, body: RequestSchema<'NewSignaturePolicy'>, headers: Record<string, string> = {}) =>
    service.put(`/v1/signature-policies/${policy.body.id}`, body, headers);

  test('is replaced only if it is unchanged since it was read, and audited with its previous content', async () => {
    const policy = await createPolicy(content());
    expect(policy.body).toEqual({
      id: expect.stringMatching(/^sgp_[0-9a-f]{32}$/),
      ...content(),
      device: null,
      selector: null,
      group: null,
      module: null,
      threshold: 2,
      createdAt: expect.any(String),
    });
    const path = policy.headers.get('location') ?? '';
    const read = await service.get(path);
    expect(read.body).toEqual(policy.body);
    expect((await service.get(path, { 'if-none-match': etagOf(read) })).status).toBe(304);
    const next = { name: 'renamed', device: one, module: 'tcp', publisherKeys: [first.id], threshold: 1 };
    expect(await put(policy, next, { 'if-match': '"other"' })).toMatchObject(problem(412, 'precondition-failed', 'read it again'));
    const replaced = await put(policy, next, { 'if-match': etagOf(read) });
    expect(replaced).toMatchObject({ status: 200, body: { ...next, labels: null, createdAt: policy.body.createdAt } });
    expect(etagOf(replaced)).toBe(etagOf(await service.get(path)));
    expect(await put(policy, content(), { 'if-match': etagOf(read) })).toMatchObject({ status: 412 });
    expect((await put(policy, next)).body).toEqual(replaced.body);
    expect(await remove(policy, { 'if-match': etagOf(read) })).toMatchObject({ status: 412 });
    expect((await remove(policy, { 'if-match': etagOf(replaced) })).status).toBe(204);
    expect((await service.get(path)).status).toBe(404);
    expect((await remove(policy)).status).toBe(404);
    const before = { name: 'replaced', labels: 'tier=edge,zone=nowhere', publisherKeys: `${first.id},${second.id}`, threshold: '2' };
    const after = { name: 'renamed', device: one, module: 'tcp', publisherKeys: first.id, threshold: '1' };
    expect(itemsOf(await service.get(`/v1/audit?object=${policy.body.id}`)).map(({ action, detail }) => [action, detail])).toEqual([
      ['signature-policy.removed', after],
      ['signature-policy.replaced', { before, after }],
      ['signature-policy.created', before],
    ]);
  });

  test('is rejected if it is invalid', async () => {
    const revoked = await new Publisher(service, 'revoked').register();
    await revoked.revoke();
    const unknown = 'pub_00000000000000000000000000000000';
    const wrong: [object, string][] = [
      [{ publisherKeys: [first.id] }, ''],
      [{ device: one, labels: { zone: 'north' }, publisherKeys: [first.id] }, ''],
      [{ labels: {}, publisherKeys: [first.id] }, '/labels'],
      [{ device: one, selector: 'zone', publisherKeys: [first.id] }, ''],
      [{ selector: 'zone in north', publisherKeys: [first.id] }, '/selector'],
      [{ device: 'dev_00000000000000000000000000000000', publisherKeys: [first.id] }, '/device'],
      [{ device: one, publisherKeys: [] }, '/publisherKeys'],
      [{ device: one, publisherKeys: [first.id, first.id] }, '/publisherKeys'],
      [{ device: one, publisherKeys: Array(21).fill(first.id) }, '/publisherKeys'],
      [{ device: one, publisherKeys: [first.id, unknown] }, '/publisherKeys/1'],
      [{ device: one, publisherKeys: [revoked.id] }, '/publisherKeys/0'],
      [{ device: one, publisherKeys: [first.id], threshold: 2 }, '/threshold'],
      [{ device: one, publisherKeys: [first.id], threshold: 0 }, '/threshold'],
    ];
    const policy = await createPolicy({ ...content(), name: 'right' });
    for (const [body, pointer] of wrong)
      for (const response of [
        await service.postRaw('/v1/signature-policies', { name: 'wrong', ...body }),
        await service.request('PUT', `/v1/signature-policies/${policy.body.id}`, { name: 'wrong', ...body }),
      ])
        expect([body, response]).toMatchObject([
          body,
          { status: 422, body: { errors: expect.arrayContaining([expect.objectContaining({ pointer })]) } },
        ]);
    expect(await service.post('/v1/signature-policies', { ...content(), name: 'right' })).toMatchObject(
      problem(409, 'name-taken', 'choose another'),
    );
    expect((await put(policy, { ...content(), name: 'right' })).status).toBe(200);
    await remove(policy);
  });

  test('is rejected above the limit of 100', async () => {
    const existing = itemsOf(await service.get('/v1/signature-policies?limit=200')).length;
    const names = Array.from({ length: 100 - existing }, (_, index) => `one-of-${index}`);
    for (const name of names) await createPolicy({ ...content(), name });
    expect(await service.post('/v1/signature-policies', content())).toMatchObject(problem(409, 'too-many-policies', 'Remove one first'));
  });
});
