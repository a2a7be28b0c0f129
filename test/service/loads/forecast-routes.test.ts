// Compares forecasts of loads with their outcomes on real hosts.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import type { Schemas } from '../../../src/client/client.ts';
import { LoadPolicy } from '../../../src/protocol/load-report.ts';
import { Store } from '../../../src/service/database/store.ts';
import { type Forecast, forecastLoads } from '../../../src/service/loads/forecast.ts';
import type { BuildRecord } from '../../../src/service/modules/repository.ts';
import { Agent, attached } from '../agents/agent.ts';
import { type Envelope, Publisher, provenanceOf } from '../publishing.ts';
import { inTransaction, Records } from '../records.ts';
import { type LoadPolicy as RequestedPolicy, TestService, until, workModule } from '../test-service.ts';

const service = new TestService();
let store: Store;
let device = '';

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

async function buildOf(module: string, version: string): Promise<BuildRecord> {
  const build = await new Records(store.readConnection).builds.find(module, version);
  if (build === null) throw new Error(`no build ${module}@${version}`);
  return build;
}

/** Returns the forecast of a load. */
async function forecastOf(module: string, version: string, policy: RequestedPolicy = {}, on = device): Promise<Forecast | undefined> {
  const how = LoadPolicy.parse({ strategy: 'inject', invalidation: 'nx', linkPolicy: 'require', ...policy });
  const forecasts = await forecastLoads(
    store.readConnection,
    { patchSet: null, builds: [await buildOf(module, version)] },
    [{ id: on, hostId: '' }],
    how,
  );
  return forecasts.get(on);
}

const outcomeOf: Partial<Record<Forecast['verdict'], string>> = {
  'would-install': 'installed',
  'would-replace': 'replaced',
  'already-installed': 'refused-not-newer',
  'out-of-memory': 'failed',
};

/** Forecasts a load, runs it, and expects the forecast outcome and reason. Returns the forecast. */
async function fulfilled(module: string, version: string, policy: RequestedPolicy = {}, on = device): Promise<Forecast | undefined> {
  const forecast = await forecastOf(module, version, policy, on);
  const { verdict, reason } = forecast ?? {};
  const [load] = await service.load(module, version, [on], policy);
  const isInstalled = verdict === 'already-installed';
  expect(load).toMatchObject({
    outcome: verdict && (outcomeOf[verdict] ?? verdict),
    reason: isInstalled ? expect.stringContaining('the same precedence') : reason,
  });
  return forecast;
}

let modules = 0;
/** Pushes a new module with these builds. Returns its name. */
async function pushed(versions: Readonly<Record<string, string>> = { '1.0.0': workModule(1) }): Promise<string> {
  const module = `module-${modules}`;
  modules += 1;
  for (const [version, source] of Object.entries(versions)) expect((await service.push(module, version, source)).status).toBe(201);
  return module;
}

const change = (action: (records: Records) => Promise<void>) => inTransaction(store, action);

