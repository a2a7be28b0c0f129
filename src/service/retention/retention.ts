// What is not kept for ever: old events, once a checkpoint has them, and images that no device has or can go back to.

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
import { BuildRecords } from '../modules/repository.ts';
import { systemActor } from '../requester.ts';
import type { ImageResidency } from './repository.ts';
import { ImageRecords } from './repository.ts';

export type RetentionSettings = {
  /** Milliseconds between looks at what is old. */
  readonly interval: number;
  /** Milliseconds that events are kept; null: for ever. */
  readonly keepEvents: number | null;
  /** Milliseconds that images are kept that no device has or can go back to; null: for ever. */
  readonly keepImages: number | null;
  /** Versions of a module that a device can go back to, besides the one that it has. */
  readonly keepVersions: number;
};

/** Events removed in one transaction: whole tiles of the Merkle tree, which stay. */
const eventsAtOnce = 16 * tileWidth;
/** Devices whose histories are looked at in one go. */
const devicesAtOnce = 500;
/** Images removed in one transaction. */
const imagesAtOnce = 100;

type Uses = { readonly store: Store; readonly checkpoints: Checkpoints; readonly timeKeeper: TimeKeeper };

/** Removes what is old, from now on; once in the whole installation. */
export function schedulePruning({ store, checkpoints, timeKeeper }: Uses, settings: RetentionSettings): RecurringJob {
  const { clock } = timeKeeper;
  return store.scheduleJob('retention', settings.interval, async () => {
    await timeKeeper.save();
    await pruneEvents(store, checkpoints, settings, clock);
    await pruneImages(store, settings, clock);
  });
}

/** Removes events that are older than they are kept, only those that a checkpoint has; what proves them stays. @throws {Problem} `trail-broken`. */
async function pruneEvents(
  store: Store,
  checkpoints: Checkpoints,
  { keepEvents }: RetentionSettings,
  clock: Pick<Clock, 'now'>,
): Promise<void> {
  if (keepEvents === null) return;
  // Events have the time of the service: one that is behind, or has been ahead, makes none of them old.
  const now = Math.min((await new RetentionTimeRecords(store.readConnection).now()).getTime(), clock.now().getTime());
  const head = await new AuditRecords(store.readConnection).head();
  const lastOld = await new AuditQueries(store.reader).findLastOlderThan(head, new Date(now - keepEvents));
  let { prunedThrough } = head;
  if (lastOld - prunedThrough < tileWidth) return;
  const { checkpoint } = await checkpoints.create();
  const end = Math.floor(Math.min(lastOld, checkpoint.size) / tileWidth) * tileWidth;
  while (prunedThrough < end) {
    const through = Math.min(end, prunedThrough + eventsAtOnce);
    await store.transaction(async (connection) => {
      await new AuditRecords(connection).prune(through);
      const detail = { after: prunedThrough, through, checkpoint: checkpoint.size };
      await audit(connection, systemActor, clock.now(), [{ action: 'audit.pruned', object: `checkpoint ${checkpoint.size}`, detail }]);
    });
    prunedThrough = through;
    await delay(0);
  }
}

/** Removes images that are older than they are kept, and that no device has or can go back to. */
async function pruneImages(store: Store, { keepImages, keepVersions }: RetentionSettings, clock: Pick<Clock, 'now'>): Promise<void> {
  if (keepImages === null) return;
  const now = await new RetentionTimeRecords(store.readConnection).now();
  const old = await new ImageRecords(store.readConnection).storedBefore(new Date(now.getTime() - keepImages));
  const used = await new ImageRecords(store.readConnection).inUse();
  const unused = new Set(old.filter((digest) => !used.has(digest)));
  for (let last = ''; unused.size > 0; ) {
    const deviceIds = await new ImageRecords(store.readConnection).deviceIdsAfter(last, devicesAtOnce);
    for (const digest of findRetainedImages(await new ImageRecords(store.readConnection).residenciesOf(deviceIds), keepVersions))
      unused.delete(digest);
    last = deviceIds.at(-1) ?? '';
    if (deviceIds.length < devicesAtOnce) break;
    await delay(0);
  }
  const digests = [...unused];
  for (let first = 0; first < digests.length; first += imagesAtOnce)
    await store.transaction((connection) => remove(connection, digests.slice(first, first + imagesAtOnce), clock.now()));
}

/** The images that each device has and can go back to. */
export function findRetainedImages(stays: readonly ImageResidency[], keepVersions: number): Set<string> {
  const ofModules = Map.groupBy(stays, ({ deviceId, module }) => `${deviceId}/${module}`);
  return new Set(
    [...ofModules.values()].flatMap((ofModule) =>
      ofModule
        .toSorted((left, right) => right.newest - left.newest)
        .slice(0, keepVersions + 1)
        .map(({ imageDigest }) => imageDigest),
    ),
  );
}

/** @param digests Of images that nobody needed; somebody may by now. */
async function remove(connection: Connection, digests: readonly string[], prunedAt: Date): Promise<void> {
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
