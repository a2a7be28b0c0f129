// Pushes of real compiler output. A rejection is a 422 that says what to change, never a 500.

import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { itemsOf, prebuiltModule, TestService } from '../test-service.ts';
import type { RequestSchema } from '../typed-paths.ts';

const service = new TestService();
beforeAll(() => service.start());
afterAll(() => service.close());

const pushBytes = (module: string, bytes: Uint8Array, query = '') =>
  service.request('POST', `/v1/modules/${module}/builds?version=1.0.0${query}`, new Uint8Array(bytes), {
    'content-type': 'application/wasm',
  });
const pushSource = (module: string, body: Omit<RequestSchema<'NewBuild'>, 'version'>) =>
  service.post(`/v1/modules/${module}/builds`, { version: '1.0.0', ...body });

test('accepts a malformed custom section after a valid module', async () => {
  const section = [0x00, 0x0b, 0x04, 0x6e, 0x61, 0x6d, 0x65, 0x01, 0x04, 0x05, 0x00, 0x01, 0x61];
  expect(await pushBytes('named', new Uint8Array([...prebuiltModule, ...section]))).toMatchObject({ status: 201 });
});

test('stores, lists, compares and loads two versions with 10,000 exports each', async () => {
  service.startHost('large', 1);
  await service.connectedDevices(1);
  const device = await service.post('/v1/devices', { name: 'large-memory', ramPages: 2_048 });
  const devices = [String(device.body.id)];
  const names = (prefix: string, count: number) => Array.from({ length: count }, (_, index) => `${prefix}${index}`.padEnd(40, '-'));
  const imports = names('i', 1_000).map((name) => `(import "other" "${name}" (func))`);
  for (const [version, parameters] of [
    ['1.0.0', ''],
    ['1.1.0', '(param i32)'],
  ] as const) {
    const functions = names('e', 10_000).map((name, index) => `(func (export "${name}") ${parameters} (call ${index % 1_000}))`);
    expect((await service.push('large', version, `(module ${imports.join('')} ${functions.join('')})`)).status).toBe(201);
    const [load] = await service.load('large', version, devices, { similarityPolicy: 'warn', linkPolicy: 'warn' });
    expect(load).toMatchObject({ reason: null, outcome: version === '1.0.0' ? 'installed' : 'replaced' });
  }
  const builds = itemsOf(await service.get('/v1/modules/large/builds'));
  expect(builds.map((build) => JSON.stringify(build.interface).match(/"name":/g)?.length)).toEqual([11_000, 11_000]);
});

test.each<[string, Uint8Array, string, string]>([
  ['a component', new Uint8Array([0, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0]), 'not-webassembly', 'expected a core module, received a component'],
  ['a compressed module', gzipSync(prebuiltModule), 'not-webassembly', 'gzip'],
  ['a module cut off', prebuiltModule.slice(0, -3), 'not-webassembly', 'WebAssembly.Module()'],
])('rejects %s with 422', async (_title, bytes, type, message) => {
  const refused = await pushBytes('foreign', bytes);
  expect(refused).toMatchObject({
    status: 422,
    body: { type: `urn:patchbay:problem:${type}`, diagnostics: [{ message: expect.stringContaining(message) }] },
  });
});

test.each([
  [
    'a memory past the limit',
    { language: 'wat', source: '(module (memory 1025) (func (export "f")))' },
    'unsupported-module',
    'the limit is 1,024',
  ],
  [
    'parentheses past the limit',
    { language: 'wat', source: `(module (func (export "f") ${'(block '.repeat(100_000)}${')'.repeat(100_000)}))` },
    'malformed-source',
    'the limit is 25,000',
  ],
  [
    "AssemblyScript's own import",
    { language: 'assemblyscript', source: 'export function f(): f64 { return Math.random(); }' },
    'unsupported-module',
    'Math.random()',
  ],
])('rejects %s with 422', async (_title, body, type, message) => {
  expect(await service.postRaw('/v1/modules/past/builds', { version: '1.0.0', ...body })).toMatchObject({
    status: 422,
    body: { type: `urn:patchbay:problem:${type}`, diagnostics: [{ message: expect.stringContaining(message) }] },
  });
});

test('compiles with the requested SIMD feature and concurrency', async () => {
  const source = 'export function f(a: i32): i32 { return i32x4.extract_lane(i32x4.splat(a), 3); }';
  expect(await pushSource('lanes', { language: 'assemblyscript', source })).toMatchObject({ status: 422 });
  const chosen: Omit<RequestSchema<'NewBuild'>, 'version'> = {
    language: 'assemblyscript',
    source,
    features: ['simd'],
    concurrency: 'exclusive',
  };
  const options = { concurrency: 'exclusive', features: ['simd'] };
  expect(await pushSource('lanes', chosen)).toMatchObject({ status: 201, body: { options } });
  expect(await pushSource('lanes', chosen)).toMatchObject({ status: 200, body: { options } });
  // Other options make another build.
  expect(await pushSource('lanes', { ...chosen, concurrency: 'shared' })).toMatchObject({ status: 409 });
  expect(await service.postRaw('/v1/modules/lanes/builds', { ...chosen, version: '1.0.0', features: ['threads'] })).toMatchObject({
    status: 422,
  });
  expect(await pushBytes('prebuilt', prebuiltModule, '&concurrency=exclusive')).toMatchObject({ status: 201 });
});
