// Label edits of several devices: set and remove, in bounded transactions, without losing other labels.

import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { editLabels } from '../../../src/service/devices/label-edits.ts';
import { bearer, itemsOf, joinToken, TestService } from '../test-service.ts';

const service = new TestService();
const count = 250;
const nameAt = (index: number) => `many-${String(index).padStart(3, '0')}`;
const registration = {
  name: 'rack',
  bootId: randomUUID(),
  capacity: 300,
  devices: Array.from({ length: count }, (_, index) => ({ name: nameAt(index), labels: { rack: 'seven', beta: 'yes' }, ramPages: 64 })),
};

beforeAll(async () => {
  await service.start();
  expect((await service.post('/agent/v1/hosts', registration, bearer(joinToken))).status).toBe(201);
});
afterAll(() => service.close());

const edit = (body: object, headers: Record<string, string> = {}) => service.postRaw('/v1/devices/labels', body, headers);
async function labelsOf(name: string): Promise<unknown> {
  const [device] = itemsOf(await service.get(`/v1/devices?name=${name}`));
  return device?.labels;
}
const countWith = async (selector: string) => {
  let [matching, cursor] = [0, ''];
  do {
    const page = await service.get(`/v1/devices?limit=200&${new URLSearchParams({ selector, ...(cursor === '' ? {} : { cursor }) })}`);
    matching += itemsOf(page).length;
    cursor = page.body.next ?? '';
  } while (cursor !== '');
  return matching;
};

test('edits the labels of more devices than one transaction takes, audits each, and can be repeated', async () => {
  const body = { selector: 'rack=seven', set: { zone: 'north' }, remove: ['beta'] };
  const preview = await edit({ ...body, dryRun: true });
  expect(preview).toMatchObject({ status: 200, body: { unchanged: 0, dryRun: true } });
  expect(preview.body['devices']).toHaveLength(count);
  expect(await labelsOf(nameAt(0))).toEqual({ rack: 'seven', beta: 'yes' });
  const edited = await edit(body);
  expect(edited).toMatchObject({ status: 200, body: { unchanged: 0, dryRun: false } });
  expect(edited.body['devices']).toHaveLength(count);
  expect(await labelsOf(nameAt(count - 1))).toEqual({ rack: 'seven', zone: 'north' });
  expect(await countWith('zone=north,!beta')).toBe(count);
  const [event] = itemsOf(await service.get('/v1/audit?action=device.relabelled&limit=1'));
  expect(event?.['detail']).toEqual({ before: { rack: 'seven', beta: 'yes' }, after: { rack: 'seven', zone: 'north' } });
  expect(await edit(body)).toMatchObject({ status: 200, body: { devices: [], unchanged: count } });
});

test('the host does not change edited labels when it registers again', async () => {
  await edit({ devices: [nameAt(1)], set: { owner: 'operators' } });
  expect((await service.post('/agent/v1/hosts', { ...registration, bootId: randomUUID() }, bearer(joinToken))).status).toBe(201);
  expect(await labelsOf(nameAt(1))).toMatchObject({ owner: 'operators', zone: 'north' });
});

test('selects by labels and by a group, and replays a repeated request', async () => {
  await service.post('/v1/groups', { name: 'owned', selector: 'owner' });
  const key = { 'idempotency-key': randomUUID() };
  const edited = await edit({ group: 'owned', set: { tier: 'edge' } }, key);
  expect(edited.body['devices']).toHaveLength(1);
  expect((await edit({ group: 'owned', set: { tier: 'edge' } }, key)).body).toEqual(edited.body);
  expect((await edit({ labels: { tier: 'edge' }, remove: ['tier'] })).body['devices']).toHaveLength(1);
  expect(await edit({ labels: { tier: 'edge' }, remove: ['tier'] })).toMatchObject({
    status: 422,
    body: { errors: [{ pointer: '/labels' }] },
  });
});

test('rejects an edit that exceeds the limit of labels, and changes no device', async () => {
  const full = Object.fromEntries(Array.from({ length: 16 }, (_, index) => [`key-${index}`, 'x']));
  await service.put(`/v1/devices/${await idOf(nameAt(200))}/labels`, { labels: full });
  // The full device is not in the first transaction.
  const devices = [...Array.from({ length: 120 }, (_, index) => nameAt(index)), nameAt(200)];
  expect(await edit({ devices, set: { more: 'yes' } })).toMatchObject({
    status: 422,
    body: { errors: [{ pointer: '/set', detail: expect.stringContaining(`limit exceeded (16 labels per device) on ${nameAt(200)}:`) }] },
  });
  expect(await countWith('more')).toBe(0);
  expect(await labelsOf(nameAt(200))).toEqual(full);
  expect(await edit({ devices, set: { more: 'yes' }, remove: ['key-0'] })).toMatchObject({ status: 200 });
  expect(await countWith('more')).toBe(121);
  expect(await labelsOf(nameAt(200))).toEqual({ ...full, 'key-0': undefined, more: 'yes' });
});

const idOf = async (name: string) => itemsOf(await service.get(`/v1/devices?name=${name}`))[0]?.id ?? '';

test.each([
  [{ devices: ['many-000'] }, ''],
  [{ devices: ['many-000'], set: { x: 'y' }, remove: ['x'] }, '/remove'],
  [{ set: { x: 'y' } }, ''],
  [{ devices: ['unknown'], set: { x: 'y' } }, '/devices/0'],
  [{ devices: ['many-000'], set: { 'not a key': 'y' } }, '/set/not a key'],
  [{ devices: ['many-000'], remove: ['NOT'] }, '/remove/0'],
  [{ devices: ['many-000'], remove: Array.from({ length: 101 }, (_, index) => `key-${index}`) }, '/remove'],
])('%j is rejected', async (body, pointer) => {
  expect(await edit(body)).toMatchObject({ status: 422, body: { errors: [{ pointer }] } });
});

test('a problem with an invalid key says what a key is', async () => {
  const { body } = await edit({ devices: ['many-000'], set: { 'not a key': 'y' } });
  expect(body).toMatchObject({ errors: [{ detail: expect.stringContaining('a label key is 1 to 63 of a-z, 0-9') }] });
});

const keys = ['a', 'b', 'c', 'd'];
const key = fc.constantFrom(...keys);
const labels = fc.dictionary(key, fc.constantFrom('1', '2'), { noNullPrototype: true });

test('an edit has the labels that it sets, none that it removes, and all others; a second time it has no effect', () => {
  fc.assert(
    fc.property(labels, labels, fc.array(key), (before, set, removed) => {
      const remove = removed.filter((one) => set[one] === undefined);
      const after = editLabels(before, { set, remove });
      for (const one of keys) expect(after[one]).toBe(set[one] ?? (remove.includes(one) ? undefined : before[one]));
      expect(editLabels(after, { set, remove })).toEqual(after);
    }),
  );
});
