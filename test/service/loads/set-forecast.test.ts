// Compares forecasts of loads of patch sets with their outcomes on a real host.

import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { LoadPolicy } from '../../../src/protocol/load-report.ts';
import { Store } from '../../../src/service/database/store.ts';
import { type Forecast, forecastLoads } from '../../../src/service/loads/forecast.ts';
import { Records } from '../records.ts';
import { type LoadPolicy as RequestedPolicy, TestService, until } from '../test-service.ts';

const service = new TestService();
let store: Store;
let device = '';
let sets = 0;

beforeAll(async () => {
  await service.start();
  service.startHost('host', 1);
  [device = ''] = await service.connectedDevices(1);
  store = await Store.open(service.database);
});
afterAll(async () => {
  await store.close();
  await service.close();
});

type Builds = Readonly<Record<string, string>>;

/** Returns the forecast of a load of these builds, by module. */
async function forecastOf(named: Builds, policy: RequestedPolicy): Promise<Forecast> {
  const how = LoadPolicy.parse({ strategy: 'inject', invalidation: 'nx', linkPolicy: 'require', ...policy });
  const { builds } = new Records(store.readConnection);
  const found = await Promise.all(Object.entries(named).map(([module, version]) => builds.find(module, version)));
  const members = found.flatMap((build) => build ?? []).toSorted((left, right) => (left.module < right.module ? -1 : 1));
  const content = { patchSet: { version: '1.0.0' }, builds: members };
  const devices = await new Records(store.readConnection).devices.findMany([device]);
  const forecast = (await forecastLoads(store.readConnection, content, devices, how)).get(device);
  if (forecast === undefined) throw new Error('no forecast');
  return forecast;
}

/** Forecasts a load of a new set, runs it, and expects the forecast outcome and reason. Null: the service rejects the set. */
async function fulfilled(named: Builds, policy: RequestedPolicy = {}): Promise<Forecast | null> {
  sets += 1;
  const patchSet = { name: `set-${sets}`, version: '1.0.0' };
  const builds = Object.entries(named).map(([module, version]) => ({ module, version }));
  if ((await service.postRaw('/v1/patch-sets', { ...patchSet, builds })).status === 422) return null;
  const forecast = await forecastOf(named, policy);
  const created = await service.postRaw('/v1/loads', { patchSet, devices: [device], ...policy });
  const path = String(created.headers.get('location')).replace('/v1/loads/', '');
  const load = await until('the load has ended', async () => {
    const { body } = await service.get(`/v1/loads/${path}`);
    return body.outcome !== null && body;
  });
  const { verdict, reason } = forecast;
  const expected = { 'would-install': 'installed', 'would-replace': 'replaced', 'out-of-memory': 'failed' };
  const outcome =
    verdict === 'already-installed' ? 'refused-not-newer' : Object.hasOwn(expected, verdict) ? Object(expected)[verdict] : verdict;
  const says = verdict === 'already-installed' ? 'all members of the patch set are in memory already' : reason;
  expect({ named, policy, outcome: load.outcome, reason: load.reason }).toEqual({ named, policy, outcome, reason: says });
  return forecast;
}

/** Exports `work` of this type, which calls `work` of another module of that type. */
function work(type: string, imported: readonly [module: string, type: string] | null, other = ''): string {
  const [module, ofImport] = imported ?? [];
  const declared = module === undefined ? '' : `(import "${module}" "work" (func $imported (param ${ofImport}) (result ${ofImport})))`;
  const call = module === undefined ? '' : `(drop (call $imported (${ofImport}.const 1)))`;
  return `(module ${declared} (func (export "work") (param ${type}) (result ${type}) ${call} (local.get 0)) ${other})`;
}

