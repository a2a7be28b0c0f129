// Forecasts for the maximum number of devices in one request: few statements, all with indexes.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createStatement, statementPayloadType } from '../../../src/proof/statement.ts';
import { LoadPolicy } from '../../../src/protocol/load-report.ts';
import { Store } from '../../../src/service/database/store.ts';
import { forecastLoads } from '../../../src/service/loads/forecast.ts';
import type { NewBuild } from '../../../src/service/modules/repository.ts';
import { createSignedEnvelope } from '../../../src/signing/envelope-signing.ts';
import { derivePublicKey, generatePrivateKey } from '../../../src/signing/private-key.ts';
import { kind, newDatabase } from '../../databases.ts';
import { state } from '../agents/agent.ts';
import { QueryPlans } from '../database/sqlite/query-plans.ts';
import { inTransaction, Records } from '../records.ts';

const folder = mkdtempSync(join(tmpdir(), 'patchbay-forecast-'));
const database = await newDatabase(folder);
const store = await Store.open(database);
afterAll(async () => {
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

const at = new Date('2026-11-23T09:30:00.000Z');
const privateKey = generatePrivateKey();
const { keyId, pem } = derivePublicKey(privateKey);
const digest = `sha256:${'1'.repeat(64)}`;
const policy = LoadPolicy.parse({ strategy: 'inject', invalidation: 'nx', linkPolicy: 'require' });
const send = { name: 'send', parameters: ['i32'], results: [] };
const devices = Array.from({ length: 10_000 }, (_, index) => ({ id: `d${index}`, hostId: 'h' }));

/** `tcp` imports `udp.send`. */
function buildOf(version: string, module = 'tcp', imageDigest = digest, exports: object[] = []): NewBuild {
  const facts = {
    module,
    version,
    language: 'wat',
    compiler: 'binaryen 131',
    sourceDigest: digest,
    imageDigest,
    pushedBy: null,
  };
  const statement = createStatement({ ...facts, origin: 'patchbay/0', requestId: null, startedAt: null, finishedAt: at });
  const envelope = JSON.stringify(createSignedEnvelope(privateKey, statementPayloadType, statement));
  const imports = module === 'tcp' ? [{ module: 'udp', ...send }] : [];
  return {
    id: `${module} ${version}`,
    ...facts,
    envelope,
    imageBytes: 1_000,
    hasState: null,
    interface: { exports, imports },
    createdAt: at,
  };
}

beforeAll(async () => {
  const host = { id: 'h', name: 'host', bootId: 'boot', capacity: 1, registeredAt: at, tokenDigest: null, unreachableSince: null };
  const labelled = (index: number) => ({ zone: index % 2 === 0 ? 'even' : 'odd' });
  // One in ten devices has each version, some also another module. Two in ten have reported their state: some with a version of udp in memory.
  const loaded = { imageDigest: digest, loadedAt: at };
  const modules = devices.flatMap(({ id }, index) => {
    const version = ['1.0.0', '2.0.0', '3.0.0'][index % 10];
    return [
      ...(version === undefined ? [] : [{ deviceId: id, module: 'tcp', version, ...loaded }]),
      ...(index % 10 === 0 ? [{ deviceId: id, module: 'udp', version: '3.0.0', ...loaded }] : []),
    ];
  });
  const udp = [1, 2].map((major) => ({ version: `${major}.0.0`, image: `sha256:${String(major + 1).repeat(64)}`, address: '0x1000' }));
  const reported = devices.flatMap(({ id }, index) => {
    if (index % 10 < 8) return [];
    // In thirds: 1.0.0, which does not export `send`, 2.0.0, which does, and none.
    const inMemory = udp[Math.floor(index / 10) % 3];
    return [{ id, hostId: 'h', state: state(inMemory && { udp: inMemory }), stateReportedAt: at, stateSequence: 1 }];
  });
  const demand = {
    id: 'p',
    name: 'demand',
    deviceId: null,
    labels: { zone: 'odd' },
    selector: null,
    groupId: null,
    module: 'tcp',
    publisherKeys: ['not registered'],
    threshold: 1,
    createdAt: at,
  };
  await inTransaction(store, async (records) => {
    await records.hosts.save(host);
    await records.signingKeys.create({ id: 's', keyId, publicKey: pem, createdAt: at, endorsement: null, predecessorEndorsement: null });
    for (const version of ['1.0.0', '2.0.0', '3.0.0']) await records.builds.create(buildOf(version));
    for (const [index, { version, image }] of udp.entries())
      await records.builds.create(buildOf(version, 'udp', image, index === 0 ? [] : [send]));
    await records.devices.create(
      devices.map((device, index) => ({ ...device, name: device.id, ramPages: 64, createdAt: at, labels: labelled(index) })),
    );
    await records.devices.setModules(modules);
    await records.devices.setStates(reported);
    await records.signaturePolicies.create(demand);
  });
});

const forecast = async (records = new Records(store.readConnection)) => {
  const build = await records.builds.find('tcp', '2.0.0');
  if (build === null) throw new Error('no build');
  return forecastLoads(records.connection, { patchSet: null, builds: [build] }, devices, policy);
};

test('forecasts 10,000 devices by their versions and signature requirements', async () => {
  const forecasts = await forecast();
  const counted = Map.groupBy(
    devices.entries(),
    ([index, { id }]) => `${index % 10} ${forecasts.get(id)?.verdict} ${forecasts.get(id)?.current}`,
  );
  expect(Object.fromEntries([...counted].map(([what, some]) => [what, some.length]))).toEqual({
    '0 would-replace 1.0.0': 1_000,
    '1 already-installed 2.0.0': 1_000,
    '2 refused-not-newer 3.0.0': 1_000,
    '3 refused-image null': 1_000,
    '4 would-install null': 1_000,
    '5 refused-image null': 1_000,
    '6 would-install null': 1_000,
    '7 refused-image null': 1_000,
    '8 would-install null': 333,
    '8 refused-unresolved null': 667,
    '9 refused-image null': 1_000,
  });
});

// Checks the query plans of SQLite; PostgreSQL gets the same queries.
test.runIf(kind === 'sqlite')('a forecast takes a few dozen statements, and none scans every device', async () => {
  const queryPlans = new QueryPlans(database);
  const plans = await queryPlans.of(() => forecast(queryPlans.records));
  expect(plans.length).toBeLessThan(100);
  expect(plans.flat().filter((step) => /SCAN (Device|DeviceModule|DeviceLabel|Build)\b/.test(step))).toEqual([]);
  await queryPlans.close();
});