describe('forecasts by version', () => {
  test('a first, newer, equal and older version', async () => {
    const source = workModule(1);
    const module = await pushed({ '1.0.0': source, '1.1.0': source, '1.1.0+again': source, '1.1.0-rc.1': source });
    expect(await fulfilled(module, '1.0.0')).toEqual({ verdict: 'would-install', reason: null, current: null, warnings: [] });
    expect(await fulfilled(module, '1.0.0')).toEqual({ verdict: 'already-installed', reason: null, current: '1.0.0', warnings: [] });
    expect(await fulfilled(module, '1.1.0')).toEqual({ verdict: 'would-replace', reason: null, current: '1.0.0', warnings: [] });
    for (const version of ['1.0.0', '1.1.0+again', '1.1.0-rc.1'])
      expect(await fulfilled(module, version)).toEqual({
        verdict: 'refused-not-newer',
        reason: expect.stringContaining('1.1.0, which is in memory: load a newer version'),
        current: '1.1.0',
        warnings: [],
      });
    expect(await fulfilled(module, '1.1.0+again', { versionPolicy: 'different' })).toMatchObject({ verdict: 'refused-not-newer' });
    expect(await fulfilled(module, '1.1.0-rc.1', { versionPolicy: 'different' })).toMatchObject({ verdict: 'would-replace' });
    const downgrade: RequestedPolicy = { versionPolicy: 'downgrade', downgradeReason: 'it was better' };
    expect(await fulfilled(module, '1.0.0', downgrade)).toMatchObject({ verdict: 'would-replace', current: '1.1.0-rc.1' });
  });

  test('a dissimilar version', async () => {
    const other = '(module (func (export "other") (result i32) (i32.const 1)) (func (export "work") (result i32) (i32.const 1)))';
    const lost = '(module (func (export "other") (result i32) (i32.const 2)))';
    const module = await pushed({ '1.0.0': workModule(1), '1.1.0': other, '1.2.0': lost });
    await fulfilled(module, '1.0.0');
    expect(await fulfilled(module, '1.1.0')).toEqual({
      verdict: 'refused-dissimilar',
      reason: `${module}@1.1.0 is not substantially similar to 1.0.0: it changed the type of work`,
      current: '1.0.0',
      warnings: [],
    });
    expect(await fulfilled(module, '1.1.0', { similarityPolicy: 'warn' })).toMatchObject({ verdict: 'would-replace' });
    expect(await fulfilled(module, '1.2.0')).toMatchObject({ verdict: 'refused-dissimilar' });
    expect(await fulfilled(module, '1.2.0', { similarityPolicy: 'off' })).toMatchObject({ verdict: 'would-replace' });
  });
});

describe('forecasts by links', () => {
  const importer = (from: string, type = 'i32') => `
    (module (import "${from}" "work" (func $work (param ${type}) (result ${type})))
      (func (export "work") (param ${type}) (result ${type}) (call $work (local.get 0))))`;

  test('an import that nothing provides, or with another type', async () => {
    const provider = await pushed();
    const module = await pushed({ '1.0.0': importer(provider), '1.1.0': importer(provider, 'i64') });
    expect(await fulfilled(module, '1.0.0')).toEqual({
      verdict: 'refused-unresolved',
      reason: `${module}@1.0.0 imports ${provider}.work (i32) → i32, but ${provider} is not in memory: load a version of ${provider} that exports it first, or use link policy warn or off`,
      current: null,
      warnings: [],
    });
    await fulfilled(provider, '1.0.0');
    expect(await fulfilled(module, '1.1.0')).toMatchObject({
      verdict: 'refused-unresolved',
      reason: expect.stringContaining(' exports it as (i32) → i32'),
    });
    expect(await fulfilled(module, '1.0.0')).toMatchObject({ verdict: 'would-install' });
  });

  test('a version that takes an import from a module in memory', async () => {
    const provider = await pushed({ '1.0.0': workModule(1), '2.0.0': '(module (func (export "other")))' });
    const module = await pushed({ '1.0.0': importer(provider) });
    await fulfilled(provider, '1.0.0');
    await fulfilled(module, '1.0.0');
    const policy: RequestedPolicy = { similarityPolicy: 'off' };
    expect(await fulfilled(provider, '2.0.0', policy)).toMatchObject({
      verdict: 'refused-unresolved',
      reason: expect.stringMatching(`^${module}@1.0.0, which is in memory, imports ${provider}.work`),
      current: '1.0.0',
    });
    expect(await fulfilled(provider, '2.0.0', { ...policy, linkPolicy: 'warn' })).toMatchObject({
      verdict: 'would-replace',
      warnings: [`${module}@1.0.0, which is in memory, imports ${provider}.work (i32) → i32, but ${provider}@2.0.0 does not export it`],
    });
  });

  test('a device with a module that the service does not know', async () => {
    const module = await pushed();
    const agent = new Agent(service);
    await agent.register('strange', ['strange-1']);
    await agent.connect();
    const [attach] = await agent.order('attach-device');
    const stranger = { version: '1.0.0', image: `sha256:${'9'.repeat(64)}`, address: '0x9000' };
    if (attach !== undefined) expect((await agent.report(attached(attach, { stranger }))).status).toBe(204);
    expect(await forecastOf(module, '1.0.0', {}, attach?.device)).toEqual({
      verdict: 'would-install',
      reason: 'the service has no build of stranger@1.0.0, which is on the device: its links are unknown',
      current: null,
      warnings: [],
    });
    agent.disconnect();
  });
});

