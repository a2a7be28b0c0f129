// Limits of a rollout: selected devices, and attempts per device.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Store } from '../../../src/service/database/store.ts';
import { checkSelectionSize } from '../../../src/service/devices/selection.ts';
import { Problem } from '../../../src/service/problem.ts';
import { RolloutQueries } from '../../../src/service/rollouts/queries.ts';
import { newDatabase } from '../../databases.ts';
import { inTransaction } from '../records.ts';

test('rejects a selection of too many devices', () => {
  const devices = Array.from({ length: 3 }, (_, index) => ({ id: `d${index}`, hostId: 'h' }));
  expect(checkSelectionSize(devices, '/labels', 3)).toBe(devices);
  const refusal = () => checkSelectionSize(devices, '/labels', 2);
  expect(refusal).toThrow(Problem);
  expect(refusal).toThrow('limit exceeded (2 devices per request): narrow the selection');
});

test('does not retry a device after the maximum number of attempts', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'patchbay-rollouts-'));
  const store = await Store.open(await newDatabase(folder));
  const now = new Date();
  const rollout = { id: 'r', module: 'tcp', version: '1.0.0', plan: {}, state: 'paused', reason: null, rollbackOf: null, requestedAt: now };
  const times = {
    requestedBy: 'key_a',
    startedAt: now,
    patchSetId: null,
    endedAt: null,
    nextLoadAt: null,
    acceptsDevicesUntil: null,
    scope: null,
  };
  const device = { deviceId: 'd', position: 1, wave: 1, version: '1.0.0', state: 'waiting', reason: null, previousVersion: null };
  await inTransaction(store, async ({ rollouts }) => {
    await rollouts.create({ ...rollout, ...times }, [{ number: 1, state: 'loading', startedAt: now }]);
    await rollouts.addDevices('r', [device]);
  });
  const fail = (loadId: string) =>
    inTransaction(store, async ({ rollouts }) => {
      await rollouts.setLoading('r', [{ id: loadId, device: 'd' }]);
      await rollouts.settleFailed([{ loadId, outcome: 'failed', reason: 'no' }]);
    });
  const retry = () => inTransaction(store, ({ rollouts }) => rollouts.retryFailed('r', [1], 2));
  await fail('l1');
  expect(await retry()).toEqual(new Map([[1, 1]]));
  await fail('l2');
  expect(await retry()).toEqual(new Map());
  // The end of an older load of the device is ignored.
  const installation = { interrupted: 0, loadedAt: now, baseline: {} };
  await inTransaction(store, ({ rollouts }) => rollouts.settleLoaded({ loadId: 'l1', outcome: 'replaced', reason: null }, installation));
  const page = { sort: 'number', order: 'asc', limit: 10, after: null } as const;
  expect(await new RolloutQueries(store.reader).devices({ rolloutId: 'r' }, page)).toMatchObject([
    { state: 'failed', attempts: 2, loadId: 'l2' },
  ]);
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});
