// Builds over HTTP: pushes in every form, rejections and downloads.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { digestOf } from '../../../src/machine/digest.ts';
import { bearer, itemsOf, prebuiltModule, TestService, workModule } from '../test-service.ts';

const service = new TestService();
beforeAll(() => service.start());
afterAll(() => service.close());

const problem = (type: string) => `urn:patchbay:problem:${type}`;

test('pushes a source, and finds and lists the build', async () => {
  const source = 'export function add(a: i32, b: i64): i64 { return b + a; }';
  const pushed = await service.push('math', '1.0.0', source, 'assemblyscript');
  expect(pushed.status).toBe(201);
  expect(pushed.headers.get('location')).toBe('/v1/modules/math/builds/1.0.0');
  expect(pushed.body).toMatchObject({
    id: expect.stringMatching(/^bld_[0-9a-f]{32}$/),
    module: 'math',
    version: '1.0.0',
    language: 'assemblyscript',
    sourceDigest: digestOf(source),
    interface: { exports: [{ name: 'add', parameters: ['i32', 'i64'], results: ['i64'] }], imports: [] },
    warnings: [],
  });
  const { warnings: _, ...build } = pushed.body;
  expect((await service.get('/v1/modules/math/builds/1.0.0')).body).toEqual({ ...build, imports: [], dependents: [] });
  expect(itemsOf(await service.get('/v1/modules/math/builds'))).toEqual([build]);
  expect(itemsOf(await service.get('/v1/modules'))).toContainEqual({ name: 'math', builds: 1, lastBuildAt: build.createdAt });
});

test('the same source under the same version is the same build; another source is rejected', async () => {
  const first = await service.push('same', '1.0.0', workModule(0));
  const again = await service.push('same', '1.0.0', workModule(0));
  expect(again).toMatchObject({ status: 200, body: { id: first.body.id } });
  expect(await service.push('same', '1.0.0', workModule(1))).toMatchObject({ status: 409, body: { type: problem('version-exists') } });
  expect(itemsOf(await service.get('/v1/modules/same/builds'))).toHaveLength(1);
});

test('one of two concurrent pushes of a version creates the build', async () => {
  const responses = await Promise.all([workModule(0), workModule(0), workModule(1)].map((source) => service.push('race', '1.0.0', source)));
  expect(responses.filter(({ status }) => status === 201)).toHaveLength(1);
  expect(itemsOf(await service.get('/v1/modules/race/builds'))).toHaveLength(1);
});

test('pushes a prebuilt module and downloads its image', async () => {
  const pushed = await service.request('POST', '/v1/modules/prebuilt/builds?version=2.0.0-rc.1%2B7', prebuiltModule, {
    'content-type': 'application/wasm',
  });
  expect(pushed).toMatchObject({ status: 201, body: { language: 'wasm', version: '2.0.0-rc.1+7' } });
  const location = pushed.headers.get('location') ?? '';
  expect(await service.get(location)).toMatchObject({ status: 200, body: { id: pushed.body['id'] } });
  const image = await fetch(`${service.url}${location}/image`, { headers: bearer(service.key) });
  expect(image.headers.get('content-type')).toBe('application/wasm');
  const digest = digestOf(new Uint8Array(await image.arrayBuffer()));
  expect(pushed.body).toMatchObject({ image: { digest } });
  expect(image.headers.get('etag')).toBe(`"${digest}"`);
  expect((await service.get(`${location}/image`, { 'if-none-match': `"${digest}"` })).status).toBe(304);
});

test('assigns next versions, each once', async () => {
  const version = async (wanted: string, plus: number) => (await service.push('assigned', wanted, workModule(plus))).body.version;
  expect(await version('next-minor', 0)).toBe('1.0.0');
  expect(await version('next-patch', 1)).toBe('1.0.1');
  expect(await version('next-minor', 2)).toBe('1.1.0');
  expect(await version('2.0.0-rc.1', 3)).toBe('2.0.0-rc.1');
  expect(await version('next-major', 4)).toBe('2.0.0');
  const responses = await Promise.all([5, 6, 7, 8].map((plus) => version('next-patch', plus)));
  expect(responses.toSorted()).toEqual(['2.0.1', '2.0.2', '2.0.3', '2.0.4']);
});

test('warns of exports that devices do not support', async () => {
  const pushed = await service.push(
    'warned',
    '1.0.0',
    '(module (global (export "count") i32 (i32.const 1)) (func (export "f") (result i32) (i32.const 0)))',
  );
  expect(pushed.body.warnings).toEqual([expect.objectContaining({ severity: 'warning', message: expect.stringContaining('"count"') })]);
});

const good = { version: '1.0.0', language: 'wat', source: workModule(0) };

