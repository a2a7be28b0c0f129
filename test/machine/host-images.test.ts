// Images that a host keeps after its devices stop running them: a bounded number, for any number of versions.

import { setFlagsFromString } from 'node:v8';
import { afterAll, expect, onTestFinished, test } from 'vitest';
import { ImageCache } from '../../src/host/image-cache.ts';
import { exported, forge } from './forged-images.ts';
import { countHeld } from './held-objects.ts';
import { readVerified } from './read-verified.ts';
import { compiler, createTestMachine, driverImage, quickModule, type TestMachine, until } from './test-machine.ts';
import { Versions, versionText } from './versions.ts';

afterAll(() => compiler.close());

/** Loads versions that only the device references; returns weak references to their code. */
async function loadVersions({ device }: TestMachine, versions: Versions, count: number): Promise<WeakRef<WebAssembly.Module>[]> {
  const codes: WeakRef<WebAssembly.Module>[] = [];
  for (let number = 0; number < count; number += 1) {
    const image = versions.image(number);
    codes.push(new WeakRef(image.code));
    const report = await device.load({ image });
    if (report.reason !== null) throw new Error(report.reason);
  }
  return codes;
}

test('keeps only the code of the current version after 300 versions that have all served calls', async () => {
  const machine = createTestMachine({ ramPages: 512 });
  onTestFinished(() => machine.close());
  const versions = await Versions.of('tcp', quickModule(1));
  await loadVersions(machine, versions, 1);
  await machine.start('calls', { module: 'tcp', threads: 2 });
  const codes: WeakRef<WebAssembly.Module>[] = [];
  for (let number = 1; number < 300; number += 1) {
    const image = versions.image(number);
    codes.push(new WeakRef(image.code));
    await machine.device.load({ image });
    const version = versionText(number);
    await until(() => machine.statistics('calls').versions.some((served) => served.version === version));
  }
  expect(await countHeld(codes)).toBeLessThanOrEqual(2);
  expect(machine.statistics('calls').callsFailed).toBe(0);
}, 30_000);

test('keeps the statistics of an ended program, but neither its driver nor its instance', async () => {
  const machine = createTestMachine();
  onTestFinished(() => machine.close());
  await machine.load('tcp', '1.0.0', quickModule(1));
  const start = async () => {
    const { digest } = await driverImage('tcp', 'work');
    const result = await compiler.compileDriver({
      module: 'tcp',
      export: 'work',
      type: { parameters: ['i32'], results: ['i32'] },
    });
    if (!result.ok) throw new Error('the driver does not compile');
    const driver = readVerified(result.compiled.image, digest);
    machine.device.startProgram({
      program: 'short',
      driver,
      module: 'tcp',
      export: 'work',
      arguments: ['1'],
      threads: 3,
      calls: 5,
      pauseMilliseconds: 0,
    });
    return new WeakRef(driver.code);
  };
  const code = await start();
  await until(() => machine.statistics('short').state !== 'running');
  expect(await countHeld([code])).toBe(0);
  expect(machine.statistics('short')).toMatchObject({ state: 'finished', threads: 0, callsCompleted: 15, lastResult: '2' });
});

test('compiles all functions of an image and its lazy stubs before a device gets the image', async () => {
  setFlagsFromString('--allow-natives-syntax');
  const isUncompiled = new Function('exported', 'return %IsUncompiledWasmFunction(exported)');
  const { bytes, digest } = forge('(module (func (export "one")))', { kind: 'module', exports: [exported('one')] });
  const image = await new ImageCache(async () => bytes).get(digest);
  if (image.kind === 'driver') throw new Error('the image is one of a module');
  const instance = new WebAssembly.Instance(image.code, {});
  const stubs = new WebAssembly.Instance(image.lazyStubs, { patchbay: { resolve: () => null } });
  expect([isUncompiled(instance.exports['one']), isUncompiled(stubs.exports['0'])]).toEqual([false, false]);
});

test('caches 256 images', async () => {
  const versions = await Versions.of('tcp', quickModule(1));
  const images = new Map(
    Array.from({ length: 300 }, (_, number) => {
      const { digest, bytes } = versions.bytesOf(number);
      return [digest, bytes];
    }),
  );
  const downloads: string[] = [];
  const cache = new ImageCache(async (digest) => {
    downloads.push(digest);
    return images.get(digest) ?? new Uint8Array();
  });
  const digests = [...images.keys()];
  for (const digest of digests) await cache.get(digest);
  expect(cache.size).toBe(256);
  for (const digest of digests.slice(-256)) await cache.get(digest);
  expect(downloads).toEqual(digests);
  await cache.get(digests[0] ?? '');
  expect(downloads.length).toBe(301);
});
