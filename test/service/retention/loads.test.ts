// Pruning of loads, their reports and the history: by age and number, never what a rollback needs, and each removal is in the audit trail.

import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Store } from '../../../src/service/database/store.ts';
import { readVersionStacks } from '../../../src/service/history/version-stack.ts';
import { HistoryPruningRecords } from '../../../src/service/retention/history-repository.ts';
import { retainEverything } from '../../../src/service/retention/retention.ts';
import { itemsOf, TestService, until, workModule } from '../test-service.ts';

let service = new TestService();
let device = '';
beforeEach(async () => {
  service = await new TestService().start();
  service.startHost('rack', 1);
  [device = ''] = await service.connectedDevices(1);
});
afterEach(() => service.close());

/** Restarts the service with limits; the interval is short. */
async function restart(limits: Partial<typeof retainEverything>): Promise<void> {
  await service.stop();
  service.retention = { ...retainEverything, interval: 20, ...limits };
  await service.start();
  await service.connectedDevices(1);
}

/** Loads the versions 1.0.0 to 1.(count - 1).0 one after another. */
async function loadVersions(count: number): Promise<string[]> {
  const loads: string[] = [];
  for (let minor = 0; minor < count; minor += 1) {
    await service.push('tcp', `1.${minor}.0`, workModule(minor));
    for (const { id } of await service.load('tcp', `1.${minor}.0`, [device])) loads.push(id);
  }
  return loads;
}

const statusOf = async (load: string) => (await service.get(`/v1/loads/${load}`)).status;
const versions = async () => itemsOf(await service.get(`/v1/devices/${device}/history?order=asc`)).map(({ version }) => version);
const prunings = async (action: string) => itemsOf(await service.get(`/v1/audit?action=${action}&order=asc`)).map(({ detail }) => detail);
const sha256 = (lines: readonly string[]) =>
  `sha256:${createHash('sha256')
    .update(lines.map((line) => `${line}\n`).join(''))
    .digest('hex')}`;

test('reports beyond the number are removed; the loads stay with their outcomes', async () => {
  const loads = await loadVersions(4);
  await restart({ reports: { age: null, number: 1 } });
  const detail = async (load = '') => (await service.get(`/v1/loads/${load}`)).body;
  await until('three reports are removed', async () => (await detail(loads[2])).report === null);
  expect(await detail(loads[0])).toMatchObject({ state: 'completed', outcome: 'installed', report: null });
  expect((await detail(loads[3])).report).toMatchObject({ outcome: 'replaced' });
  expect(await prunings('load.reports-pruned')).toEqual([{ count: 3, first: loads[0], last: loads[2], digest: sha256(loads.slice(0, 3)) }]);
});

test('old loads are removed, except those that the history names, which keeps the versions that a rollback needs', async () => {
  const loads = await loadVersions(5);
  const failed = await service.post('/v1/loads', { module: 'tcp', version: '1.0.0', devices: [device] });
  const refused = String(itemsOf(await service.get(`/v1/loads?batch=${failed.body.batch}`))[0]?.id);
  await until('the older version is refused', async () => (await service.get(`/v1/loads/${refused}`)).body.outcome === 'refused-not-newer');
  // Keeps the 2 × (1 + 1) newest versions, whatever their age.
  await restart({ keepVersions: 1, history: { age: 1, number: null }, loads: { age: 1, number: null } });
  await until('the load that changed nothing is removed', async () => (await statusOf(refused)) === 404);
  // The second load ended the removed residency, and installed one that remains.
  expect(await versions()).toEqual(['1.1.0', '1.2.0', '1.3.0', '1.4.0']);
  expect(await Promise.all(loads.map(statusOf))).toEqual([404, 200, 200, 200, 200]);
  expect(itemsOf(await service.get('/v1/load-batches')).map(({ id }) => id)).not.toContain(failed.body.batch);
  expect(await prunings('device.history-pruned')).toMatchObject([{ count: 1 }]);
  const removed = (await prunings('load.pruned')).map((detail) => JSON.stringify(detail));
  expect(removed.join()).toContain(String(loads[0]));
  expect((await service.post('/v1/rollbacks', { module: 'tcp', devices: [device], reason: 'to see' })).status).toBe(202);
  await until('the device has 1.3.0', async () => {
    const { moduleTable } = (await service.get(`/v1/devices/${device}`)).body;
    return moduleTable?.some(({ version }) => version === '1.3.0') ?? false;
  });
  // What was below is unknown: it was not "no version".
  const store = await Store.open(service.database);
  expect((await readVersionStacks(store.readConnection, [device], 'tcp')).get(device)?.isComplete).toBe(false);
  await store.close();
});

