// Model-based test of the module history: residencies of a module never overlap, whatever the clocks of devices and service show.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { isLoadOrder, Order } from '../../../src/protocol/agent.ts';
import { DeviceState } from '../../../src/protocol/device-state.ts';
import { newIdentifier } from '../../../src/protocol/identifiers.ts';
import { LoadReport } from '../../../src/protocol/load-report.ts';
import { correctDrift } from '../../../src/service/agents/drift.ts';
import { withoutMarks } from '../../../src/service/database/readable-rows.ts';
import { Store } from '../../../src/service/database/store.ts';
import { changesOf } from '../../../src/service/history/load-changes.ts';
import { recordLoaded, recordRestored } from '../../../src/service/history/module-history.ts';
import { HistoryQueries } from '../../../src/service/history/queries.ts';
import type { HistoryRecord } from '../../../src/service/history/repository.ts';
import { newDatabase } from '../../databases.ts';
import { state } from '../agents/agent.ts';
import { buildKind, inTransaction, type Records } from '../records.ts';

const folder = mkdtempSync(join(tmpdir(), 'patchbay-history-'));
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
/** Times of a run, in milliseconds. The range is small, so that times coincide. */
const anyTime = fc.integer({ min: 0, max: 60 });

/** Events of a device: the report of a load, a reboot of its host, or a module table reported without an order. */
const anyEvent = fc.oneof(
  fc.record({
    kind: fc.constantFrom('loaded' as const, 'reverted' as const, 'unloaded' as const, 'unload-reverted' as const, 'not-loaded' as const),
    module: fc.constantFrom(...modules),
    version: fc.integer({ min: 1, max: 4 }),
    requestedAt: anyTime,
    swappedAt: fc.option(anyTime),
    endedAt: anyTime,
    reportedAt: anyTime,
  }),
  fc.record({ kind: fc.constant('reboot' as const), at: anyTime, isUpAt: anyTime, lost: fc.subarray(modules) }),
  // A module table without an order: a version of each module, or none.
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
    await records.history.endAll([deviceId], new Date(event.at), 'reboot');
    const installed = await records.devices.modulesOf([deviceId]);
    const table = installed
      .filter(({ module }) => !event.lost.includes(module))
      .map(({ module, version }) => [module, { version, image, address: '0x9000' }]);
    const ordered = installed.map(({ module, version }) => ({ module, version, image }));
    const order = Order.parse({
      kind: 'attach-device',
      ...newOrder(deviceId),
      name: 'device',
      ramPages: 16,
      modules: ordered,
      programs: [],
    });
    if (order.kind !== 'attach-device') return;
    await recordRestored(
      records.connection,
      deviceId,
      order.modules,
      DeviceState.parse(state(Object.fromEntries(table))),
      new Date(event.isUpAt),
    );
    return;
  }
  if (event.kind === 'observed') {
    const table = event.versions.flatMap((version, index) =>
      version === null ? [] : [[modules[index] ?? '', { version: `${version}.0.0`, image, address: '0x5000' }] as const],
    );
    const reported = { ...DeviceState.parse(state(Object.fromEntries(table))), isComplete: event.isComplete };
    await correctDrift(records.connection, 'h', new Map([[deviceId, reported]]), new Date(event.at));
    const known = new Map((await records.devices.installedOn([deviceId])).map((entry) => [entry.module, entry]));
    // The service stores exactly what was reported.
    for (const [module, { version }] of table) expect(known.get(module)).toMatchObject({ version, isPresent: true });
    if (event.isComplete) expect([...known.values()].filter(({ isPresent }) => isPresent)).toHaveLength(table.length);
    return;
  }
  const { module, requestedAt, reportedAt } = event;
  const version = `${event.version}.0.0`;
  const load = newIdentifier('load');
  const row = {
    ...buildKind,
    id: load,
    batchId: 'b',
    deviceId,
    buildId: 'x',
    module,
    version,
    ...policy,
    state: 'dispatched',
    deadlineAt: null,
    heldSince: null,
    heldUntil: null,
    windowOverride: null,
  };
  await records.loads.create([{ ...row, requestedAt: new Date(requestedAt), requestedBy: 'key_a', rollback: false, rolloutId: null }]);
  const isUnload = event.kind !== 'loaded' && event.kind !== 'reverted';
  const content = isUnload ? { kind: 'unload-module', module } : { kind: 'load', module, version, image };
  const order = Order.parse({ ...newOrder(deviceId), load, ...content, ...policy });
  const request = (await records.loads.requestsOf([load])).get(load);
  const before = (await records.devices.versionsOf([deviceId], module)).get(deviceId);
  if (isLoadOrder(order))
    await recordLoaded(records.connection, changesOf({ order, report: reportOf(event), request }), new Date(reportedAt));
  const after = (await records.devices.versionsOf([deviceId], module)).get(deviceId);
  const expected = { loaded: version, unloaded: undefined, 'not-loaded': undefined, reverted: before, 'unload-reverted': before };
  expect([event.kind, after]).toEqual([event.kind, expected[event.kind]]);
}

