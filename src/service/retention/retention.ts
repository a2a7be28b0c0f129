// Deletes expired data at intervals: events that a checkpoint covers, reports, history, loads, and images that no device has or can roll back to.

import { setTimeout as delay } from 'node:timers/promises';
import type { Checkpoints } from '../audit/checkpoints.ts';
import { tileWidth } from '../audit/merkle-tiles.ts';
import { AuditQueries } from '../audit/queries.ts';
import { audit } from '../audit-events/entry.ts';
import { AuditRecords } from '../audit-events/repository.ts';
import { RetentionTimeRecords } from '../clock/repository.ts';
import type { Clock } from '../clock/service-clock.ts';
import type { TimeKeeper } from '../clock/time-keeper.ts';
import type { Connection } from '../database/connection.ts';
import type { RecurringJob } from '../database/recurring-job.ts';
import type { Store } from '../database/store.ts';
import { findVersionsBeforeSets } from '../loads/set-loads.ts';
import { BuildRecords } from '../modules/repository.ts';
import { systemActor } from '../requester.ts';
import { WebhookRecords } from '../webhooks/repository.ts';
import { pruneHistory } from './history.ts';
import { earliestNow, isUnlimited, type RetentionLimit } from './limit.ts';
import { pruneLoads, pruneReports } from './loads.ts';
import type { ImageResidency } from './repository.ts';
import { ImageRecords } from './repository.ts';

export type RetentionSettings = {
  /** Interval between two runs, in milliseconds. */
  readonly interval: number;
  readonly events: RetentionLimit;
  readonly reports: RetentionLimit;
  readonly loads: RetentionLimit;
  /** Its number limits the residencies of one module on one device. */
  readonly history: RetentionLimit;
  /** How long images are stored that no device has or can roll back to, in milliseconds; null: forever. */
  readonly keepImages: number | null;
  /** Number of earlier versions of a module that a device can roll back to. */
  readonly keepVersions: number;
};

const unlimited: RetentionLimit = { age: null, number: null };
/** Deletes nothing. */
export const retainEverything: RetentionSettings = {
  interval: 3_600_000,
  events: unlimited,
  reports: unlimited,
  loads: unlimited,
  history: unlimited,
  keepImages: null,
  keepVersions: 5,
};

/** Events deleted in one transaction, in whole tiles of the Merkle tree: few enough for 50 ms. The tiles themselves are not deleted. */
const eventBatchSize = 8 * tileWidth;
/** How much longer events are stored that a webhook has not delivered, in milliseconds. Webhooks that fail for longer have a gap. */
const holdForWebhooks = 7 * 24 * 3_600_000;
/** Devices whose histories are read at once. */
const deviceBatchSize = 500;
/** Images deleted in one transaction. */
const imageBatchSize = 100;

type Dependencies = { readonly store: Store; readonly checkpoints: Checkpoints; readonly timeKeeper: TimeKeeper };

/** Deletes expired data at intervals, in one replica at a time. */
export function schedulePruning({ store, checkpoints, timeKeeper }: Dependencies, settings: RetentionSettings): RecurringJob {
  const { clock } = timeKeeper;
  return store.scheduleJob('retention', settings.interval, async () => {
    await timeKeeper.save();
    await pruneEvents(store, checkpoints, settings.events, clock);
    await pruneReports(store, settings.reports, clock);
    // Loads that the history names are kept.
    await pruneHistory(store, settings, clock);
    await pruneLoads(store, settings.loads, clock);
    await pruneImages(store, settings, clock);
  });
}

