// Declared dependencies: validated at the push, stored in options, provenance and image, and required by devices.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readStatement } from '../../../src/proof/statement.ts';
import { provenanceOf } from '../publishing.ts';
import { TestService, workModule } from '../test-service.ts';

const service = new TestService();
let device = '';
beforeAll(async () => {
  await service.start();
  service.startHost('host', 1);
  [device = ''] = await service.connectedDevices(1);
});
afterAll(() => service.close());

const source = workModule(1);
const push = (module: string, dependencies: unknown, version = '1.0.0') =>
  service.postRaw(`/v1/modules/${module}/builds`, { version, language: 'wat', source, dependencies });

/** An empty function `f`, exported. */
const prebuilt = new Uint8Array([
  0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0, 7, 5, 1, 1, 0x66, 0, 0, 10, 4, 1, 2, 0, 0x0b,
]);
const pushBytes = (module: string, query: string) =>
  service.request('POST', `/v1/modules/${module}/builds?version=1.0.0${query}`, prebuilt, { 'content-type': 'application/wasm' });

test('a push stores the dependencies in the options and in the signed statement', async () => {
  const dependencies = { udp: '^1.2.0', routing: '>=1.0.0 <3.0.0' };
  expect(await push('dns', dependencies)).toMatchObject({ status: 201, body: { options: { dependencies } } });
  expect(readStatement(await provenanceOf(service, 'dns', '1.0.0'))?.options).toEqual({ dependencies });
  expect(await push('dns', { routing: '>=1.0.0 <3.0.0', udp: '^1.2.0' })).toMatchObject({ status: 200 });
  expect(await push('dns', { udp: '^1.2.0' })).toMatchObject({ status: 409 });
  expect(await push('plain', {})).toMatchObject({ status: 201, body: { options: { dependencies: {} } } });
  expect(await push('plain', undefined)).toMatchObject({ status: 200 });
});

test('a prebuilt module names its dependencies in the query', async () => {
  const query = `&dependency=${encodeURIComponent('udp=>=1.2.0')}&dependency=${encodeURIComponent('tls=1.x')}`;
  const options = { dependencies: { udp: '>=1.2.0', tls: '1.x' } };
  expect(await pushBytes('bytes', query)).toMatchObject({ status: 201, body: { options } });
});

describe('invalid dependencies', () => {
  const many = Object.fromEntries(Array.from({ length: 101 }, (_, index) => [`m${index}`, '*']));
  test.each<[string, unknown, string, RegExp]>([
    ['no range', { udp: 'banana' }, '/dependencies/udp', /is not a range of semantic versions: expected for example \^1\.2\.0/],
    ['an empty range', { udp: '' }, '/dependencies/udp', /./],
    ['a number', { udp: 1 }, '/dependencies/udp', /./],
    ['a range that contradicts itself', { udp: '>2.0.0 <1.0.0' }, '/dependencies/udp', /contains no version/],
    ['a long range', { udp: '^1.2.0 || '.repeat(100) }, '/dependencies/udp', /./],
    ['a name that no module has', { 'UDP!': '^1.2.0' }, '/dependencies/UDP!', /./],
    ['a reserved name', { kernel: '^1.2.0' }, '/dependencies/kernel', /keeps for itself/],
    ['the module itself', { self: '^1.2.0' }, '/dependencies/self', /self cannot depend on itself/],
    ['101 dependencies', many, '/dependencies', /up to 100 dependencies/],
    ['a list', ['udp'], '/dependencies', /./],
  ])('%s is rejected with a pointer', async (_what, dependencies, pointer, detail) => {
    expect(await push('self', dependencies)).toMatchObject({
      status: 422,
      body: { errors: [{ pointer, detail: expect.stringMatching(detail) }] },
    });
  });

  test.each([
    ['udp', '/dependency', /must be module=range, for example udp=\^1\.2\.0/],
    ['=1.0.0', '/dependency', /must be module=range/],
    ['udp=banana', '/dependency/udp', /is not a range of semantic versions/],
    ['self=^1.2.0', '/dependency', /self cannot depend on itself/],
  ])('%s in a query', async (dependency, pointer, detail) => {
    expect(await pushBytes('self', `&dependency=${encodeURIComponent(dependency)}`)).toMatchObject({
      status: 422,
      body: { errors: [{ in: 'query', pointer, detail: expect.stringMatching(detail) }] },
    });
  });

  test('two ranges for one module in a query', async () => {
    expect(await pushBytes('self', '&dependency=udp=1.x&dependency=udp=2.x')).toMatchObject({
      status: 422,
      body: { errors: [{ detail: expect.stringMatching(/two ranges for udp/) }] },
    });
  });
});

test('a device refuses a version out of range, in both directions', async () => {
  for (const version of ['1.1.0', '1.2.0', '2.0.0']) await push('clock', undefined, version);
  await push('timer', { clock: '^1.2.0' });
  await service.load('clock', '1.1.0', [device]);
  expect(await service.load('timer', '1.0.0', [device])).toMatchObject([
    {
      outcome: 'refused-unresolved',
      linkPolicy: 'require',
      reason: expect.stringContaining('timer@1.0.0 requires clock ^1.2.0, but clock@1.1.0 is in memory'),
    },
  ]);
  await service.load('clock', '1.2.0', [device]);
  expect(await service.load('timer', '1.0.0', [device])).toMatchObject([{ outcome: 'installed' }]);
  expect(await service.load('clock', '2.0.0', [device])).toMatchObject([
    {
      outcome: 'refused-unresolved',
      reason: expect.stringContaining('timer@1.0.0, which is in memory, requires clock ^1.2.0, but clock@2.0.0 would be in memory'),
    },
  ]);
  expect(await service.load('clock', '2.0.0', [device], { linkPolicy: 'warn' })).toMatchObject([
    { outcome: 'replaced', linkPolicy: 'warn' },
  ]);
});