describe('forecasts by proof', () => {
  test('a build without a required signature, until it is signed', async () => {
    const module = await pushed();
    const publishers = await Promise.all(['one', 'two'].map((name) => new Publisher(service, `${module}-${name}`).register()));
    const publisherKeys = publishers.map(({ id }) => id);
    await service.post('/v1/signature-policies', { name: `released-${module}`, device, module, publisherKeys });
    for (const [signed, publisher] of publishers.entries()) {
      expect(await fulfilled(module, '1.0.0')).toEqual({
        verdict: 'refused-image',
        reason: expect.stringContaining(`2 of 2 publisher keys for ${module}@1.0.0, which has ${signed}`),
        current: null,
        warnings: [],
      });
      await publisher.sign(module, '1.0.0');
    }
    expect(await fulfilled(module, '1.0.0')).toEqual({ verdict: 'would-install', reason: null, current: null, warnings: [] });
  });

  const another = JSON.stringify({ _type: 'https://in-toto.io/Statement/v1', subject: [] });
  test.each<[string, (envelope: Envelope) => Envelope | null | Promise<Envelope>, string]>([
    ['is not from the service', (envelope) => ({ ...envelope, signatures: [] }), 'no key that this host trusts has signed the statement'],
    ['is about another build', async () => provenanceOf(service, await pushed(), '1.0.0'), 'the statement is of another image'],
    [
      'states no build',
      (envelope) => ({ ...envelope, payload: Buffer.from(another).toString('base64') }),
      'cannot be read: restore the database of the service',
    ],
  ])('a statement that %s', async (_what, falsified, reason) => {
    const module = await pushed();
    const envelope = await falsified(await provenanceOf(service, module, '1.0.0'));
    const { id, pushedBy } = await buildOf(module, '1.0.0');
    await change((records) => records.builds.setStatement(id, { pushedBy, envelope: JSON.stringify(envelope) }));
    expect(await fulfilled(module, '1.0.0')).toEqual({
      verdict: 'refused-image',
      reason: expect.stringContaining(reason),
      current: null,
      warnings: [],
    });
  });

  test('a build without a statement', async () => {
    const module = await pushed();
    const { id, pushedBy } = await buildOf(module, '1.0.0');
    await change((records) => records.builds.setStatement(id, { pushedBy, envelope: null }));
    const forecast = await forecastOf(module, '1.0.0');
    expect(forecast).toMatchObject({
      verdict: 'refused-image',
      reason: expect.stringContaining('has no readable provenance'),
    });
    const [load] = await service.load(module, '1.0.0', [device]);
    // The device also reports how it got the response.
    expect(load).toMatchObject({ outcome: 'refused-image', reason: expect.stringContaining(forecast?.reason ?? '') });
  });

  test('a build whose image was pruned, which the service itself rejects', async () => {
    const module = await pushed();
    const { imageDigest } = await buildOf(module, '1.0.0');
    await change(async ({ images, builds }) => {
      await images.delete([imageDigest]);
      await builds.setPruned([imageDigest], new Date());
    });
    const forecast = await forecastOf(module, '1.0.0');
    expect(forecast).toMatchObject({ verdict: 'refused-image', reason: expect.stringContaining('was pruned at') });
    const refused = await service.post('/v1/loads', { module, version: '1.0.0', devices: [device] });
    expect(refused).toMatchObject({ status: 409, body: { detail: forecast?.reason } });
  });
});