/** Deletes expired events that a checkpoint covers and that webhooks have delivered; their proofs remain. @throws {Problem} `trail-broken`. */
async function pruneEvents(store: Store, checkpoints: Checkpoints, limit: RetentionLimit, clock: Pick<Clock, 'now'>): Promise<void> {
  if (isUnlimited(limit)) return;
  const now = await earliestNow(store, clock);
  const head = await new AuditRecords(store.readConnection).head();
  const queries = new AuditQueries(store.reader);
  const aged = limit.age === null ? 0 : await queries.findLastOlderThan(head, new Date(now - limit.age));
  const expired = Math.max(aged, limit.number === null ? 0 : head.number - limit.number);
  const undelivered = await new WebhookRecords(store.readConnection).lowestCursor();
  const isHeld = undelivered !== null && undelivered < expired;
  const longHeld = isHeld ? await queries.findLastOlderThan(head, new Date(now - (limit.age ?? 0) - holdForWebhooks)) : expired;
  const lastOld = isHeld ? Math.min(expired, Math.max(undelivered, longHeld)) : expired;
  let { prunedThrough } = head;
  if (lastOld - prunedThrough < tileWidth) return;
  const { checkpoint } = await checkpoints.create();
  const end = Math.floor(Math.min(lastOld, checkpoint.size) / tileWidth) * tileWidth;
  while (prunedThrough < end) {
    const through = Math.min(end, prunedThrough + eventBatchSize);
    await store.transaction(async (connection) => {
      await new AuditRecords(connection).prune(through);
      const detail = { after: prunedThrough, through, checkpoint: checkpoint.size };
      await audit(connection, systemActor, clock.now(), [{ action: 'audit.pruned', object: `checkpoint ${checkpoint.size}`, detail }]);
    });
    prunedThrough = through;
    await delay(0);
  }
}

/** Deletes expired images that no device has or can roll back to. */
async function pruneImages(store: Store, { keepImages, keepVersions }: RetentionSettings, clock: Pick<Clock, 'now'>): Promise<void> {
  if (keepImages === null) return;
  const now = await new RetentionTimeRecords(store.readConnection).now();
  const old = await new ImageRecords(store.readConnection).storedBefore(new Date(now.getTime() - keepImages));
  const used = await new ImageRecords(store.readConnection).inUse();
  const unused = new Set(old.filter((digest) => !used.has(digest)));
  for (let last = ''; unused.size > 0; ) {
    const deviceIds = await new ImageRecords(store.readConnection).deviceIdsAfter(last, deviceBatchSize);
    for (const digest of findRetainedImages(await new ImageRecords(store.readConnection).residenciesOf(deviceIds), keepVersions))
      unused.delete(digest);
    // Versions may have been installed and removed since a patch set replaced a version, so that it is not among the newest.
    const beforeSets = await findVersionsBeforeSets(store.readConnection, deviceIds, keepVersions);
    for (const { imageDigest } of await new BuildRecords(store.readConnection).findLoadable(beforeSets)) unused.delete(imageDigest);
    last = deviceIds.at(-1) ?? '';
    if (deviceIds.length < deviceBatchSize) break;
    await delay(0);
  }
  const digests = [...unused];
  for (let first = 0; first < digests.length; first += imageBatchSize)
    await store.transaction((connection) => deleteImages(connection, digests.slice(first, first + imageBatchSize), clock.now()));
}

/** Returns the images that each device has or can roll back to. */
export function findRetainedImages(residencies: readonly ImageResidency[], keepVersions: number): Set<string> {
  const ofModules = Map.groupBy(residencies, ({ deviceId, module }) => `${deviceId}/${module}`);
  return new Set(
    [...ofModules.values()].flatMap((ofModule) =>
      ofModule
        .toSorted((left, right) => right.newest - left.newest)
        .slice(0, keepVersions + 1)
        .map(({ imageDigest }) => imageDigest),
    ),
  );
}

/** Deletes images that are still unused. @param digests Images that were unused when they were selected. */
async function deleteImages(connection: Connection, digests: readonly string[], prunedAt: Date): Promise<void> {
  const used = await new ImageRecords(connection).inUse();
  const unused = digests.filter((digest) => !used.has(digest));
  if (unused.length === 0) return;
  const builds = await new ImageRecords(connection).buildsOf(unused);
  await new ImageRecords(connection).delete(unused);
  await new BuildRecords(connection).setPruned(unused, prunedAt);
  const drivers = unused.length - builds.length;
  await audit(connection, systemActor, prunedAt, [
    ...builds.map(({ id, module, version, imageDigest }) => ({
      action: 'build.image-pruned',
      object: id,
      detail: { module, version, image: imageDigest },
    })),
    ...(drivers === 0 ? [] : [{ action: 'program.drivers-pruned', object: 'drivers', detail: { drivers } }]),
  ]);
}
