// Orders that do not depend on a clock: of events, and of two conflicting rollouts.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { AuditQueries } from '../../../src/service/audit/queries.ts';
import { withoutMarks } from '../../../src/service/database/readable-rows.ts';
import { Store } from '../../../src/service/database/store.ts';
import type { RolloutRecord } from '../../../src/service/rollouts/repository.ts';
import { newDatabase } from '../../databases.ts';
import { inTransaction, Records } from '../records.ts';
import { event } from './events.ts';

let folder: string;
let store: Store;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'patchbay-store-'));
  store = await Store.open(await newDatabase(folder));
});
afterEach(async () => {
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

const year = 365 * 24 * 3_600_000;
const now = Date.UTC(2026, 10, 28);
const timesOf = async () => withoutMarks(await new AuditQueries(store.reader).after(0, 10_000)).map(({ at }) => at.getTime() - now);

test('event times follow the order of the trail, except after a clock correction', async () => {
  for (const after of [0, 500, -30_000, 10 * year, 10 * year - 30_000, 1_000, -60_002, 2_000])
    await inTransaction(store, ({ audit }) => audit.append([{ ...event('a'), at: new Date(now + after) }]));
  expect(await timesOf()).toEqual([0, 500, 500, 10 * year, 10 * year, 1_000, -60_002, 2_000]);
});

test('for any event times, neither a recent event nor a later one counts as old', async () => {
  const days = fc.integer({ min: -4_000, max: 4_000 });
  await fc.assert(
    fc.asyncProperty(fc.array(days, { minLength: 1, maxLength: 8 }), days, async (times, moment) => {
      const { number: before } = await new Records(store.readConnection).audit.head();
      await inTransaction(store, ({ audit }) =>
        audit.append(times.map((day) => ({ ...event('a'), at: new Date(now + day * 86_400_000) }))),
      );
      const events = withoutMarks(await new AuditQueries(store.reader).after(0, 10_000));
      expect(events).toHaveLength(before + times.length);
      const cut = new Date(now + moment * 86_400_000);
      const last = await new AuditQueries(store.reader).findLastOlderThan({ number: events.length, prunedThrough: 0 }, cut);
      expect(events.filter(({ number }) => number <= last).every(({ at }) => at < cut)).toBe(true);
      const next = events.find(({ number }) => number === last + 1);
      if (next !== undefined) expect(next.at.getTime()).toBeGreaterThanOrEqual(cut.getTime());
    }),
    { numRuns: 25 },
  );
});

test('of two rollouts with the same devices, the later waits even if a clock set back gave it the smaller identifier', async () => {
  const rollout = (id: string, state: string) => ({
    id,
    module: 'tcp',
    version: '1.0.0',
    patchSetId: null,
    plan: {},
    state,
    rollbackOf: null,
    requestedAt: new Date(now),
    requestedBy: 'test',
    startedAt: null,
    acceptsDevicesUntil: null,
    scope: null,
  });
  const device = { deviceId: 'dev', position: 1, wave: 1, version: '1.0.0', state: 'waiting', reason: null, previousVersion: null };
  const [earlier, later] = ['rol_b', 'rol_a'];
  await inTransaction(store, async ({ rollouts }) => {
    await rollouts.create(rollout(earlier, 'running'), []);
    await rollouts.create(rollout(later, 'pending'), []);
    for (const id of [earlier, later]) await rollouts.addDevices(id, [device]);
  });
  const waitsFor = async (id: string) => {
    const record: RolloutRecord | null = await new Records(store.readConnection).rollouts.find(id);
    if (record === null) throw new Error('no rollout');
    return (await new Records(store.readConnection).rollouts.conflicts(record, 'earlier')).map(({ rolloutId }) => rolloutId);
  };
  expect(await waitsFor(later)).toEqual([earlier]);
  await inTransaction(store, ({ rollouts }) => rollouts.update(earlier, { state: 'completed', endedAt: new Date(now) }));
  expect(await waitsFor(later)).toEqual([]);
});
