// Which hosts are heard of: each says something every few seconds, to whichever replica of the service, and the devices of one that has not for too
// long are unreachable. Every replica watches by its own monotonic clock whether the number changes that is kept of each host: no clock is compared
// with another, and none that jumps makes a host silent or keeps a dead one alive.

import { audit } from '../audit-events/entry.ts';
import type { Clock } from '../clock/service-clock.ts';
import type { Connection } from '../database/connection.ts';
import { LocalRecurringJob } from '../database/local-recurring-job.ts';
import type { Store } from '../database/store.ts';
import { systemActor } from '../requester.ts';
import type { HeartbeatCount } from './repository.ts';
import { HostRecords } from './repository.ts';

/** A host that is not heard of may miss so many heartbeats and be late with one more. */
const missedHeartbeats = 3;
/** So many times in the time that a host may be silent, it is put on disk who was heard of. */
const flushesPerLimit = 8;
/** So many times in that time, but at least every so many milliseconds, it is looked which hosts are silent. */
const sweepsPerLimit = 4;
const maxSweepInterval = 1_000;

/** The number that was last seen of a host, and since when, by the time that was watched. */
type Observation = { readonly count: number; readonly since: number };

type Uses = { readonly store: Store; readonly clock: Clock };

export class Reachability {
  readonly #uses: Uses;
  readonly #limit: number;
  readonly #sweepInterval: number;
  /** Hosts that were heard of here, until that is on disk. */
  #contacted = new Set<string>();
  readonly #observations = new Map<string, Observation>();
  /** Milliseconds that were watched until the last look: those in which the process stood still, or the database did not answer, do not count. */
  #observedMilliseconds = 0;
  #lastSweepAt: number | null = null;
  readonly #flushJob: LocalRecurringJob;
  readonly #sweepJob: LocalRecurringJob;

  /** @param limit Milliseconds of silence after which a host is unreachable. */
  constructor(uses: Uses, limit: number) {
    this.#uses = uses;
    this.#limit = limit;
    this.#sweepInterval = Math.min(maxSweepInterval, limit / sweepsPerLimit);
    this.#flushJob = new LocalRecurringJob(limit / flushesPerLimit, () => this.#flush());
    this.#sweepJob = new LocalRecurringJob(this.#sweepInterval, () => this.sweep());
  }

  /** How often a host is to say that it is there, in milliseconds. */
  get heartbeatInterval(): number {
    return Math.ceil(this.#limit / (missedHeartbeats + 1));
  }

  /** A host has said something; one that was unreachable is not any more when it resolves. */
  async recordContact(hostId: string, isUnreachable: boolean): Promise<void> {
    this.#contacted.add(hostId);
    if (isUnreachable) await this.#flush();
  }

  /** Finds the hosts that have not been heard of for too long; nobody has, where nobody could say it. */
  async sweep(): Promise<void> {
    const silent = this.#findSilent(await new HostRecords(this.#uses.store.readConnection).heartbeatCounts());
    if (silent.size === 0) return;
    await this.#uses.store.transaction(async (connection) => {
      // Some may have been heard of while the transaction waited, or another replica has found the same.
      const still = (await new HostRecords(connection).heartbeatCounts()).filter(
        ({ id, count }) => silent.get(id) === count && !this.#contacted.has(id),
      );
      const ids = still.map(({ id }) => id);
      await new HostRecords(connection).endStreams(ids);
      await this.#setStatus(connection, ids, { action: 'host.unreachable', detail: { silentMilliseconds: this.#limit } });
    });
  }

  /** Puts the last on disk, and no more. */
  async stop(): Promise<void> {
    await this.#sweepJob.stop();
    await this.#flushJob.stop();
    await this.#flush().catch(() => {});
  }

  /** Watches the numbers of the hosts. Returns those that have not changed for too long, by host. */
  #findSilent(counts: readonly HeartbeatCount[]): Map<string, number> {
    const now = this.#uses.clock.monotonic();
    const elapsed = now - (this.#lastSweepAt ?? now);
    this.#lastSweepAt = now;
    this.#observedMilliseconds += Math.min(elapsed, 2 * this.#sweepInterval);
    const silent = new Map<string, number>();
    const there = new Set<string>();
    for (const { id, count } of counts) {
      there.add(id);
      const last = this.#observations.get(id);
      if (last?.count !== count || this.#contacted.has(id)) this.#observations.set(id, { count, since: this.#observedMilliseconds });
      else if (this.#observedMilliseconds - last.since > this.#limit) silent.set(id, count);
    }
    for (const id of this.#observations.keys()) if (!there.has(id)) this.#observations.delete(id);
    return silent;
  }

  /** Puts on disk who was heard of; those who were unreachable are not any more. */
  async #flush(): Promise<void> {
    if (this.#contacted.size === 0) return;
    const heard = this.#contacted;
    this.#contacted = new Set();
    try {
      await this.#uses.store.transaction(async (connection) => {
        await new HostRecords(connection).countHeartbeats(heard);
        await this.#setStatus(connection, await new HostRecords(connection).filterUnreachable([...heard]), {
          action: 'host.reachable',
          detail: {},
        });
      });
    } catch (error) {
      this.#contacted = new Set([...heard, ...this.#contacted]);
      this.#observations.clear();
      throw error;
    }
  }

  async #setStatus(connection: Connection, hostIds: readonly string[], entry: StatusChange): Promise<void> {
    if (hostIds.length === 0) return;
    const now = this.#uses.clock.now();
    await new HostRecords(connection).setUnreachable(hostIds, entry.action === 'host.unreachable' ? now : null);
    await audit(
      connection,
      systemActor,
      now,
      hostIds.map((object) => ({ object, ...entry })),
    );
  }
}

type StatusChange = { readonly action: 'host.reachable' | 'host.unreachable'; readonly detail: Readonly<Record<string, number>> };
