// Health of the fleet: counts of hosts, devices and loads, and the reasons why the fleet is degraded.

import { describeDays } from '../clock/days.ts';
import type { Clock } from '../clock/service-clock.ts';
import { describeFault, isDamagedRowError } from '../database/damaged-rows.ts';
import type { Store } from '../database/store.ts';
import { devicesByState, ExaminationRecords } from '../desired-state/examination.ts';
import { findUnmetAssignments, type UnmetAssignment } from '../desired-state/status.ts';
import { DeviceQueries, type DriftSummary, type IncompleteDevices, type RejectionSummary } from '../devices/queries.ts';
import type { ActiveDeviceStatus } from '../devices/repository.ts';
import { type HostConflict, HostQueries } from '../hosts/queries.ts';
import { LoadQueries, type LoadTotal, type WaitingLoads } from '../loads/queries.ts';
import { OrderQueries } from '../orders/queries.ts';
import { RolloutQueries } from '../rollouts/queries.ts';
import { type UnhealthyWebhook, WebhookQueries } from '../webhooks/queries.ts';
import type { Gauges } from './metrics.ts';

/** A load that is queued for longer makes the fleet degraded, in minutes. */
const maxWaitMinutes = 10;
/** Maximum numbers of hosts, devices, rollouts, webhooks and assignments that the reasons name. */
const maxHostsNamed = 20;
const maxDevicesNamed = 5;
const maxRolloutsNamed = 5;
const maxWebhooksNamed = 5;
const maxAssignmentsNamed = 5;
/** A webhook whose deliveries fail for longer makes the fleet degraded, in minutes. */
const maxFailingMinutes = 60;
const maxConflictsNamed = 5;
/** How long a refused registration of a second host with the same name makes the fleet degraded, in minutes. Such a host tries again every minute or sooner. */
const conflictMinutes = 3;
/** How long a rejected report makes the fleet degraded, in minutes. An accepted report of a later order ends it earlier. */
const rejectionMinutes = 60;
/** Maximum length of the failure or rejection of a device in a reason, in characters. */
const maxFailureLength = 200;

export type FleetHealth = {
  readonly status: 'healthy' | 'degraded';
  readonly reasons: readonly string[];
  readonly hosts: { readonly connected: number; readonly unreachable: number };
  readonly devices: Readonly<Record<ActiveDeviceStatus, number>>;
  readonly loads: {
    readonly queued: number;
    readonly dispatched: number;
    readonly completed: number;
    readonly outcomes: Readonly<Record<string, number>>;
  };
  readonly accesses: { readonly interrupted: number; readonly failed: number };
  /** Orders that hosts have not reported on yet. */
  readonly unsettledOrders: number;
};