test.each([
  [
    'a malformed source',
    { ...good, language: 'assemblyscript', source: 'export function f(: i32' },
    'malformed-source',
    { diagnostics: [{ message: 'Identifier expected.', file: 'bad.ts', line: 1, column: 18 }] },
  ],
  ['malformed text', { ...good, source: '(module (fun))' }, 'malformed-source', { diagnostics: [{ line: 1, column: 9 }] }],
  [
    'a module that a device cannot run',
    { ...good, source: '(module (import "env" "x" (func $x)) (func (export "f") (call $x)))' },
    'unsupported-module',
    { diagnostics: [{ message: expect.stringContaining('"env" "x" is unknown') }] },
  ],
  [
    'an unknown language',
    { ...good, language: 'cobol' },
    'invalid-value',
    { errors: [{ in: 'body', pointer: '/language', detail: expect.stringContaining('assemblyscript') }] },
  ],
  [
    'a version that is not semver',
    { ...good, version: '1.x' },
    'invalid-value',
    { errors: [{ in: 'body', pointer: '/version', detail: expect.stringContaining('1.4.2') }] },
  ],
  ['a version with a v', { ...good, version: 'v1.0.0' }, 'invalid-value', { errors: [{ pointer: '/version' }] }],
  [
    'a value of the wrong type',
    { ...good, version: 1 },
    'invalid-value',
    { errors: [{ pointer: '/version', detail: expect.stringContaining('expected string') }] },
  ],
  ['a missing property', { version: '1.0.0', language: 'wat' }, 'invalid-value', { errors: [{ pointer: '/source' }] }],
  ['an unknown property', { ...good, sauce: '' }, 'invalid-value', { errors: [{ pointer: '/sauce' }] }],
  [
    'a source of more than 1 MiB',
    { ...good, source: ' '.repeat(1024 * 1024 + 1) },
    'invalid-value',
    { errors: [{ pointer: '/source', detail: expect.stringContaining('1048576') }] },
  ],
  ['an empty source', { ...good, source: '' }, 'invalid-value', { errors: [{ pointer: '/source' }] }],
  ['a body that is not an object', [good], 'invalid-value', {}],
])('rejects %s and stores nothing', async (_title, body, type, facts) => {
  const response = await service.postRaw('/v1/modules/bad/builds', body);
  expect(response).toMatchObject({ status: 422, body: { type: problem(type), status: 422, detail: expect.any(String), ...facts } });
  expect(response.headers.get('content-type')).toBe('application/problem+json');
  expect(response.body['instance']).toBe(response.headers.get('x-request-id'));
  expect(itemsOf(await service.get('/v1/modules/bad/builds'))).toEqual([]);
});

test.each([
  ['bytes that are not WebAssembly', '?version=1.0.0', new Uint8Array([1, 2, 3]), 'application/wasm', 422, 'not-webassembly'],
  ['an empty body', '?version=1.0.0', new Uint8Array(), 'application/wasm', 422, 'not-webassembly'],
  ['a module without a version', '', prebuiltModule, 'application/wasm', 422, 'invalid-value'],
  ['an unknown query parameter', '?version=1.0.0&colour=red', prebuiltModule, 'application/wasm', 422, 'invalid-value'],
  ['a body of 5 MiB', '?version=1.0.0', new Uint8Array(5 * 1024 * 1024), 'application/wasm', 413, 'too-large'],
  ['a source of 5 MiB', '', JSON.stringify({ ...good, source: ' '.repeat(5 * 1024 * 1024) }), 'application/json', 413, 'too-large'],
  ['malformed JSON', '', '{"version":', 'application/json', 400, 'malformed-request'],
  ['another media type', '', 'version: 1.0.0', 'application/yaml', 415, 'unsupported-media-type'],
])('rejects %s and stores nothing', async (_title, query, body, contentType, status, type) => {
  const response = await service.request('POST', `/v1/modules/bad/builds${query}`, body, { 'content-type': contentType });
  expect(response).toMatchObject({ status, body: { type: problem(type), status } });
  expect(itemsOf(await service.get('/v1/modules/bad/builds'))).toEqual([]);
});

test.each([
  ['kernel', 'a name the system keeps for itself'],
  ['Tcp', 'must be 1 to 63 of a-z'],
  ['a'.repeat(64), 'must be 1 to 63'],
])('rejects the module name %s', async (module, reason) => {
  expect(await service.push(module, '1.0.0', workModule(0))).toMatchObject({
    status: 422,
    body: { errors: [{ in: 'path', pointer: '/module', detail: expect.stringContaining(reason) }] },
  });
});

test('responds 404 for unknown builds and images', async () => {
  for (const path of ['/v1/modules/none/builds/1.0.0', '/v1/modules/none/builds/1.0.0/image']) {
    expect(await service.get(path)).toMatchObject({
      status: 404,
      body: { type: problem('not-found'), detail: 'build none@1.0.0 does not exist' },
    });
  }
});

test('rejects a next version above the limit', async () => {
  const highest = '9007199254740991.0.0';
  expect((await service.push('last', highest, workModule(1))).status).toBe(201);
  const rejected = await service.push('last', 'next-major', workModule(2));
  expect(rejected).toMatchObject({
    status: 422,
    body: {
      errors: [{ pointer: '/version', detail: expect.stringContaining(`no next-major after ${highest}, the highest version of last`) }],
    },
  });
  expect(itemsOf(await service.get('/v1/modules/last/builds'))).toMatchObject([{ version: highest }]);
});
