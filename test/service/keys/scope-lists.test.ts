// Lists with a key that has a scope, for any labels and scopes: they have the devices that match, and the objects whose devices all match.

import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { formatLabelSelector, type LabelSelector, matchesLabelSelector, uniteSelectors } from '../../../src/protocol/label-selector.ts';
import { bearer, itemsOf, joinToken, TestService, workModule } from '../test-service.ts';

const service = new TestService();
const names = Array.from({ length: 8 }, (_, index) => `device-${index}`);
const ids: string[] = [];
/** Batches and rollouts, by the indexes of their devices. */
const groups: readonly (readonly number[])[] = [
  [0, 1],
  [2, 3, 4],
  [5, 6],
  [0, 7],
  [1, 2, 3, 4, 5, 6, 7],
  [6, 7],
];
const batches: string[] = [];
const rollouts: string[] = [];

beforeAll(async () => {
  await service.start();
  const devices = names.map((name) => ({ name, labels: {}, ramPages: 64 }));
  const registration = { name: 'rack', bootId: randomUUID(), capacity: 10, devices };
  expect((await service.post('/agent/v1/hosts', registration, bearer(joinToken))).status).toBe(201);
  for (const { id } of itemsOf(await service.get('/v1/devices?sort=name'))) ids.push(id);
  await service.push('tcp', '1.0.0', workModule(1));
  for (const group of groups) {
    const load = { module: 'tcp', version: '1.0.0', devices: group.map((index) => ids[index] ?? '') };
    batches.push(String((await service.post('/v1/loads', load)).body.batch));
    rollouts.push(
      String((await service.postRaw('/v1/rollouts', { ...load, onConflict: 'queue', startAt: '2090-01-01T00:00:00Z' })).body['id']),
    );
  }
});
afterAll(() => service.close());

const key = fc.constantFrom('zone', 'tier', 'beta');
const value = fc.constantFrom('north', 'south', '', 'x');
const labels = fc.dictionary(key, value, { maxKeys: 3 });
const requirement = fc.record({
  key,
  values: fc.option(fc.uniqueArray(value, { minLength: 1, maxLength: 3 })),
  isNegated: fc.boolean(),
});
const selector: fc.Arbitrary<LabelSelector> = fc.array(requirement, { minLength: 1, maxLength: 3 });
const scope = fc.array(selector, { minLength: 1, maxLength: 3 }).map(uniteSelectors);

/** Returns the identifiers of a list, read in pages of two. */
async function readAll(path: string, headers: Record<string, string>): Promise<string[]> {
  const found: string[] = [];
  for (let next: string | null = `${path}${path.includes('?') ? '&' : '?'}limit=2`; next !== null; ) {
    const page = await service.request('GET', next, undefined, headers);
    found.push(...itemsOf(page).map(({ id }) => String(id)));
    next = /^<(.+)>/.exec(page.headers.get('link') ?? '')?.[1] ?? null;
  }
  return found;
}

test('every list has exactly what matches the scope', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(labels, { minLength: names.length, maxLength: names.length }), scope, async (labelling, allowed) => {
      await Promise.all(labelling.map((each, index) => service.put(`/v1/devices/${ids[index]}/labels`, { labels: each })));
      const { body } = await service.post('/v1/keys', { name: randomUUID(), role: 'viewer', scope: formatLabelSelector(allowed) });
      const headers = bearer(String(body.secret));
      const isInScope = (index: number) => matchesLabelSelector(allowed, new Map(Object.entries(labelling[index] ?? {})));
      const ofGroups = (all: readonly string[]) => all.filter((_, group) => groups[group]?.every(isInScope));
      expect(await readAll('/v1/devices?sort=name', headers)).toEqual(ids.filter((_, index) => isInScope(index)));
      expect(await readAll('/v1/load-batches?order=asc', headers)).toEqual(ofGroups(batches));
      expect(await readAll('/v1/rollouts?order=asc', headers)).toEqual(ofGroups(rollouts));
      const loads = groups.flat().filter(isInScope);
      expect(await readAll('/v1/loads', headers)).toHaveLength(loads.length);
      const statuses = await Promise.all(ids.map(async (id) => (await service.get(`/v1/devices/${id}`, headers)).status === 200));
      expect(statuses).toEqual(ids.map((_, index) => isInScope(index)));
    }),
    { numRuns: 25 },
  );
});