/** Returns the health of the fleet. @param faults Faults of the service itself. */
export async function fleetHealth(
  {
    store,
    clock,
    decommissionUnreachableAfter,
  }: { readonly store: Store; readonly clock: Clock; readonly decommissionUnreachableAfter: number | null },
  faults: readonly string[],
): Promise<FleetHealth> {
  const { reader } = store;
  const deviceQueries = new DeviceQueries(reader);
  const hostQueries = new HostQueries(reader);
  const loads = new LoadQueries(reader);
  const unread: string[] = [];
  const read = readerOf(unread);
  const [
    hosts,
    unreachable,
    devices,
    open,
    totals,
    unsettledOrders,
    notWhole,
    drifted,
    rejected,
    waiting,
    stopped,
    webhooks,
    conflicts,
    unmet,
  ] = await Promise.all([
    read('Host', hostQueries.countByReachability(), { connected: 0, unreachable: 0 }),
    read('Host', hostQueries.unreachable(maxHostsNamed), []),
    read('Device', deviceQueries.countByStatus(), { connected: 0, attaching: 0, unreachable: 0 }),
    read('Load', loads.countOpen(), { queued: 0, dispatched: 0 }),
    read('LoadTotal', loads.totals(), []),
    read('AgentOrder', new OrderQueries(reader).countUnsettled(), 0),
    read('Device', deviceQueries.incomplete(maxDevicesNamed), { count: 0, first: [] }),
    read('DeviceModule', deviceQueries.drifted(maxDevicesNamed), { count: 0, first: [] }),
    read('Device', deviceQueries.rejectedSince(new Date(clock.now().getTime() - rejectionMinutes * 60_000), maxDevicesNamed), {
      count: 0,
      first: [],
    }),
    read('Load', loads.queuedBefore(new Date(clock.now().getTime() - maxWaitMinutes * 60_000)), { count: 0, oldest: null }),
    read('Rollout', new RolloutQueries(reader).stoppedByFailure(maxRolloutsNamed), []),
    read(
      'Webhook',
      new WebhookQueries(reader).unhealthy(new Date(clock.now().getTime() - maxFailingMinutes * 60_000), maxWebhooksNamed),
      [],
    ),
    read('HostBoot', hostQueries.conflictsSince(new Date(clock.now().getTime() - conflictMinutes * 60_000), maxConflictsNamed), []),
    read('Assignment', findUnmetAssignments(store.readConnection, maxAssignmentsNamed, maxDevicesNamed), []),
  ]);
  const sum = (of: (total: LoadTotal) => number) => totals.reduce((whole, total) => whole + of(total), 0);
  const end =
    decommissionUnreachableAfter === null ? '' : `; if that lasts ${describeDays(decommissionUnreachableAfter)}, it is decommissioned`;
  const reasons = [
    ...faults,
    ...unread,
    ...(hosts.connected + hosts.unreachable === 0 ? ['no device host is registered'] : []),
    ...unreachable.map(({ name, devices: count }) => `the host ${name} with ${pluralize(count, 'device')} is unreachable${end}`),
    ...conflicts.map(conflictReason),
    ...(devices.attaching > 0 ? [`${pluralize(devices.attaching, 'device')} ${devices.attaching === 1 ? 'is' : 'are'} attaching`] : []),
    ...incompleteReasons(notWhole),
    ...driftReasons(drifted),
    ...rejectionReasons(rejected),
    ...waitingLoadReasons(waiting),
    ...stopped.map(({ id, module, version, reason }) => `the rollout ${id} of ${module}@${version} waits for an operator: ${reason}`),
    ...unmet.flatMap(assignmentReasons),
    ...webhooks.map(describeWebhook),
  ];
  return {
    status: reasons.length === 0 ? 'healthy' : 'degraded',
    reasons,
    hosts,
    devices,
    loads: {
      ...open,
      completed: sum((total) => total.loads),
      outcomes: Object.fromEntries(totals.map((total) => [total.outcome, total.loads])),
    },
    accesses: { interrupted: sum(({ interrupted }) => interrupted), failed: sum(({ failed }) => failed) },
    unsettledOrders,
  };
}

/** Returns a count with its noun, in the singular for 1. */
const pluralize = (count: number, noun: string) => `${count} ${noun}${count === 1 ? '' : 's'}`;

/** Returns a function that awaits a read, and uses a default if rows cannot be decoded. @param unread Gets a reason for each failed table. */
function readerOf(unread: string[]): <Found>(table: string, read: Promise<Found>, otherwise: Found) => Promise<Found> {
  return async (table, read, otherwise) => {
    try {
      return await read;
    } catch (error) {
      if (!isDamagedRowError(error)) throw error;
      unread.push(
        `rows of the table ${table} cannot be read (${describeFault(error)}): correct them in the database, or restore it from a backup`,
      );
      return otherwise;
    }
  };
}

function conflictReason({ name, address, refused }: HostConflict): string {
  const others = [...new Set(refused.filter((each) => each !== null))];
  const from = others.length === 0 ? 'an unknown address' : others.join(', ');
  return (
    `another host with the name ${name} is refused: it registers from ${from}, and the connected one from ${address ?? 'an unknown address'}; ` +
    'give one of them another name (--name), or stop or decommission one'
  );
}

