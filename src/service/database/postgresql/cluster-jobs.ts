// Recurring jobs that run in one replica of the cluster at a time, by pg-boss: period replica requests a run when it is due, and one of them executes it.

import { PgBoss } from 'pg-boss';
import type { RecurringJob } from '../recurring-job.ts';
import { connectionOptions } from './connection-options.ts';

/** Connections of one replica for jobs. */
const maxConnections = 4;
/** Maximum duration of a run, in seconds; pruning takes longest. */
const maxRunDuration = 900;
/** A replica without a heartbeat for this long, in seconds, has died; another replica repeats its run. */
const heartbeatTimeout = 10;
/** Interval at which dead replicas are detected, in seconds. */
const superviseInterval = 5;
/** How long a finished run is stored, in seconds. */
const retention = 60;
/** Polling interval for due runs, in seconds; usually a notification arrives earlier. */
const pollInterval = 1;
/** Minimum interval of a job, in milliseconds: each run is a row. */
const minInterval = 1_000;

export class ClusterJobs {
  readonly #boss: PgBoss;
  readonly #timers = new Set<NodeJS.Timeout>();

  private constructor(boss: PgBoss) {
    this.#boss = boss;
  }

  /** Starts pg-boss, which creates its tables in a schema of its own. */
  static async start(url: string): Promise<ClusterJobs> {
    const boss = new PgBoss({
      ...connectionOptions(url),
      max: maxConnections,
      schema: 'patchbay_work',
      useListenNotify: true,
      schedule: false,
      superviseIntervalSeconds: superviseInterval,
      monitorIntervalSeconds: superviseInterval,
    });
    // The readiness probe reports an unavailable database; pg-boss resumes when it is available again.
    boss.on('error', () => {});
    boss.on('warning', () => {});
    await boss.start().catch(async (error: unknown) => {
      await boss.stop({ graceful: false, close: true }).catch(() => {});
      throw error;
    });
    return new ClusterJobs(boss);
  }

  /** Runs work at intervals (in milliseconds) in one replica at a time. A failed run is ignored. */
  schedule(name: string, interval: number, work: () => Promise<void>): RecurringJob {
    const period = Math.max(interval, minInterval);
    let joining: Promise<void> | null = null;
    const requestRun = async (throttle: { readonly singletonSeconds?: number }) => {
      joining ??= this.#join(name, work);
      try {
        await joining;
      } catch {
        joining = null;
        return;
      }
      // If the request fails, the next one follows after the interval.
      await this.#boss.send(name, null, throttle).catch(() => {});
    };
    const timer = setInterval(() => void requestRun({ singletonSeconds: Math.round(period / 1_000) }), period);
    this.#timers.add(timer);
    void requestRun({});
    return {
      trigger: () => void requestRun({}),
      stop: async () => {
        clearInterval(timer);
        this.#timers.delete(timer);
        await this.#boss.offWork(name, { wait: true }).catch(() => {});
      },
    };
  }

  async #join(name: string, work: () => Promise<void>): Promise<void> {
    // At most one queued and one active run in the cluster.
    await this.#boss.createQueue(name, {
      policy: 'stately',
      notify: true,
      retryLimit: 0,
      expireInSeconds: maxRunDuration,
      heartbeatSeconds: heartbeatTimeout,
      deleteAfterSeconds: retention,
      retentionSeconds: retention,
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