test('loads of open rollouts are kept', async () => {
  await loadVersions(2);
  // Devices refuse the older version, so that the history names neither load, and the rollout is paused.
  const older = { module: 'tcp', version: '1.0.0', devices: [device] };
  const accepted = await service.post('/v1/rollouts', { ...older, waves: [{ upToPercent: 100, soakSeconds: 0 }] });
  expect(accepted.status).toBe(202);
  const refused = async () => itemsOf(await service.get('/v1/loads?outcome=refused-not-newer'));
  const ofRollout = await until('the load of the rollout is refused', async () => (await refused())[0]?.id ?? null);
  expect((await service.post('/v1/loads', older)).status).toBe(202);
  const other = await until('both are refused', async () => {
    const loads = await refused();
    return loads.length === 2 && (loads.find(({ id }) => id !== ofRollout)?.id ?? null);
  });
  await restart({ loads: { age: 1, number: null } });
  await until('the other load is removed', async () => (await statusOf(other)) === 404);
  expect(await statusOf(ofRollout)).toBe(200);
});

test('of any history, only ended residencies beyond the limits are expired, and never the newest loaded versions', async () => {
  const store = await Store.open(service.database);
  const host = itemsOf(await service.get('/v1/hosts'))[0]?.id ?? '';
  expect(host).not.toBe('');
  const kinds = fc.constantFrom('load', 'restored', 'observed', 'reverted', 'unloaded');
  const residency = fc.record({ kind: kinds, module: fc.constantFrom('a', 'b'), ageHours: fc.integer({ min: 1, max: 100 }) });
  let run = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(residency, { maxLength: 30 }),
      fc.record({
        hours: fc.option(fc.integer({ min: 1, max: 100 })),
        number: fc.option(fc.integer({ min: 1, max: 8 })),
        loaded: fc.integer({ min: 0, max: 5 }),
      }),
      async (history, { hours, number, loaded }) => {
        const own = `${device}-${run++}`;
        const now = Date.now();
        const rows = history
          .toSorted((left, right) => right.ageHours - left.ageHours)
          .map(({ kind, module, ageHours }, index) => ({
            deviceId: own,
            module,
            version: '1.0.0',
            imageDigest: '',
            loadId: kind === 'load' || kind === 'reverted' ? `lod_${index}` : null,
            observed: kind === 'observed',
            requestedBy: null,
            address: '0x1',
            pages: 1,
            installedAt: new Date(now - ageHours * 3_600_000),
            // The last of a module is in memory.
            removedAt: history.length - index <= 2 ? null : new Date(now - ageHours * 3_600_000 + 1),
            removalCause: kind === 'reverted' || kind === 'unloaded' ? kind : null,
            replacedByLoadId: null,
            invalidation: null,
            interrupted: null,
          }));
        const expired = await store.transaction(async (connection) => {
          if (rows.length > 0) await connection.sql.insertInto('HistoryEntry').values(rows).execute();
          const endedBefore = hours === null ? null : new Date(now - hours * 3_600_000);
          return new HistoryPruningRecords(connection).findExpired([own], { endedBefore, number, loadedVersions: loaded });
        });
        const expected = ['a', 'b'].flatMap((module) => {
          let newerLoaded = 0;
          return rows
            .filter((row) => row.module === module)
            .toReversed()
            .filter((row, position) => {
              const isLoaded = (row.loadId !== null || row.observed || row.removalCause === 'unloaded') && row.removalCause !== 'reverted';
              const isKept = isLoaded && newerLoaded < loaded;
              newerLoaded += isLoaded ? 1 : 0;
              const isOld = hours !== null && row.removedAt !== null && row.removedAt.getTime() < now - hours * 3_600_000;
              return row.removedAt !== null && !isKept && (isOld || (number !== null && position >= number));
            });
        });
        if (hours === null && number === null) return;
        expect(expired.length).toBe(expected.length);
        expect(expired.map(({ module }) => module).toSorted()).toEqual(expected.map(({ module }) => module).toSorted());
      },
    ),
    { numRuns: 60 },
  );
  await store.close();
});