function incompleteReasons({ count, first }: IncompleteDevices): string[] {
  if (count === 0) return [];
  const named = first.map(({ name, attachFailure }) => `${name} (${attachFailure?.slice(0, maxFailureLength)})`).join(', ');
  const others = count > first.length ? ', and others' : '';
  return [`${pluralize(count, 'device')} could not be restored completely after a restart of the host: ${named}${others}`];
}

function driftReasons({ count, first }: DriftSummary): string[] {
  if (count === 0) return [];
  const named = first.map(({ deviceName, module, version, driftedFrom }) => {
    const observed = version === driftedFrom ? module : `${module}@${version}`;
    return `${deviceName} (${observed}, expected ${driftedFrom ?? 'none'})`;
  });
  const others = count > first.length ? ', and others' : '';
  return [`drift of ${pluralize(count, 'module')}: ${named.join(', ')}${others}; load the version that each device should have`];
}

function rejectionReasons({ count, first }: RejectionSummary): string[] {
  if (count === 0) return [];
  const named = first.map(({ name, rejection }) => `${name} (${rejection.slice(0, maxFailureLength)})`).join(', ');
  return [`the service rejected reports of ${pluralize(count, 'device')}: ${named}${count > first.length ? ', and others' : ''}`];
}

function waitingLoadReasons({ count, oldest }: WaitingLoads): string[] {
  if (oldest === null) return [];
  const { id, requestedAt } = oldest;
  const since = requestedAt.toISOString();
  return [`${pluralize(count, 'load')} queued for more than ${maxWaitMinutes} minutes; the oldest, ${id}, since ${since}`];
}

function assignmentReasons({ name, content, range, channel, hasNoVersion, stopped, unsatisfied, first }: UnmetAssignment): string[] {
  const named = first.map(
    (device) => `${device.name} (${device.reason}${device.detail === null ? '' : `: ${device.detail.slice(0, maxFailureLength)}`})`,
  );
  const others = unsatisfied > first.length ? ', and others' : '';
  return [
    ...(hasNoVersion
      ? [`the channel ${channel} has no usable version of ${content} in ${range}, which the assignment ${name} desires`]
      : []),
    ...(stopped === null
      ? []
      : [
          `the rollout ${stopped.rolloutId} of ${content}@${stopped.version} for the assignment ${name} was stopped: promote the version again, or withdraw it`,
        ]),
    ...(hasNoVersion || unsatisfied === 0
      ? []
      : [`the assignment ${name} of ${content} is not satisfied on ${pluralize(unsatisfied, 'device')}: ${named.join(', ')}${others}`]),
  ];
}

function describeWebhook({ name, failingSince, lastError, disabledReason }: UnhealthyWebhook): string {
  if (disabledReason !== null) return `the webhook ${name} is disabled: ${disabledReason}; correct its URL and enable it, or delete it`;
  return `the webhook ${name} has failed since ${failingSince?.toISOString() ?? 'an unknown time'}: ${lastError ?? 'unknown error'}`;
}

/** Returns the current numbers of hosts, devices, open loads, open rollouts and unsettled orders. Prometheus scrapes every few seconds, so it reads no ended rows. */
export async function currentGauges(
  store: Store,
): Promise<Pick<Gauges, 'hosts' | 'devices' | 'loads' | 'rollouts' | 'unsettledOrders' | 'webhooks' | 'parkedEvents' | 'desiredStates'>> {
  return {
    hosts: await new HostQueries(store.reader).countByReachability(),
    devices: await new DeviceQueries(store.reader).countByStatus(),
    loads: await new LoadQueries(store.reader).countOpen(),
    rollouts: await new RolloutQueries(store.reader).countOpenByState(),
    unsettledOrders: await new OrderQueries(store.reader).countUnsettled(),
    webhooks: await new WebhookQueries(store.reader).countByState(),
    parkedEvents: await new WebhookQueries(store.reader).countParked(),
    desiredStates: devicesByState(await new ExaminationRecords(store.readConnection).find()),
  };
}
