// Creation of a rollout's loads, devices for which no load can be created, and images in use.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { newIdentifier } from '../../../src/protocol/identifiers.ts';
import { AuditQueries } from '../../../src/service/audit/queries.ts';
import { withoutMarks } from '../../../src/service/database/readable-rows.ts';
import { Store } from '../../../src/service/database/store.ts';
import type { NewLoad } from '../../../src/service/loads/repository.ts';
import { noUnreachableTargets } from '../../../src/service/loads/unreachable-targets.ts';
import { requestLoads } from '../../../src/service/rollouts/load-requests.ts';
import { defaultThresholds, type RolloutPlan } from '../../../src/service/rollouts/plan.ts';
import { RolloutQueries } from '../../../src/service/rollouts/queries.ts';
import { readView } from '../../../src/service/rollouts/status.ts';
import { newDatabase } from '../../databases.ts';
import { defaultPolicy, defaultTerms } from '../default-terms.ts';
import { buildKind, inTransaction, Records } from '../records.ts';

let folder: string;
let store: Store;
const now = new Date();
let ids: string[];
const digest = (digit: string) => `sha256:${digit.repeat(64)}`;

const plan: RolloutPlan = {
  name: null,
  selector: { devices: 3, labels: null, selector: null, group: null, runningVersion: null },
  waves: [{ size: { kind: 'up-to-percent', percent: 100 }, soakSeconds: 0, approval: false, thresholds: { ...defaultThresholds } }],
  terms: defaultTerms,
  devicesInFlight: 100,
  loadsPerMinute: 60,
  onFailure: 'pause',
  rollbackDeadlineSeconds: 600,
  startAt: null,
  window: null,
  unreachable: noUnreachableTargets,
  onConflict: 'reject',
};

/** A rollout of 2.0.0 to three devices that have 1.0.0. */
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'patchbay-rollouts-'));
  store = await Store.open(await newDatabase(folder));
  const host = { id: 'h', name: 'host', bootId: 'boot', capacity: 9, registeredAt: now, tokenDigest: null, unreachableSince: null };
  await inTransaction(store, async ({ hosts, devices, builds, rollouts }) => {
    await hosts.save(host);
    ids = [1, 2, 3].map(() => newIdentifier('device'));
    await devices.create(ids.map((id) => ({ id, name: id, hostId: 'h', ramPages: 16, createdAt: now, labels: {} })));
    for (const [version, image] of [
      ['1.0.0', digest('1')],
      ['2.0.0', digest('2')],
      ['3.0.0', digest('3')],
    ] as const) {
      const facts = {
        module: 'tcp',
        version,
        language: 'wat',
        compiler: '',
        interface: {},
        pushedBy: null,
        envelope: null,
        hasState: null,
        createdAt: now,
      };
      await builds.create({ id: version, ...facts, sourceDigest: '', imageDigest: image, imageBytes: 1 });
    }
    const rollout = { id: 'r', module: 'tcp', version: '2.0.0', plan, state: 'running', reason: null, rollbackOf: null, requestedAt: now };
    const times = {
      requestedBy: 'key_a',
      startedAt: now,
      patchSetId: null,
      endedAt: null,
      nextLoadAt: null,
      acceptsDevicesUntil: null,
      scope: null,
    };
    await rollouts.create({ ...rollout, ...times }, [{ number: 1, state: 'loading', startedAt: now }]);
    const device = { wave: 1, version: '2.0.0', state: 'waiting', reason: null, previousVersion: '1.0.0' };
    await rollouts.addDevices(
      'r',
      ids.map((deviceId, index) => ({ ...device, deviceId, position: index + 1 })),
    );
  });
});
afterEach(async () => {
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

const request = (count: number) =>
  inTransaction(store, async (records) => {
    const record = await records.rollouts.find('r');
    if (record === null) throw new Error('the rollout does not exist');
    return requestLoads(records.connection, await readView(records.connection, record, now), { wave: 1, count }, now);
  });

async function devicesOf() {
  const page = { sort: 'number', order: 'asc', limit: 10, after: null } as const;
  return withoutMarks(await new RolloutQueries(store.reader).devices({ rolloutId: 'r' }, page));
}

test('creates the requested number of loads in the order of the devices', async () => {
  expect(await request(2)).toEqual(['h', 'h']);
  expect((await devicesOf()).map(({ deviceId, state, attempts }) => [deviceId, state, attempts])).toEqual([
    [ids[0], 'loading', 1],
    [ids[1], 'loading', 1],
    [ids[2], 'waiting', 0],
  ]);
  const [first] = await devicesOf();
  const load = await new Records(store.readConnection).loads.find(first?.loadId ?? '');
  expect(load).toMatchObject({ deviceId: ids[0], version: '2.0.0', rolloutId: 'r', requestedBy: 'key_a', rollback: false });
  // At one load per second, the third load is due two seconds later.
  expect((await new Records(store.readConnection).rollouts.find('r'))?.nextLoadAt?.getTime()).toBe(now.getTime() + 2_000);
});

test('fails a device at the limit of open loads and loads the others', async () => {
  const waiting = (index: number): NewLoad => ({
    id: `l${index}`,
    batchId: 'b',
    deviceId: ids[1] ?? '',
    ...buildKind,
    buildId: '1.0.0',
    module: 'udp',
    version: '1.0.0',
    ...defaultPolicy,
    state: 'queued',
    requestedAt: now,
    requestedBy: null,
    rollback: false,
    rolloutId: null,
    deadlineAt: null,
    heldSince: null,
    heldUntil: null,
    windowOverride: null,
  });
  await inTransaction(store, ({ loads }) => loads.create(Array.from({ length: 100 }, (_, index) => waiting(index))));
  expect(await request(3)).toEqual(['h', 'h']);
  const [, full] = await devicesOf();
  expect(full).toMatchObject({
    deviceId: ids[1],
    state: 'failed',
    reason: expect.stringContaining(`100 open loads per device) on the device ${ids[1]}`),
  });
  expect((await devicesOf()).map(({ state }) => state)).toEqual(['loading', 'failed', 'loading']);
  const events = await new AuditQueries(store.reader).list(
    { action: 'rollout.devices-failed' },
    { sort: 'time', order: 'desc', limit: 5, after: null },
  );
  expect(events).toMatchObject([{ object: 'r', outcome: 'failed', detail: { devices: 1 } }]);
});

test('fails devices whose build has no image', async () => {
  await inTransaction(store, ({ builds }) => builds.setPruned([digest('2')], now));
  expect(await request(3)).toEqual([]);
  for (const device of await devicesOf())
    expect(device).toMatchObject({
      state: 'failed',
      attempts: 0,
      reason: expect.stringContaining('push the same source under the same version'),
    });
});

test('keeps the images that an open rollout may still load or roll back to', async () => {
  const used = () => new Records(store.readConnection).images.inUse();
  // The newest image of a module is always in use.
  expect(await used()).toEqual(new Set([digest('1'), digest('2'), digest('3')]));
  await inTransaction(store, ({ rollouts }) => rollouts.update('r', { endedAt: now }));
  expect(await used()).toEqual(new Set([digest('3')]));
});