/** A module of about 100,000 bytes: 25 of the 64 pages of a device. */
const largeModule = (plus: number) => {
  const text = Array.from({ length: 100_000 }, (_, index) => String.fromCharCode(97 + ((index * index + (index >> 4) + plus) % 26))).join(
    '',
  );
  return `(module (memory 2) (data (i32.const 0) "${text}")
    (func (export "work") (param i32) (result i32) (i32.load8_u (local.get 0))))`;
};

/** Returns a module that needs this number of pages. */
const ofPages = (count: number) => `(module (memory ${Math.ceil(count / 16) + 1})
  (data (i32.const 0) "${'x'.repeat((count - 1) * 4096)}")
  (func (export "work") (param i32) (result i32) (i32.load8_u (local.get 0))))`;

/** Starts a program that keeps the address of the version in memory, and waits for its first call. */
async function startHolder(module: string, device: string): Promise<{ stop(): Promise<void> }> {
  const call: Schemas['NewProgram'] = { module, export: 'work', arguments: [1], addressing: 'hard-coded', pauseMilliseconds: 1 };
  const program = await service.post(`/v1/devices/${device}/programs`, call);
  const path = program.headers.get('location') ?? '';
  const statistics = async () =>
    z.looseObject({ callsCompleted: z.number(), state: z.string() }).safeParse((await service.get(path)).body['statistics']).data;
  await until('the program has called the module', async () => ((await statistics())?.callsCompleted ?? 0) > 0);
  return {
    stop: async () => {
      await service.post(`${path}/stop`, undefined);
      await until('the program has stopped', async () => (await statistics())?.state === 'stopped');
    },
  };
}

describe('forecasts by memory', () => {
  let own = '';
  beforeAll(async () => {
    service.startHost('own', 1);
    await service.connectedDevices(2);
    own = (await new Records(store.readConnection).devices.findByNames(['own-1']))[0]?.id ?? '';
  });

  test('a module that needs all pages does not fit: the first page is reserved', async () => {
    expect(await fulfilled(await pushed({ '1.0.0': ofPages(64) }), '1.0.0', {}, own)).toMatchObject({
      verdict: 'out-of-memory',
      reason: expect.stringContaining('needs 64 contiguous pages; 63 of 64 are free'),
    });
  });

  test('too little memory, also if a running program keeps removed pages reserved', async () => {
    const module = await pushed({ '1.0.0': largeModule(1), '1.1.0': largeModule(2), '1.2.0': largeModule(3) });
    expect(await fulfilled(module, '1.0.0', {}, own)).toMatchObject({ verdict: 'would-install' });
    const holder = await startHolder(module, own);
    expect(await fulfilled(module, '1.1.0', { invalidation: 'delete' }, own)).toMatchObject({ verdict: 'would-replace' });
    expect(await fulfilled(module, '1.2.0', {}, own)).toEqual({
      verdict: 'out-of-memory',
      reason: expect.stringMatching(/^out of memory: module-\d+@1\.2\.0 needs 2\d contiguous pages; 1\d of 64 are free$/),
      current: '1.1.0',
      warnings: [],
    });
    await holder.stop();
    expect(await fulfilled(module, '1.2.0', { invalidation: 'delete' }, own)).toMatchObject({ verdict: 'would-replace' });
  });

  test('enough free pages that are not contiguous', async () => {
    const [found] = await new Records(store.readConnection).devices.findMany([own]);
    const { memoryMap } = z.object({ memoryMap: z.object({ pages: z.number(), usedPages: z.number() }) }).parse(found?.state);
    const left = memoryMap.pages - 1 - memoryMap.usedPages;
    const third = Math.floor((left - 1) / 3);
    expect(third).toBeGreaterThan(2);
    const first = await pushed({ '1.0.0': ofPages(third), '1.1.0': ofPages(third) });
    const between = await pushed({ '1.0.0': ofPages(third) });
    await fulfilled(first, '1.0.0', {}, own);
    await fulfilled(between, '1.0.0', {}, own);
    await fulfilled(first, '1.1.0', { invalidation: 'delete' }, own);
    const larger = await pushed({ '1.0.0': ofPages(third + 1) });
    expect(await fulfilled(larger, '1.0.0', {}, own)).toMatchObject({
      verdict: 'out-of-memory',
      reason: expect.stringContaining(`needs ${third + 1} contiguous pages; ${left - 2 * third} of 64 are free`),
    });
    const fitting = await pushed({ '1.0.0': ofPages(third) });
    expect(await fulfilled(fitting, '1.0.0', {}, own)).toMatchObject({ verdict: 'would-install' });
  });
});

