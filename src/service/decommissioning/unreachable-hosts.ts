// Decommissions hosts that were unreachable for a long time, if the service is set to.

import { describeDays } from '../clock/days.ts';
import type { Clock } from '../clock/service-clock.ts';
import type { RecurringJob } from '../database/recurring-job.ts';
import type { Store } from '../database/store.ts';
import { HostRecords } from '../hosts/repository.ts';
import { systemActor } from '../requester.ts';
import type { Decommissioning } from './decommissioning.ts';

/** Maximum interval of runs, in milliseconds, and runs within the time limit. */
const maxInterval = 60_000;
const runsPerLimit = 4;
/** Hosts decommissioned in one run: with all of their devices, a group at a time. */
const hostsPerRun = 10;

type Dependencies = { readonly store: Store; readonly clock: Clock; readonly decommissioning: Decommissioning };

/**
 * Decommissions hosts that were unreachable for this time, in one replica at a time. Only time in which a service runs and finds them unreachable
 * counts, by its monotonic clock: a service that was down, or a clock that jumps, ends no host.
 * @param limit Milliseconds.
 */
export function scheduleDecommissioning({ store, clock, decommissioning }: Dependencies, limit: number): RecurringJob {
  const interval = Math.min(maxInterval, limit / runsPerLimit);
  let lastRunAt: number | null = null;
  return store.scheduleJob('decommission-unreachable', interval, async () => {
    const now = clock.monotonic();
    // Other replicas may have run in between, and a process that was suspended has found nothing: a run counts as one interval at most.
    const observed = lastRunAt === null ? 0 : Math.min(now - lastRunAt, interval);
    lastRunAt = now;
    await store.transaction((connection) => new HostRecords(connection).addUnreachableTime(Math.floor(observed)));
    const expired = await new HostRecords(store.readConnection).unreachableFor(limit, hostsPerRun);
    for (const id of expired) await decommissioning.host(id, reasonOf(limit), systemActor, { onlyUnreachable: true });
  });
}

function reasonOf(limit: number): string {
  return `its host was unreachable for ${describeDays(limit)}, and the service decommissions such hosts (--decommission-unreachable-after)`;
}
