// `npm run bench:versions`: measures whether a host's memory grows with the versions that its devices have loaded. Exits with 1 if it does.

import console from 'node:console';
import { parseArgs } from 'node:util';
import { readInteger } from '../src/cli/option-values.ts';
import { ImageCache } from '../src/host/image-cache.ts';
import { Device, Processor, verifyImage } from '../src/machine/index.ts';
import { countHeld } from '../test/machine/held-objects.ts';
import { compiler, driverImage } from '../test/machine/test-machine.ts';
import { Versions } from '../test/machine/versions.ts';
import { compared, resultLines } from './service/results.ts';

const usage = `Usage: npm run bench:versions -- [options]

Loads one version of a module after another, with default settings, into devices that call it, and measures the memory of the process.

Options:
  --devices N   devices of one host, each with 64 pages (100)
  --versions N  versions that each device gets (1000)
  --help
`;
/** Maximum memory after all versions, relative to the memory after the first fifth. The npm script fixes the size of the young generation. */
const limits = { resident: 1.1, heap: 1.1 } as const;

/** In MiB. */
type Usage = { readonly resident: number; readonly heap: number };

/** A module with its own memory, of which each call writes a page. */
const source = `
  (module
    (memory 1)
    (func (export "work") (param $n i32) (result i32)
      (memory.fill (i32.const 0) (local.get $n) (i32.const 65536))
      (i32.load (i32.const 1024))))`;

const { values } = parseArgs({
  options: {
    devices: { type: 'string', default: '100' },
    versions: { type: 'string', default: '1000' },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) console.log(usage);
else process.exitCode = await bench(readInteger('devices', values.devices, 1, 5_000), readInteger('versions', values.versions, 10, 9_000));

/** Runs the benchmark; returns the exit code. */
async function bench(deviceCount: number, versionCount: number): Promise<number> {
  const processor = new Processor();
  const versions = await Versions.of('tcp', source);
  const bytes = new Map<string, Uint8Array<ArrayBuffer>>();
  const cache = new ImageCache(async (digest) => bytes.get(digest) ?? new Uint8Array());
  const devices = Array.from({ length: deviceCount }, () => new Device({ processor, ramPages: 64 }));
  const loadEverywhere = async (number: number) => {
    const { digest, bytes: content } = versions.bytesOf(number);
    bytes.set(digest, content);
    for (const device of devices) {
      const image = await cache.get(digest);
      const { module, version } = image.stamp;
      const { reason } = await device.load({ image: verifyImage(image, { kind: 'module', digest, module, version }) });
      if (reason !== null) throw new Error(reason);
    }
    bytes.delete(digest);
  };
  await loadEverywhere(0);
  const driver = await driverImage('tcp', 'work');
  const call = { module: 'tcp', export: 'work', arguments: ['1'], calls: null, pauseMilliseconds: 20 };
  for (const device of devices) device.startProgram({ program: 'calls', driver, threads: 2, ...call });
  const first = Math.floor(versionCount / 5);
  let base: Usage | null = null;
  for (let number = 1; number < versionCount; number += 1) {
    await loadEverywhere(number);
    if (number + 1 === first) base = await memoryInUse();
  }
  const end = await memoryInUse();
  const figures = (['resident', 'heap'] as const).map((kind) =>
    compared({
      part: 'versions',
      what: `${kind === 'heap' ? 'heap after a collection' : 'resident memory'} of ${deviceCount} devices after ${versionCount} versions`,
      value: end[kind],
      unit: 'MiB',
      base: { what: `after ${first}`, value: base?.[kind] ?? Number.NaN },
      goal: { of: 'ratio', is: 'at most', bound: limits[kind] },
    }),
  );
  const failed = devices.reduce((sum, device) => sum + (device.state().programs[0]?.callsFailed ?? 0), 0);
  console.log(resultLines(figures).join('\n'));
  console.log(`calls failed: ${failed}`);
  await Promise.all(devices.map((device) => device.close()));
  processor.close();
  await compiler.close();
  return figures.every(({ holds }) => holds === true) && failed === 0 ? 0 : 1;
}

async function memoryInUse(): Promise<Usage> {
  await countHeld([]);
  const { rss, heapUsed } = process.memoryUsage();
  return { resident: rss / 2 ** 20, heap: heapUsed / 2 ** 20 };
}
