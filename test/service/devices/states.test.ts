// States of devices: the service stores a state only if it is newer than the stored one.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { newIdentifier } from '../../../src/protocol/identifiers.ts';
import { Store } from '../../../src/service/database/store.ts';
import type { ReportedState } from '../../../src/service/devices/repository.ts';
import { newDatabase } from '../../databases.ts';
import { inTransaction, Records } from '../records.ts';

const folder = mkdtempSync(join(tmpdir(), 'patchbay-states-'));
let store: Store;
beforeAll(async () => {
  store = await Store.open(await newDatabase(folder));
  const host = { name: 'host', bootId: 'boot', capacity: 1, registeredAt: new Date(0), tokenDigest: null, unreachableSince: null };
  await inTransaction(store, (records) => records.hosts.save({ id: 'h', ...host }));
});
afterAll(async () => {
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

async function newDevice(): Promise<string> {
  const id = newIdentifier('device');
  await inTransaction(store, (records) =>
    records.devices.create([{ id, name: id, hostId: 'h', labels: {}, createdAt: new Date(0), ramPages: 16 }]),
  );
  return id;
}

const reported = (id: string, stateSequence: number | null, state: string): ReportedState => ({
  id,
  hostId: 'h',
  state: { state },
  stateReportedAt: new Date(1),
  stateSequence,
});

const setStates = (...states: ReportedState[]) => inTransaction(store, (records) => records.devices.setStates(states));
const stateOf = async (id: string) => (await new Records(store.readConnection).devices.find(id))?.state;

const large = Number.MAX_SAFE_INTEGER;

test.each<[kept: number | null, next: number | null, isKept: boolean]>([
  [5, 4, false],
  [5, 5, false],
  [5, 6, true],
  [9, 10, true],
  [large - 1, large - 1, false],
  [large - 1, large, true],
  [5, null, true],
  [null, 0, true],
  [null, null, true],
])('after a state with the sequence %s, a state with %s is stored: %s', async (kept, next, isKept) => {
  const id = await newDevice();
  expect(await setStates(reported(id, kept, 'first'))).toEqual(new Set([id]));
  expect(await setStates(reported(id, next, 'second'))).toEqual(new Set(isKept ? [id] : []));
  expect(await stateOf(id)).toEqual({ state: isKept ? 'second' : 'first' });
  const sequence = isKept ? next : kept;
  expect(await new Records(store.readConnection).devices.sequencesOf([id])).toEqual(new Map(sequence === null ? [] : [[id, sequence]]));
});

test('of several states, stores those that are newer and belong to a device of their host', async () => {
  const [older, newer, foreign] = [await newDevice(), await newDevice(), await newDevice()];
  await setStates(reported(older, 5, 'first'), reported(newer, 5, 'first'), reported(foreign, 5, 'first'));
  const kept = await setStates(
    reported(older, 4, 'second'),
    reported(newer, 6, 'second'),
    { ...reported(foreign, 6, 'second'), hostId: 'another' },
    reported(newIdentifier('device'), 6, 'second'),
  );
  expect(kept).toEqual(new Set([newer]));
  expect([await stateOf(older), await stateOf(newer), await stateOf(foreign)]).toEqual([
    { state: 'first' },
    { state: 'second' },
    { state: 'first' },
  ]);
});