test('the members of a set need memory together, and each that loses its state is named', async () => {
  const pages = (count: number, version: number) => `(module (memory 4) (data (i32.const 0) "${version}${'x'.repeat((count - 1) * 4_096)}")
    (global $state (mut i32) (i32.const 0))
    (func (export "work") (param i32) (result i32) (global.set $state (local.get 0)) (i32.load8_u (local.get 0))))`;
  for (const module of ['m', 'n', 'o']) await service.push(module, '1.0.0', pages(25, 1));
  for (const module of ['m', 'n']) await service.push(module, '1.1.0', pages(2, 2));
  expect(await fulfilled({ m: '1.0.0', n: '1.0.0', o: '1.0.0' })).toMatchObject({
    verdict: 'out-of-memory',
    reason: expect.stringMatching(/^out of memory: o@1\.0\.0 needs \d+ contiguous pages/),
  });
  await service.push('m', '0.9.0', pages(2, 3));
  await service.push('n', '0.9.0', pages(2, 4));
  expect(await fulfilled({ m: '0.9.0', n: '0.9.0' })).toMatchObject({ verdict: 'would-install', warnings: [] });
  expect(await fulfilled({ m: '1.1.0', n: '1.1.0' })).toMatchObject({
    verdict: 'would-replace',
    warnings: [
      expect.stringMatching(/^m: 1\.1\.0 starts with fresh state and loses that of 0\.9\.0/),
      expect.stringMatching(/^n: 1\.1\.0 starts with fresh state/),
    ],
  });
});

test('random sets are refused or loaded as forecast, whatever is in memory', async () => {
  const types = { one: 'i32', two: 'i64' };
  const sources: readonly (readonly [module: string, source: string])[] = [
    ['a', work(types.one, null)],
    ['a', work(types.one, ['b', types.one])],
    ['a', work(types.two, ['b', types.one])],
    ['b', work(types.one, null)],
    ['b', work(types.one, ['a', types.one])],
    ['b', work(types.one, ['a', types.two], '(func (export "more"))')],
    ['c', work(types.one, ['a', types.one])],
    ['c', work(types.one, ['a', types.two])],
    ['c', work(types.one, ['d', types.one])],
  ];
  for (const [index, [module, source]] of sources.entries()) expect((await service.push(module, `1.${index}.0`, source)).status).toBe(201);
  const versionsOf = (module: string) => sources.flatMap(([name], index) => (name === module ? [`1.${index}.0`] : []));
  const policies = fc.record({
    strategy: fc.constantFrom('inject' as const, 'drain' as const, 'drain-then-inject' as const),
    similarityPolicy: fc.constantFrom('require' as const, 'off' as const),
    linkPolicy: fc.constantFrom('require' as const, 'warn' as const, 'off' as const),
    versionPolicy: fc.constantFrom('newer' as const, 'different' as const, 'different' as const),
  });
  const some = fc.subarray(['a', 'b', 'c'], { minLength: 2 });
  const builds = some.chain((modules) =>
    fc.record(Object.fromEntries(modules.map((module) => [module, fc.constantFrom(...versionsOf(module))]))),
  );
  const seen = new Set<string>();
  await fc.assert(
    fc.asyncProperty(builds, policies, async (named, policy) => {
      const forecast = await fulfilled(named, policy);
      if (forecast !== null) seen.add(forecast.verdict);
    }),
    { numRuns: 30, endOnFailure: true },
  );
  expect(seen.size).toBeGreaterThan(2);
});

test('a set whose types change cannot drain, and members that are in memory are kept', async () => {
  await service.push('e', '1.0.0', work('i32', null));
  await service.push('e', '2.0.0', work('i64', null));
  await service.push('f', '1.0.0', work('i32', ['e', 'i32']));
  await service.push('f', '2.0.0', work('i32', ['e', 'i64']));
  expect(await fulfilled({ e: '1.0.0', f: '1.0.0' })).toMatchObject({ verdict: 'would-install', current: null });
  const next = { e: '2.0.0', f: '2.0.0' };
  expect(await fulfilled(next, { strategy: 'drain', similarityPolicy: 'off' })).toMatchObject({
    verdict: 'refused-dissimilar',
    reason: 'e@2.0.0 changes the type of work, which f@1.0.0 imports: old and new versions cannot run side by side; use strategy inject',
  });
  expect(await fulfilled(next, { similarityPolicy: 'off' })).toMatchObject({ verdict: 'would-replace' });
  expect(await fulfilled(next)).toMatchObject({ verdict: 'already-installed', current: '1.0.0' });
  await service.push('g', '1.0.0', work('i32', null));
  expect(await fulfilled({ ...next, g: '1.0.0' })).toMatchObject({ verdict: 'would-install' });
});