describe('forecasts by state', () => {
  const stateLoss = expect.stringMatching(/^1\.2\.0 starts with fresh state and loses that of 1\.1\.0: /);
  test('a device without a report: uses the recorded version, and its memory is unknown', async () => {
    const module = await pushed({ '1.0.0': largeModule(1), '1.1.0': largeModule(2), '1.2.0': largeModule(3) });
    const agent = new Agent(service);
    await agent.register('played', ['played-1']);
    await agent.connect();
    const [attach] = await agent.order('attach-device');
    const played = attach?.device ?? '';
    const reason = expect.stringContaining('its free memory and its modules are unknown');
    expect(await forecastOf(module, '1.1.0', {}, played)).toEqual({ verdict: 'would-install', reason, current: null, warnings: [] });
    const { imageDigest } = await buildOf(module, '1.1.0');
    await change((records) =>
      records.devices.setModules([{ deviceId: played, module, version: '1.1.0', imageDigest, loadedAt: new Date() }]),
    );
    expect(await forecastOf(module, '1.2.0', {}, played)).toEqual({
      verdict: 'would-replace',
      reason,
      current: '1.1.0',
      warnings: [stateLoss],
    });
    expect(await forecastOf(module, '1.0.0', {}, played)).toMatchObject({ verdict: 'refused-not-newer', current: '1.1.0' });
    // It attaches without the module that the service ordered to restore.
    if (attach !== undefined) await agent.report(attached(attach));
    expect(await forecastOf(module, '1.0.0', {}, played)).toEqual({ verdict: 'would-install', reason: null, current: null, warnings: [] });
    agent.disconnect();
  });

  test('a device after a restart: does not use the memory map from before', async () => {
    const module = await pushed({ '1.0.0': largeModule(1), '1.1.0': largeModule(2), '1.2.0': largeModule(3) });
    const stop = service.startHost('again', 1);
    const [again] = await until('the device is connected', async () => {
      const found = await new Records(store.readConnection).devices.findByNames(['again-1']);
      return found[0]?.status === 'connected' && found;
    });
    const on = again?.id ?? '';
    await fulfilled(module, '1.0.0', {}, on);
    await startHolder(module, on);
    await fulfilled(module, '1.1.0', {}, on);
    expect(await forecastOf(module, '1.2.0', {}, on)).toMatchObject({ verdict: 'out-of-memory' });
    await stop();
    await change((records) => records.devices.clearStates([on]));
    expect(await forecastOf(module, '1.2.0', {}, on)).toMatchObject({ verdict: 'would-replace', reason: expect.any(String) });
    service.startHost('again', 1);
    await until(
      'the device has reported again',
      async () => (await new Records(store.readConnection).devices.find(on))?.stateReportedAt !== null,
    );
    expect(await fulfilled(module, '1.2.0', {}, on)).toEqual({
      verdict: 'would-replace',
      reason: null,
      current: '1.1.0',
      warnings: [stateLoss],
    });
  });
});
