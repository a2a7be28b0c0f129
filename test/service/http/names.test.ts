// Export and import names: accepted names can be stored, listed, called and reported; rejected ones leave nothing.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { nameLimit } from '../../../src/machine/abi.ts';
import { ExportName } from '../../../src/protocol/identifiers.ts';
import { itemsOf, TestService, until } from '../test-service.ts';

const service = new TestService();
let device = '';

beforeAll(async () => {
  await service.start();
  service.startHost('names', 1);
  [device = ''] = await service.connectedDevices(1);
});
afterAll(() => service.close());

/** Returns a name in the WebAssembly text format. */
const quoted = (name: string) => `"${Array.from(Buffer.from(name), (byte) => `\\${byte.toString(16).padStart(2, '0')}`).join('')}"`;
const exporting = (...names: string[]) =>
  `(module (func $f (param i32) (result i32) (local.get 0)) ${names.map((name) => `(export ${quoted(name)} (func $f))`).join(' ')})`;

const accepted = [
  ['the empty name', ''],
  ['a name of 143 characters', 'x'.repeat(143)],
  ['a name of 4 KiB', 'n'.repeat(nameLimit)],
  ['a name of 4 KiB in letters of four bytes', '🙂'.repeat(nameLimit / 4)],
  ['a name with quotes, line breaks and no letters', ' "\\\n\r\t$()😀\u202e'],
  ['__proto__', '__proto__'],
] as const;

test.each(accepted)('a module that exports %s is pushed, listed, loaded, called and reported', async (_, name) => {
  const module = `named-${accepted.findIndex(([, one]) => one === name)}`;
  const pushed = await service.push(module, '1.0.0', exporting(name));
  expect(pushed.status).toBe(201);
  const expected = { exports: [{ name, parameters: ['i32'], results: ['i32'] }], imports: [] };
  expect(pushed.body.interface).toEqual(expected);
  expect((await service.get(`/v1/modules/${module}/builds/1.0.0`)).body.interface).toEqual(expected);
  expect(itemsOf(await service.get(`/v1/modules/${module}/builds`)).map((build) => build.interface)).toEqual([expected]);
  expect(await service.load(module, '1.0.0', [device])).toMatchObject([{ outcome: 'installed' }]);

  // The next version has another export: the report of the load names both.
  expect((await service.push(module, '1.1.0', exporting('other'))).status).toBe(201);
  const refused = await service.load(module, '1.1.0', [device]);
  expect(refused).toMatchObject([{ outcome: 'refused-dissimilar' }]);
  const detail = await service.get(`/v1/loads/${refused[0]?.id}`);
  expect(detail.status).toBe(200);
  expect(JSON.stringify(detail.body)).toContain(JSON.stringify([name]));

  const dryRun = await service.post('/v1/rollouts', { module, version: '1.1.0', devices: [device], dryRun: true });
  expect(dryRun.status).toBe(200);
  const started = await service.post(`/v1/devices/${device}/programs`, { module, export: name, arguments: [7], calls: 1 });
  expect(started.status).toBe(202);
  await until('the program has finished', async () => {
    const program = await service.get(`/v1/devices/${device}/programs/${started.body.id}`);
    return program.body.state === 'finished' && program.body.statistics !== null && program;
  });
  expect((await service.get(`/v1/devices/${device}/history`)).status).toBe(200);
  expect((await service.get(`/v1/devices/${device}`)).status).toBe(200);
});

test('a module can import a name of 4 KiB, and the empty name', async () => {
  const long = 'i'.repeat(nameLimit);
  const text = `(module (import "other" ${quoted(long)} (func $a)) (import "other" "" (func $b)) (func (export "run") (call $a) (call $b)))`;
  const pushed = await service.push('importer', '1.0.0', text);
  expect(pushed.status).toBe(201);
  const listed = itemsOf(await service.get('/v1/modules/importer/builds'));
  expect(listed[0]?.interface).toMatchObject({ imports: [{ name: long }, { name: '' }] });
});

test.each([
  ['a name longer than 4 KiB', exporting('n'.repeat(nameLimit + 1)), 'the limit is 4,096'],
  [
    'an import longer than 4 KiB',
    `(module (import "other" "${'i'.repeat(nameLimit + 1)}" (func $a)) (func (export "run") (call $a)))`,
    'the limit is 4,096',
  ],
  ['a name with the character U+0000', exporting('a\0b'), 'U+0000'],
  // A character of one byte takes six in JSON.
  [
    'names that exceed the total limit',
    exporting(...Array.from({ length: 60 }, (_, index) => `${index}`.padEnd(4_000, '\u0001'))),
    '1,048,576',
  ],
])('%s is rejected with 422, and nothing is stored', async (_, source, detail) => {
  const refused = await service.push('refused', '1.0.0', source);
  expect(refused.status).toBe(422);
  expect(refused.body.detail).toContain(detail);
  expect(itemsOf(await service.get('/v1/modules/refused/builds'))).toEqual([]);
});

test('the compiler accepts the same names as reports and the API', () => {
  expect(ExportName.safeParse('n'.repeat(nameLimit)).success).toBe(true);
  expect(ExportName.safeParse('n'.repeat(nameLimit + 1)).success).toBe(false);
});

test.each(['__proto__', 'constructor', 'toString', '1.0.0 ', '1.0.0+b1 ', '1.0.0+b1\n', 'v1.0.0', '1.0.0+', '01.0.0', ''])(
  'the version %j is rejected with 422, and nothing is stored',
  async (version) => {
    const refused = await service.push('versioned', version, exporting('f'));
    expect(refused.status).toBe(422);
    expect(itemsOf(await service.get('/v1/modules/versioned/builds'))).toEqual([]);
  },
);

test.each(['1.0.0', '1.0.0-rc.1', '1.0.0+b1', '1.0.0-rc.1+b.2'])('the version %j is accepted unchanged', async (version) => {
  const pushed = await service.push('accepted', version, exporting('f'));
  expect([pushed.status, pushed.body.version]).toEqual([201, version]);
  expect((await service.get(`/v1/modules/accepted/builds/${encodeURIComponent(version)}`)).status).toBe(200);
});
