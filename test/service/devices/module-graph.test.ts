// The module graph of a device, and the imports and dependents of a build.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { LinkedModule } from '../../../src/machine/isolation/link-policy.ts';
import { buildModuleGraph, graphLimits } from '../../../src/service/devices/module-graph.ts';
import { dependentLimit } from '../../../src/service/modules/dependencies.ts';
import { firstOf, TestService, workModule } from '../test-service.ts';

const service = new TestService();
let device = '';
beforeAll(async () => {
  await service.start();
  service.startHost('host', 1);
  [device = ''] = await service.connectedDevices(1);
});
afterAll(() => service.close());

const importing = (from: string, ...names: string[]) => `(module
  ${names.map((name) => `(import "${from}" "${name}" (func $${name} (param i32) (result i32)))`).join(' ')}
  (func (export "work") (param i32) (result i32) ${names.map((name) => `(drop (call $${name} (local.get 0)))`).join(' ')} (local.get 0)))`;
const push = async (module: string, version: string, source: string, dependencies = {}) => {
  const { status } = await service.post(`/v1/modules/${module}/builds`, { version, language: 'wat', source, dependencies });
  expect(status).toBe(201);
};
const dependentsOf = async (module: string, version: string) => {
  const { body } = await service.get(`/v1/modules/${module}/builds/${version}`);
  return 'dependents' in body ? body.dependents : [];
};

test('a device and its graph show what each module imports, and what is unresolved, also in a cycle', async () => {
  await push('ring', '1.0.0', importing('web', 'work'));
  await push('web', '1.0.0', importing('ring', 'work', 'gone'), { tls: '^2.0.0' });
  for (const module of ['ring', 'web']) await service.load(module, '1.0.0', [device], { linkPolicy: 'off' });
  const [ring, web] = ['ring', 'web'].map((module) => ({ module, version: '1.0.0' }));
  const tls = { module: 'tls', version: null };
  expect((await service.get(`/v1/devices/${device}`)).body).toMatchObject({
    links: [
      { importer: ring, provider: web, range: null, resolved: true },
      { importer: web, provider: ring, range: null, resolved: false },
      { importer: web, provider: tls, range: '^2.0.0', resolved: false },
    ],
    linkCount: 3,
  });
  expect((await service.get(`/v1/devices/${device}/module-graph`)).body).toMatchObject({
    device,
    linkCount: 3,
    modules: [
      {
        ...ring,
        importsKnown: true,
        imports: [{ ...web, range: null, resolved: true, exports: ['work'], exportCount: 1, unresolved: [] }],
        importedBy: [web],
      },
      {
        ...web,
        imports: [
          {
            ...ring,
            resolved: false,
            exports: ['work', 'gone'],
            unresolved: [{ problem: 'missing', importer: web, provider: ring, export: 'gone', expected: '(i32) → i32' }],
            unresolvedLinks: 1,
          },
          { ...tls, range: '^2.0.0', exports: [], exportCount: 0, unresolved: [{ problem: 'out-of-range', range: '^2.0.0' }] },
        ],
        importedBy: [ring],
      },
    ],
  });
});

test('a build shows its imports, and the newest build of each module that depends on it', async () => {
  await push('dns', '1.0.0', workModule(1));
  await push('dns', '2.0.0', workModule(2));
  await push('app', '1.0.0', importing('dns', 'work'));
  await push('app', '1.1.0', importing('dns', 'work'), { dns: '^2.0.0' });
  await push('ranged', '1.0.0', workModule(1), { dns: '1.x' });
  await push('app', '1.2.0', workModule(1));
  expect((await service.get('/v1/modules/app/builds/1.1.0')).body).toMatchObject({
    hasState: false,
    imports: [{ module: 'dns', range: '^2.0.0', exports: ['work'] }],
    dependents: [],
  });
  expect(await dependentsOf('dns', '1.0.0')).toEqual([
    { module: 'ranged', version: '1.0.0', range: '1.x', resolved: true },
    { module: 'app', version: '1.1.0', range: '^2.0.0', resolved: false },
  ]);
});

test('a build shows the newest dependents up to a limit', async () => {
  await push('base', '1.0.0', workModule(1));
  for (let index = 0; index <= dependentLimit; index += 1) await push(`user-${index}`, '1.0.0', workModule(1), { base: '*' });
  expect((await dependentsOf('base', '1.0.0')).map(({ module }) => module)).toEqual(
    Array.from({ length: dependentLimit }, (_, index) => `user-${dependentLimit - index}`),
  );
});

test('a host shows the kinds of orders that it executes', async () => {
  expect(firstOf(await service.get('/v1/hosts')).capabilities).toEqual(expect.arrayContaining(['inject-load', 'cancel-load']));
});

describe('buildModuleGraph', () => {
  const moduleOf = (module: string, imports: string[]): LinkedModule => ({
    module,
    version: '1.0.0',
    dependencies: {},
    interface: {
      exports: [{ name: 'f', parameters: [], results: [] }],
      imports: imports.map((from) => ({ module: from, name: 'f', parameters: [], results: [] })),
    },
  });
  const graphOf = (modules: readonly LinkedModule[], known = modules) =>
    buildModuleGraph(
      modules.map(({ module, version }) => ({ module, version, image: module })),
      new Map(known.map((module) => [module.module, module])),
    );

  test('does not know whether links to a module without a build are resolved', () => {
    const [importer, provider] = [moduleOf('a', ['b', 'kernel']), moduleOf('b', ['c'])];
    const { modules, links } = graphOf([importer, provider], [importer]);
    expect(modules.map(({ isKnown }) => isKnown)).toEqual([true, false]);
    expect(links).toMatchObject([{ provider: { module: 'b', version: '1.0.0' }, resolved: null, unresolved: [] }]);
  });

  test('returns links up to a limit, and counts all', () => {
    const names = Array.from({ length: 50 }, (_, index) => `m${index}`);
    const { links, linkCount } = graphOf(names.map((name) => moduleOf(name, names)));
    expect(linkCount).toBe(2_500);
    expect(links).toHaveLength(graphLimits.links);
    expect(links.every(({ resolved }) => resolved)).toBe(true);
  });
});
