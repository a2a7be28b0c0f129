// What devices report becomes a history in which no two stays of a module overlap, whatever their clocks and the service's say.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Order } from '../../../src/protocol/agent.ts';
import { DeviceState } from '../../../src/protocol/device-state.ts';
import { newIdentifier } from '../../../src/protocol/identifiers.ts';
import { LoadReport } from '../../../src/protocol/load-report.ts';
import { correctDrift } from '../../../src/service/agents/drift.ts';
import { withoutMarks } from '../../../src/service/database/readable-rows.ts';
import { Store } from '../../../src/service/database/store.ts';
import { recordLoaded, recordRestored } from '../../../src/service/history/module-history.ts';
import { HistoryQueries } from '../../../src/service/history/queries.ts';
import type { HistoryRecord } from '../../../src/service/history/repository.ts';
import { newDatabase } from '../../databases.ts';
import { state } from '../agents/agent.ts';
import { inTransaction, type Records } from '../records.ts';

const folder = mkdtempSync(join(tmpdir(), 'patchbay-stays-'));
let store: Store;
beforeAll(async () => {
  store = await Store.open(await newDatabase(folder));
  const host = { id: 'h', name: 'host', bootId: 'boot', capacity: 1, registeredAt: new Date(0), tokenDigest: null, unreachableSince: null };
  await inTransaction(store, (records) => records.hosts.save(host));
});
afterAll(async () => {
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

const image = `sha256:${'0'.repeat(64)}`;
const modules = ['tcp', 'udp', 'icmp'];
/** Times of a run, in milliseconds; some after another are the same. */
const anyTime = fc.integer({ min: 0, max: 60 });

/** What becomes of a device: what it reports of a load, by its clock, when that comes; or its host starts anew, and it comes up. */
const anyEvent = fc.oneof(
  fc.record({
    kind: fc.constantFrom('loaded' as const, 'withdrawn' as const),
    module: fc.constantFrom(...modules),
    version: fc.integer({ min: 1, max: 4 }),
    requestedAt: anyTime,
    swappedAt: fc.option(anyTime),
    endedAt: anyTime,
    reportedAt: anyTime,
  }),
  fc.record({ kind: fc.constant('reboot' as const), at: anyTime, isUpAt: anyTime, lost: fc.subarray(modules) }),
  // It reports a module table that nobody has ordered; of each module a version, or none.
  fc.record({
    kind: fc.constant('observed' as const),
    versions: fc.tuple(...modules.map(() => fc.option(fc.integer({ min: 1, max: 4 })))),
    isComplete: fc.boolean(),
    at: anyTime,
  }),
);
type Event = typeof anyEvent extends fc.Arbitrary<infer Value> ? Value : never;

async function apply(records: Records, deviceId: string, event: Event): Promise<void> {
  if (event.kind === 'reboot') {
    await records.history.endByReboot([deviceId], new Date(event.at));
    const had = await records.devices.modulesOf([deviceId]);
    const table = had
      .filter(({ module }) => !event.lost.includes(module))
      .map(({ module, version }) => [module, { version, image, address: '0x9000' }]);
    const wanted = had.map(({ module, version }) => ({ module, version, image }));
    const order = Order.parse({ kind: 'attach-device', ...orderOf(deviceId), name: 'device', ramPages: 16, modules: wanted, programs: [] });
    if (order.kind !== 'attach-device') return;
    const { modules: named } = order;
    await recordRestored(records.connection, deviceId, named, DeviceState.parse(state(Object.fromEntries(table))), new Date(event.isUpAt));
    return;
  }
  if (event.kind === 'observed') {
    const table = event.versions.flatMap((version, index) =>
      version === null ? [] : [[modules[index] ?? '', { version: `${version}.0.0`, image, address: '0x5000' }] as const],
    );
    const reported = { ...DeviceState.parse(state(Object.fromEntries(table))), isComplete: event.isComplete };
    await correctDrift(records.connection, 'h', new Map([[deviceId, reported]]), new Date(event.at));
    const known = new Map((await records.devices.installedOn([deviceId])).map((one) => [one.module, one]));
    // What the service knows is what was reported.
    for (const [module, { version }] of table) expect(known.get(module)).toMatchObject({ version, isPresent: true });
    if (event.isComplete) expect([...known.values()].filter(({ isPresent }) => isPresent)).toHaveLength(table.length);
    return;
  }
  const { kind, module, requestedAt, swappedAt, endedAt, reportedAt } = event;
  const version = `${event.version}.0.0`;
  const policy = {
    strategy: 'drain',
    invalidation: 'nx',
    drainMilliseconds: null,
    versionPolicy: 'newer',
    downgradeReason: null,
    similarityPolicy: 'require',
  };
  const load = newIdentifier('load');
  const made = { id: load, batchId: 'b', deviceId, buildId: 'x', module, version, ...policy, state: 'dispatched', deadlineAt: null };
  await records.loads.create([{ ...made, requestedAt: new Date(requestedAt), requestedBy: 'key_a', rollback: false, rolloutId: null }]);
  const step = (name: string, at: number, facts: object) => ({
    step: name,
    operation: name === 'loaded' ? 230 : name === 'table-updated' ? 240 : null,
    at: new Date(at).toISOString(),
    startedMicroseconds: 0,
    microseconds: 0,
    facts,
  });
  const current = { version, image, address: '0x1000', pages: 2 };
  const isWithdrawn = kind === 'withdrawn';
  const report = LoadReport.parse({
    outcome: isWithdrawn ? 'failed' : 'replaced',
    reason: null,
    previous: null,
    current: isWithdrawn ? null : current,
    interrupted: 0,
    retried: 0,
    failed: 0,
    microseconds: 0,
    steps: [
      step('loaded', swappedAt ?? 0, { address: '0x1000', pages: 2, selfCheck: 'none', stateWords: null }),
      ...(swappedAt === null ? [] : [step('table-updated', swappedAt, { from: null, to: '0x1000' })]),
      ...(isWithdrawn ? [step('failed', endedAt, { during: 'references-reset', reason: '' })] : []),
    ],
  });
  const order = Order.parse({ kind: 'load', ...orderOf(deviceId), load, module, version, image, ...policy });
  const request = (await records.loads.requestsOf([load])).get(load);
  if (order.kind === 'load') await recordLoaded(records.connection, [{ order, report, request }], new Date(reportedAt));
}

const orderOf = (device: string) => ({ order: newIdentifier('order'), device, sequence: 1 });

/** What is wrong with the stays of one module of a device, which are in the order of their coming. */
function faultsOf(stays: readonly HistoryRecord[]): string[] {
  return stays.flatMap((stay, index) => {
    const next = stays[index + 1];
    return [
      ...(stay.removedAt !== null && stay.removedAt < stay.installedAt ? [`${stay.number} leaves before it enters`] : []),
      ...(next === undefined || (stay.removedAt !== null && stay.removedAt <= next.installedAt)
        ? []
        : [`${stay.number} is there with the next`]),
      ...((stay.removedAt === null) === (stay.removalCause === null) ? [] : [`${stay.number} leaves without saying how`]),
    ];
  });
}

test('stays of a module never overlap, and what ran at any moment is what was there', { timeout: 300_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyEvent, { minLength: 1, maxLength: 25 }), async (events) => {
      const id = newIdentifier('device');
      await inTransaction(store, async (records) => {
        await records.devices.create([{ id, name: id, hostId: 'h', labels: {}, createdAt: new Date(0), ramPages: 16 }]);
        for (const event of events) await apply(records, id, event);
      });
      const page = { sort: 'time', order: 'asc', limit: 1_000, after: null } as const;
      const all = withoutMarks(await new HistoryQueries(store.reader).list({ deviceId: id }, page)).toSorted(
        (left, right) => left.number - right.number,
      );
      expect([...Map.groupBy(all, ({ module }) => module).values()].flatMap(faultsOf)).toEqual([]);
      for (const time of [-1, ...all.flatMap(({ installedAt, removedAt }) => [installedAt, removedAt ?? installedAt].map(Number)), 1_000]) {
        const moment = new Date(time);
        const there = all
          .filter(({ installedAt, removedAt }) => installedAt <= moment && (removedAt === null || removedAt > moment))
          .toSorted((left, right) => (left.module < right.module ? -1 : 1));
        const found = await new HistoryQueries(store.reader).at(id, moment, { sort: 'name', order: 'asc', limit: 10, after: null });
        expect([time, found]).toEqual([time, there]);
      }
    }),
    { numRuns: 150 },
  );
});

