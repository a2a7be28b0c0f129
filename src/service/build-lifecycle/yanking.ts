// Yanks builds: nothing new may use a yanked build, and copies in the memory of devices stay. Unyanking reverses it.

import { audit } from '../audit-events/entry.ts';
import type { Clock } from '../clock/service-clock.ts';
import type { Connection } from '../database/connection.ts';
import type { Store } from '../database/store.ts';
import { endLoads, type OnLoadsEnded } from '../loads/endings.ts';
import { type BuildRecord, BuildRecords } from '../modules/repository.ts';
import { describeYank } from '../modules/yanked-build.ts';
import { notFound } from '../problem.ts';
import type { Requester } from '../requester.ts';
import { RolloutRecords } from '../rollouts/repository.ts';
import { BuildReferences, type QueuedLoad } from './repository.ts';

/** Loads that one transaction ends. */
const groupSize = 500;

/** The states in which a rollout requests loads, now or later. */
const activeStates: readonly string[] = ['pending', 'running', 'awaiting-approval'];

type Uses = { readonly store: Store; readonly clock: Clock };

export class Yanking {
  readonly #uses: Uses;

  constructor(uses: Uses) {
    this.#uses = uses;
  }

  /**
   * Yanks a build: pauses the open rollouts that load it, and cancels its loads that were not sent to a host yet, a group at a time. Keeps the reason of
   * a build that is yanked already. If it fails midway, the same request continues.
   * @throws {Problem} `not-found`.
   */
  async yank(module: string, version: string, reason: string, requester: Requester): Promise<BuildRecord> {
    const { store, clock } = this.#uses;
    const yanked = await store.transaction(async (connection) => {
      const build = await findBuild(connection, module, version);
      if (build.yankedAt !== null) return build;
      const yank = { yankedAt: clock.now(), yankReason: reason, yankedBy: requester.actor };
      await new BuildRecords(connection).setYank(build.id, yank);
      const rollouts = await pauseRollouts(connection, { ...build, ...yank }, requester, yank.yankedAt);
      const detail = { module, version, reason, pausedRollouts: rollouts };
      await audit(connection, requester, yank.yankedAt, [{ action: 'build.yanked', object: build.id, detail }]);
      return { ...build, ...yank };
    });
    await this.#cancelQueued(yanked, requester);
    return yanked;
  }

  /** Makes a build usable again. Rollouts remain paused. Does nothing if the build is not yanked. @throws {Problem} `not-found`. */
  async unyank(module: string, version: string, requester: Requester): Promise<BuildRecord> {
    return this.#uses.store.transaction(async (connection) => {
      const build = await findBuild(connection, module, version);
      if (build.yankedAt === null) return build;
      const usable = { yankedAt: null, yankReason: null, yankedBy: null };
      await new BuildRecords(connection).setYank(build.id, usable);
      const detail = { module, version, yankReason: build.yankReason };
      await audit(connection, requester, this.#uses.clock.now(), [{ action: 'build.unyanked', object: build.id, detail }]);
      return { ...build, ...usable };
    });
  }

  /** Cancels the loads of a yanked build that were not sent to a host. No load is added meanwhile: the build is yanked. */
  async #cancelQueued(build: BuildRecord, requester: Requester): Promise<void> {
    const { store, clock } = this.#uses;
    const queued = await new BuildReferences(store.readConnection).queuedLoads(build);
    for (let first = 0; first < queued.length; first += groupSize)
      await store.transaction(async (connection) => {
        const { yankReason } = await findBuild(connection, build.module, build.version);
        const reason = describeYank({ ...build, yankReason });
        // Unyanked meanwhile.
        if (reason === null) return;
        await cancelLoads(connection, queued.slice(first, first + groupSize), reason, requester, clock.now());
      });
  }
}

async function findBuild(connection: Connection, module: string, version: string): Promise<BuildRecord> {
  const build = await new BuildRecords(connection).find(module, version);
  if (build === null) throw notFound('build', `${module}@${version}`);
  return build;
}

/** Pauses the rollouts that load a build, and returns their identifiers. */
async function pauseRollouts(connection: Connection, build: BuildRecord, requester: Requester, at: Date): Promise<string[]> {
  const reason = describeYank(build);
  const active = (await new RolloutRecords(connection).openOfBuild(build)).filter(({ state }) => activeStates.includes(state));
  const ids = active.map(({ id }) => id);
  for (const id of ids) await new RolloutRecords(connection).update(id, { state: 'paused', reason });
  await audit(
    connection,
    requester,
    at,
    ids.map((object) => ({ action: 'rollout.paused', object, detail: { reason } })),
  );
  return ids;
}

/** Cancels those of the loads that are still queued. The devices of rollouts wait for another load. */
async function cancelLoads(
  connection: Connection,
  loads: readonly QueuedLoad[],
  reason: string,
  requester: Requester,
  completedAt: Date,
): Promise<void> {
  const stillQueued = await new BuildReferences(connection).filterQueued(loads);
  const waitAgain: OnLoadsEnded = (_, loadIds) => new RolloutRecords(connection).returnToWaiting(loadIds);
  await endLoads(connection, stillQueued, { outcome: 'cancelled', reason, completedAt }, requester, waitAgain);
}
