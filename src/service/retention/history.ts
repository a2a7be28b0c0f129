// Deletes expired residencies from the histories of devices.

import { setTimeout as delay } from 'node:timers/promises';
import { audit } from '../audit-events/entry.ts';
import type { Clock } from '../clock/service-clock.ts';
import type { Store } from '../database/store.ts';
import { systemActor } from '../requester.ts';
import { HistoryPruningRecords } from './history-repository.ts';
import { earliestNow, isUnlimited, pruningEvent, type RetentionLimit } from './limit.ts';

/** Devices whose histories one transaction prunes. */
const deviceBatchSize = 200;

type Settings = {
  /** Its number limits the residencies of one module on one device. */
  readonly history: RetentionLimit;
  /** Number of earlier versions of a module that a device can roll back to. */
  readonly keepVersions: number;
};

/** Deletes residencies that ended too long ago, or that are not among the newest of a module on a device. */
export async function pruneHistory(store: Store, { history, keepVersions }: Settings, clock: Pick<Clock, 'now'>): Promise<void> {
  if (isUnlimited(history)) return;
  const endedBefore = history.age === null ? null : new Date((await earliestNow(store, clock)) - history.age);
  // A rollback is a residency too: each version to which a device can roll back may have been installed twice.
  const limits = { endedBefore, number: history.number, loadedVersions: 2 * (keepVersions + 1) };
  for (let last = ''; ; ) {
    const devices = await new HistoryPruningRecords(store.readConnection).deviceIdsAfter(last, deviceBatchSize);
    if ((await new HistoryPruningRecords(store.readConnection).findExpired(devices, limits)).length > 0)
      await store.transaction(async (connection) => {
        const records = new HistoryPruningRecords(connection);
        const expired = await records.findExpired(devices, limits);
        if (expired.length === 0) return;
        await records.delete(expired);
        const numbers = expired.map(({ number }) => number);
        await audit(connection, systemActor, clock.now(), [pruningEvent('device.history-pruned', 'history', numbers)]);
      });
    last = devices.at(-1) ?? '';
    if (devices.length < deviceBatchSize) return;
    await delay(0);
  }
}