test('the times are the device’s, and none that cannot be', async () => {
  const id = newIdentifier('device');
  const load = { kind: 'loaded' as const, module: 'tcp', endedAt: 0 };
  const events: readonly (readonly [Event, number])[] = [
    [{ ...load, version: 1, requestedAt: 100, swappedAt: 150, reportedAt: 700 }, 150],
    // Its clock is behind: it was not asked yet.
    [{ ...load, version: 2, requestedAt: 800, swappedAt: 300, reportedAt: 900 }, 800],
    // Its clock is ahead.
    [{ ...load, version: 3, requestedAt: 900, swappedAt: 5_000, reportedAt: 1_000 }, 1_000],
    // Requested while the one before was under way, and before that one had entered.
    [{ ...load, version: 4, requestedAt: 850, swappedAt: 860, reportedAt: 1_100 }, 1_000],
    // It does not tell.
    [{ ...load, version: 1, requestedAt: 850, swappedAt: null, reportedAt: 1_200 }, 1_200],
  ];
  await inTransaction(store, async (records) => {
    await records.devices.create([{ id, name: id, hostId: 'h', labels: {}, createdAt: new Date(0), ramPages: 16 }]);
    for (const [event] of events) await apply(records, id, event);
  });
  const page = { sort: 'time', order: 'asc', limit: 1_000, after: null } as const;
  const stays = withoutMarks(await new HistoryQueries(store.reader).list({ deviceId: id, module: 'tcp' }, page));
  expect(stays.map(({ installedAt }) => installedAt.getTime())).toEqual(events.map(([, time]) => time));
});
