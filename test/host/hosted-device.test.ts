// A device of a host: which modules it restores, and when it starts loads.

import { expect, onTestFinished, test } from 'vitest';
import { BuildVerifier } from '../../src/host/build-verifier.ts';
import { HostedDevice } from '../../src/host/hosted-device.ts';
import { ImageCache } from '../../src/host/image-cache.ts';
import { TrustedKeys } from '../../src/host/trusted-keys.ts';
import { Processor } from '../../src/machine/index.ts';
import { createStatement, statementPayloadType } from '../../src/proof/statement.ts';
import { Order } from '../../src/protocol/agent.ts';
import { newIdentifier } from '../../src/protocol/identifiers.ts';
import { createSignedEnvelope } from '../../src/signing/envelope-signing.ts';
import { derivePublicKey, generatePrivateKey } from '../../src/signing/private-key.ts';
import { compiler, quickModule } from '../machine/test-machine.ts';

const privateKey = generatePrivateKey();
const deviceId = newIdentifier('device');
const failing = `${quickModule(1).slice(0, -1)}(func (export "self_check") (result i32) (i32.const 1)))`;

/** A build with its image and statement. */
async function createBuild(module: string, wat = quickModule(1)) {
  const version = '1.0.0';
  const result = await compiler.compileModule({ module, version, language: 'wat', source: wat });
  if (!result.ok) throw new Error('does not compile');
  const { digest, image } = result.compiled;
  const statement = createStatement({
    module,
    version,
    imageDigest: digest,
    language: 'wat',
    compiler: 'binaryen 131',
    sourceDigest: `sha256:${'2'.repeat(64)}`,
    pushedBy: null,
    origin: 'patchbay/0123456789abcdef',
    requestId: null,
    startedAt: null,
    finishedAt: new Date(0),
  });
  const provenance = JSON.stringify(createSignedEnvelope(privateKey, statementPayloadType, statement));
  return { ordered: { module, version, image: digest }, bytes: new Uint8Array(image), provenance };
}
type Build = Awaited<ReturnType<typeof createBuild>>;

/** @param download Called before each download of an image; rejects if the service does not send it. */
function createDevice(builds: readonly Build[], download: () => Promise<void>): HostedDevice {
  const find = (digest: string) => {
    const build = builds.find(({ ordered }) => ordered.image === digest);
    if (build === undefined) throw new Error(`no image ${digest}`);
    return build;
  };
  const processor = new Processor();
  onTestFinished(() => processor.close());
  const images = new ImageCache(async (digest) => {
    await download();
    return find(digest).bytes;
  });
  const source = { provenance: async (digest: string) => find(digest).provenance, renewKeys: async () => {} };
  let sequence = 0;
  return new HostedDevice(processor, images, new BuildVerifier(source, new TrustedKeys([derivePublicKey(privateKey)])), 64, () => {
    sequence += 1;
    return sequence;
  });
}

function order(content: object): Order {
  return Order.parse({ order: newIdentifier('order'), device: deviceId, sequence: 1, request: null, ...content });
}
const attach = (...builds: Build[]) =>
  order({ kind: 'attach-device', name: 'd1', ramPages: 64, modules: builds.map(({ ordered }) => ordered), programs: [] });
const load = { strategy: 'inject', invalidation: 'nx', deadline: null };
const modulesOf = (device: HostedDevice) => device.state().moduleTable.map(({ module }) => module);

test('a patch set that fails does not keep a device from restoring a module that the set was to unload', async () => {
  const [tcp, udp] = [await createBuild('tcp'), await createBuild('udp', failing)];
  let isAvailable = false;
  const device = createDevice([tcp, udp], async () => {
    if (!isAvailable) throw new Error('the service does not respond');
  });
  expect(await device.execute(attach(tcp))).toMatchObject({ failure: expect.stringContaining('the service does not respond') });
  isAvailable = true;
  const members = [
    { action: 'unload', module: 'tcp' },
    { action: 'load', ...udp.ordered, demands: [] },
  ];
  const set = order({ kind: 'load-patch-set', load: newIdentifier('load'), patchSet: { name: 'net', version: '1.0.0' }, members, ...load });
  expect(await device.execute(set)).toMatchObject({ result: { outcome: 'failed', reason: expect.stringContaining('self-check') } });
  expect(await device.execute(attach(tcp))).toMatchObject({ failure: null });
  expect(modulesOf(device)).toEqual(['tcp']);
});

test('a load whose deadline passes while its images are downloaded is not started', async () => {
  const tcp = await createBuild('tcp');
  const downloaded = Promise.withResolvers<void>();
  const device = createDevice([tcp], () => downloaded.promise);
  const loading = device.execute(
    order({ kind: 'load', load: newIdentifier('load'), ...tcp.ordered, demands: [], ...load, remainingMilliseconds: 20 }),
  );
  setTimeout(() => downloaded.resolve(), 40);
  expect(await loading).toMatchObject({ result: { outcome: 'expired', current: null } });
  expect(modulesOf(device)).toEqual([]);
});
