// Detects unreachable hosts. A host sends a request every few seconds to any replica, which increments the host's heartbeat count in the database.
// Every replica measures with its own monotonic clock how long a count has not changed. Clocks are never compared, so that a clock that jumps neither
// makes a host unreachable nor keeps a dead one connected.

import { audit } from '../audit-events/entry.ts';
import type { Clock } from '../clock/service-clock.ts';
import type { Connection } from '../database/connection.ts';
import { LocalRecurringJob } from '../database/local-recurring-job.ts';
import type { Store } from '../database/store.ts';
import { systemActor } from '../requester.ts';
import type { HeartbeatCount } from './repository.ts';
import { HostRecords } from './repository.ts';

/** Heartbeats that a connected host can miss; the next may be late. */
const missedHeartbeats = 3;
/** How often contacts are written to disk, per time limit of silence. */
const flushesPerLimit = 8;
/** How often silent hosts are searched for, per time limit of silence; and the maximum interval in milliseconds. */
const sweepsPerLimit = 4;
const maxSweepInterval = 1_000;

/** The last heartbeat count of a host, and the observed time at which it appeared. */
type Observation = { readonly count: number; readonly since: number };

type Uses = {
  readonly store: Store;
  readonly clock: Clock;
  /** Called in the transaction that marks hosts as unreachable. */
  readonly onUnreachable: (connection: Connection, hostIds: readonly string[], at: Date) => Promise<void>;
};

export class Reachability {
  readonly #uses: Uses;
  /** Milliseconds of silence after which a host is unreachable. */
  readonly limit: number;
  readonly #sweepInterval: number;
  /** Hosts that contacted this replica, until the contact is on disk. */
  #contacted = new Set<string>();
  readonly #observations = new Map<string, Observation>();
  /** Milliseconds observed until the last sweep. Time in which the process was suspended or the database was down does not count. */
  #observedMilliseconds = 0;
  #lastSweepAt: number | null = null;
  readonly #flushJob: LocalRecurringJob;
  readonly #sweepJob: LocalRecurringJob;

  /** @param limit Milliseconds of silence after which a host is unreachable. */
  constructor(uses: Uses, limit: number) {
    this.#uses = uses;
    this.limit = limit;
    this.#sweepInterval = Math.min(maxSweepInterval, limit / sweepsPerLimit);
    this.#flushJob = new LocalRecurringJob(limit / flushesPerLimit, () => this.#flush());
    this.#sweepJob = new LocalRecurringJob(this.#sweepInterval, () => this.sweep());
  }

  /** The heartbeat interval of hosts, in milliseconds. */
  get heartbeatInterval(): number {
    return Math.ceil(this.limit / (missedHeartbeats + 1));
  }

  /** Records a request of a host. If the host was unreachable, resolves when it is marked as connected. */
  async recordContact(hostId: string, isUnreachable: boolean): Promise<void> {
    this.#contacted.add(hostId);
    if (isUnreachable) await this.#flush();
  }

  /** Marks hosts as unreachable that were silent for longer than the limit. Time in which the service could not receive requests does not count. */
  async sweep(): Promise<void> {
    const silent = this.#findSilent(await new HostRecords(this.#uses.store.readConnection).heartbeatCounts());
    if (silent.size === 0) return;
    await this.#uses.store.transaction(async (connection) => {
      // While the transaction was queued, a host may have sent a request, or another replica may have marked it.
      const stillSilent = (await new HostRecords(connection).heartbeatCounts()).filter(
        ({ id, count }) => silent.get(id) === count && !this.#contacted.has(id),
      );
      const ids = stillSilent.map(({ id }) => id);
      await new HostRecords(connection).endStreams(ids);
      await this.#setStatus(connection, ids, { action: 'host.unreachable', detail: { silentMilliseconds: this.limit } });
      await this.#uses.onUnreachable(connection, ids, this.#uses.clock.now());
    });
  }

  /** Stops both jobs, and writes the last contacts to disk. */
  async stop(): Promise<void> {
    await this.#sweepJob.stop();
    await this.#flushJob.stop();
    await this.#flush().catch(() => {});
  }

  /** Compares heartbeat counts with those of the last sweep. Returns the counts of hosts that were silent for longer than the limit, by host. */
  #findSilent(counts: readonly HeartbeatCount[]): Map<string, number> {
    const now = this.#uses.clock.monotonic();
    const elapsed = now - (this.#lastSweepAt ?? now);
    this.#lastSweepAt = now;
    this.#observedMilliseconds += Math.min(elapsed, 2 * this.#sweepInterval);
    const silent = new Map<string, number>();
    const listed = new Set<string>();
    for (const { id, count } of counts) {
      listed.add(id);
      const last = this.#observations.get(id);
      if (last?.count !== count || this.#contacted.has(id)) this.#observations.set(id, { count, since: this.#observedMilliseconds });
      else if (this.#observedMilliseconds - last.since > this.limit) silent.set(id, count);
    }
    for (const id of this.#observations.keys()) if (!listed.has(id)) this.#observations.delete(id);
    return silent;
  }

  /** Writes contacts to disk. Marks hosts that were unreachable as connected. */
  async #flush(): Promise<void> {
    if (this.#contacted.size === 0) return;
    const contacted = this.#contacted;
    this.#contacted = new Set();
    try {
      await this.#uses.store.transaction(async (connection) => {
        await new HostRecords(connection).countHeartbeats(contacted);
        await this.#setStatus(connection, await new HostRecords(connection).filterUnreachable([...contacted]), {
          action: 'host.reachable',
          detail: {},
        });
      });
    } catch (error) {
      this.#contacted = new Set([...contacted, ...this.#contacted]);
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