const policy = {
  strategy: 'drain',
  invalidation: 'nx',
  drainMilliseconds: null,
  versionPolicy: 'newer',
  downgradeReason: null,
  similarityPolicy: 'require',
  linkPolicy: 'require',
};
const outcomes = {
  loaded: 'replaced',
  reverted: 'failed',
  unloaded: 'unloaded',
  'unload-reverted': 'cancelled',
  'not-loaded': 'refused-not-loaded',
} as const;

/** Returns the report of a load. */
function reportOf({ kind, version, swappedAt, endedAt }: Extract<Event, { readonly requestedAt: number }>): LoadReport {
  const step = (name: string, at: number, facts: object) => ({
    step: name,
    operation: name === 'loaded' ? 230 : name === 'table-updated' ? 240 : null,
    at: new Date(at).toISOString(),
    startedMicroseconds: 0,
    microseconds: 0,
    facts,
  });
  return LoadReport.parse({
    outcome: outcomes[kind],
    reason: null,
    previous: null,
    current: kind === 'loaded' ? { version: `${version}.0.0`, image, address: '0x1000', pages: 2 } : null,
    interrupted: 0,
    retried: 0,
    failed: 0,
    microseconds: 0,
    steps: [
      ...(kind === 'loaded' || kind === 'reverted'
        ? [step('loaded', swappedAt ?? 0, { address: '0x1000', pages: 2, selfCheck: 'none', stateWords: null })]
        : []),
      ...(swappedAt === null ? [] : [step('table-updated', swappedAt, { from: null, to: kind === 'unloaded' ? null : '0x1000' })]),
      ...(kind === 'reverted' ? [step('failed', endedAt, { during: 'references-reset', reason: '' })] : []),
      ...(kind === 'unload-reverted' ? [step('cancelled', endedAt, { during: 'checked-references', reason: '' })] : []),
    ],
  });
}

const newOrder = (device: string) => ({ order: newIdentifier('order'), device, sequence: 1 });

/** Returns violated invariants of the residencies of one module on a device, in order of creation. */
function findFaults(residencies: readonly HistoryRecord[]): string[] {
  return residencies.flatMap(({ number, installedAt, removedAt, removalCause }, index) => {
    const next = residencies[index + 1];
    return [
      ...(removedAt !== null && removedAt < installedAt ? [`${number} ends before it begins`] : []),
      ...(next === undefined || (removedAt !== null && removedAt <= next.installedAt) ? [] : [`${number} overlaps the next`]),
      ...((removedAt === null) === (removalCause === null) ? [] : [`${number} has a removal time without a cause, or the reverse`]),
    ];
  });
}

test('residencies of a module never overlap, and the module table at any time is that of the history', { timeout: 300_000 }, async () => {
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
      expect([...Map.groupBy(all, ({ module }) => module).values()].flatMap(findFaults)).toEqual([]);
      for (const time of [-1, ...all.flatMap(({ installedAt, removedAt }) => [installedAt, removedAt ?? installedAt].map(Number)), 1_000]) {
        const moment = new Date(time);
        const expected = all
          .filter(({ installedAt, removedAt }) => installedAt <= moment && (removedAt === null || removedAt > moment))
          .toSorted((left, right) => (left.module < right.module ? -1 : 1));
        const found = await new HistoryQueries(store.reader).at(id, moment, { sort: 'name', order: 'asc', limit: 10, after: null });
        expect([time, found]).toEqual([time, expected]);
      }
    }),
    { numRuns: 150 },
  );
});

test('times are those of the device clock, within bounds', async () => {
  const id = newIdentifier('device');
  const load = { kind: 'loaded' as const, module: 'tcp', endedAt: 0 };
  const events: readonly (readonly [Event, number])[] = [
    [{ ...load, version: 1, requestedAt: 100, swappedAt: 150, reportedAt: 700 }, 150],
    // The device clock is behind: the time is before the request.
    [{ ...load, version: 2, requestedAt: 800, swappedAt: 300, reportedAt: 900 }, 800],
    // The device clock is ahead.
    [{ ...load, version: 3, requestedAt: 900, swappedAt: 5_000, reportedAt: 1_000 }, 1_000],
    // Requested while the load before was in progress; the time is before the start of its residency.
    [{ ...load, version: 4, requestedAt: 850, swappedAt: 860, reportedAt: 1_100 }, 1_000],
    // The report has no time.
    [{ ...load, version: 1, requestedAt: 850, swappedAt: null, reportedAt: 1_200 }, 1_200],
  ];
  await inTransaction(store, async (records) => {
    await records.devices.create([{ id, name: id, hostId: 'h', labels: {}, createdAt: new Date(0), ramPages: 16 }]);
    for (const [event] of events) await apply(records, id, event);
  });
  const page = { sort: 'time', order: 'asc', limit: 1_000, after: null } as const;
  const residencies = withoutMarks(await new HistoryQueries(store.reader).list({ deviceId: id, module: 'tcp' }, page));
  expect(residencies.map(({ installedAt }) => installedAt.getTime())).toEqual(events.map(([, time]) => time));
});
