// Work that runs once in the cluster, by pg-boss: every replica asks for it when it is due, and one of them does it.

import { PgBoss } from 'pg-boss';
import type { RecurringJob } from '../recurring-job.ts';
import { connectionOptions } from './connection-options.ts';

/** Connections of one replica for it. */
const connections = 4;
/** How long a run may take, in seconds: as the longest does, the removal of what is not kept any more. */
const longestRun = 900;
/** A replica that has not said for so long that it is at it, in seconds, has died, and others do the work again. */
const silence = 10;
/** How often it is looked for those, in seconds. */
const superviseInterval = 5;
/** How long it is known of a run that it was, in seconds. */
const keptFor = 60;
/** Work that is due is known at once, and looked for this often all the same, in seconds. */
const pollInterval = 1;
/** The shortest interval, in milliseconds: each is a row. */
const shortestInterval = 1_000;

export class ClusterJobs {
  readonly #boss: PgBoss;
  readonly #timers = new Set<NodeJS.Timeout>();

  private constructor(boss: PgBoss) {
    this.#boss = boss;
  }

  /** Makes what pg-boss needs in a schema of its own, once however many replicas start. */
  static async start(url: string): Promise<ClusterJobs> {
    const boss = new PgBoss({
      ...connectionOptions(url),
      max: connections,
      schema: 'patchbay_work',
      useListenNotify: true,
      schedule: false,
      superviseIntervalSeconds: superviseInterval,
      monitorIntervalSeconds: superviseInterval,
    });
    // A database that is away for a time is told by the readiness of the service; pg-boss goes on when it is back.
    boss.on('error', () => {});
    boss.on('warning', () => {});
    await boss.start().catch(async (error: unknown) => {
      await boss.stop({ graceful: false, close: true }).catch(() => {});
      throw error;
    });
    return new ClusterJobs(boss);
  }

  /** Has work done at intervals of so many milliseconds by one of the replicas, one run after another; a run that fails is followed by the next. */
  schedule(name: string, interval: number, work: () => Promise<void>): RecurringJob {
    const every = Math.max(interval, shortestInterval);
    let joined: Promise<void> | null = null;
    const ask = async (throttle: { readonly singletonSeconds?: number }) => {
      joined ??= this.#join(name, work);
      try {
        await joined;
      } catch {
        joined = null;
        return;
      }
      // What cannot be asked for now is asked for the next time.
      await this.#boss.send(name, null, throttle).catch(() => {});
    };
    const timer = setInterval(() => void ask({ singletonSeconds: Math.round(every / 1_000) }), every);
    this.#timers.add(timer);
    void ask({});
    return {
      trigger: () => void ask({}),
      stop: async () => {
        clearInterval(timer);
        this.#timers.delete(timer);
        await this.#boss.offWork(name, { wait: true }).catch(() => {});
      },
    };
  }

  async #join(name: string, work: () => Promise<void>): Promise<void> {
    // At most one that waits and one that runs, in all replicas together.
    await this.#boss.createQueue(name, {
      policy: 'stately',
      notify: true,
      retryLimit: 0,
      expireInSeconds: longestRun,
      heartbeatSeconds: silence,
      deleteAfterSeconds: keptFor,
      retentionSeconds: keptFor,
    });
    await this.#boss.work(name, { pollingIntervalSeconds: pollInterval, notifyPollingIntervalSeconds: pollInterval }, async () => {
      await work().catch(() => {});
    });
  }

  async stop(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    await this.#boss.stop({ graceful: true, close: true });
  }
}
