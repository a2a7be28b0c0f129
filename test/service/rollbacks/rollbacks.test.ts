// Rollbacks stored with their responses, and rollbacks of devices with a long history.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Store } from '../../../src/service/database/store.ts';
import { Installation } from '../../../src/service/installation.ts';
import { newDatabase } from '../../databases.ts';
import { defaultSettings } from '../../default-settings.ts';
import { buildKind, inTransaction } from '../records.ts';

const settings = { joinToken: 'not used', unreachableAfter: 60_000, adminKey: null, ...defaultSettings() };
const at = new Date('2026-11-23T09:30:00.000Z');

let folder: string;
let database: string;
let installation: Installation;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'patchbay-rollbacks-'));
  database = await newDatabase(folder);
  installation = await Installation.open(database, settings);
});
afterEach(async () => {
  await installation.close();
  rmSync(folder, { recursive: true, force: true });
});

const policy = {
  strategy: 'inject',
  invalidation: 'nx',
  drainMilliseconds: null,
  versionPolicy: 'different',
  downgradeReason: null,
  similarityPolicy: 'require',
  linkPolicy: 'require',
} as const;

/** Creates a device on which loads installed these minor versions, one per second; a negative number is a rollback. */
async function createDevice(id: string, ...minors: readonly number[]): Promise<void> {
  const store = await Store.open(database);
  const host = { id: 'h', name: 'host', bootId: 'boot', capacity: 9, registeredAt: at, tokenDigest: null, unreachableSince: null };
  const loaded = minors.map((minor, index) => {
    const [version, loadId, moment] = [`1.${Math.abs(minor)}.0`, `${id}-${index}`, new Date(at.getTime() + index * 1_000)];
    const common = { deviceId: id, module: 'tcp', version };
    const request = {
      batchId: 'b',
      ...buildKind,
      buildId: version,
      ...policy,
      state: 'completed',
      requestedAt: moment,
      requestedBy: null,
      deadlineAt: null,
      heldSince: null,
      heldUntil: null,
      windowOverride: null,
    };
    return {
      load: { id: loadId, ...common, ...request, rollback: minor < 0, rolloutId: null },
      residency: { ...common, imageDigest: '', loadId, requestedBy: null, address: '0x1000', pages: 1, installedAt: moment },
    };
  });
  const current = loaded.at(-1)?.residency;
  await inTransaction(store, async (records) => {
    await records.hosts.save(host);
    await records.devices.create([{ id, name: id, hostId: 'h', labels: {}, createdAt: at, ramPages: 16 }]);
    for (const version of new Set(loaded.map(({ residency }) => residency.version))) {
      if ((await records.builds.find('tcp', version)) !== null) continue;
      const facts = {
        module: 'tcp',
        version,
        language: 'wat',
        compiler: '',
        interface: {},
        pushedBy: null,
        envelope: null,
        hasState: null,
        createdAt: at,
      };
      await records.builds.create({ id: version, ...facts, sourceDigest: '', imageDigest: `sha256:${'0'.repeat(64)}`, imageBytes: 1 });
    }
    await records.loads.create(loaded.map(({ load }) => load));
    await records.history.insert(loaded.map(({ residency }) => residency));
    if (current !== undefined)
      await records.devices.setModules([{ deviceId: id, module: 'tcp', version: current.version, imageDigest: '', loadedAt: at }]);
  });
  await store.close();
}

const repeatable = { actor: 'key_1', sealedBy: null, key: 'k', route: 'POST /v1/rollbacks', body: '{}' };
const response = { status: 202, contentType: 'application/json', location: '/v1/loads/1' };
const device = 'dev_00000000000000000000000000000001';

const rollBack = (to: string | null = null, request = repeatable) =>
  installation.rollbacks.request(
    {
      subject: { kind: 'module', module: 'tcp', to },
      reason: 'a test',
      onMissingVersion: 'reject',
      strategy: 'inject',
      invalidation: 'nx',
      drainMilliseconds: null,
      similarityPolicy: 'warn',
      linkPolicy: 'require',
      deadlineSeconds: 60,
      supersede: false,
      overrideMaintenanceWindow: null,
      selector: { devices: [device] },
    },
    { actor: 'key_1', requestId: 'req_test', idempotentRequest: request },
    ({ batch }) => ({ ...response, body: batch }),
  );

test('commits a rollback together with its response', async () => {
  await createDevice(device, 0, 1);
  await installation.idempotencyStore.begin(repeatable);
  const { batch, loads } = await rollBack();
  expect(loads).toMatchObject([{ device, version: '1.0.0' }]);
  // The service stops before it responds.
  await installation.close();
  installation = await Installation.open(database, settings);
  expect(await installation.idempotencyStore.begin(repeatable)).toMatchObject({ ...response, body: batch });
});

const upTo = (last: number) => Array.from({ length: last + 1 }, (_, minor) => minor);

test('finds the previous version of a device whose history exceeds the search limit', async () => {
  await createDevice(device, ...upTo(70));
  expect((await rollBack()).loads).toMatchObject([{ version: '1.69.0' }]);
  // A named version is found however old it is.
  expect((await rollBack('1.0.0', { ...repeatable, key: 'another' })).loads).toMatchObject([{ version: '1.0.0' }]);
});

test('rejects a rollback after more rollbacks than the search limit instead of going forward', async () => {
  const rollbacks = upTo(54).map((step) => -(69 - step));
  await createDevice(device, ...upTo(70), ...rollbacks);
  await expect(rollBack()).rejects.toMatchObject({ kind: 'nothing-to-roll-back', message: expect.stringContaining('last 50 loads') });
});
