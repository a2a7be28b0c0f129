// Prometheus metrics of the service. Counters and histograms are updated by committed transactions; gauges are read at each scrape.

import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { type LoadReport, Outcome } from '../../protocol/load-report.ts';
import type { TransactionEnd } from '../database/transactions.ts';
import type { DevicesInState } from '../desired-state/examination.ts';
import type { ActiveDeviceStatus } from '../devices/repository.ts';
import { rolloutStates } from '../rollouts/steps.ts';

/** The values of the gauges. */
export type Gauges = {
  readonly hosts: Readonly<Record<'connected' | 'unreachable', number>>;
  readonly devices: Readonly<Record<ActiveDeviceStatus, number>>;
  readonly loads: Readonly<Record<'queued' | 'dispatched', number>>;
  /** Rollouts that have not ended, by state. */
  readonly rollouts: ReadonlyMap<string, number>;
  readonly unsettledOrders: number;
  readonly webhooks: Readonly<Record<'delivering' | 'failing' | 'disabled', number>>;
  /** Events that could not be delivered to a webhook. */
  readonly parkedEvents: number;
  /** Devices by the mode of their assignments and their state; null before the first examination of the fleet. */
  readonly desiredStates: readonly DevicesInState[] | null;
  readonly reportBatchesInProgress: number;
  readonly eventStreams: number;
  readonly orderStreams: number;
};

/** Seconds. A step takes microseconds on a device; a step that waits for accesses to exit can take an hour. */
const stepBuckets = [1e-5, 1e-4, 1e-3, 0.01, 0.1, 1, 10, 60, 600, 3_600];
/** Seconds. An unreachable device can run a load hours later. */
const loadBuckets = [0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300, 3_600, 86_400];
const transactionBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30];

/** The metrics of one service. Several services in one process share only the process metrics. */
export class Metrics {
  /** The registry, to which other parts of the service add their metrics. */
  readonly registry = new Registry();
  readonly #loadsCompleted;
  readonly #loadDuration;
  readonly #stepDuration;
  readonly #accesses;
  readonly #auditEvents;
  readonly #transactionDuration;
  readonly #webhookAttempts;
  readonly #gauges;

  constructor() {
    const registers = [this.registry];
    const counter = <Label extends string = never>(name: string, help: string, labelNames: readonly Label[] = []) =>
      new Counter({ name: `patchbay_${name}_total`, help, labelNames, registers });
    const histogram = <Label extends string>(name: string, help: string, labelNames: readonly Label[], buckets: number[]) =>
      new Histogram({ name: `patchbay_${name}_seconds`, help, labelNames, buckets, registers });
    const gauge = <Label extends string = never>(name: string, help: string, labelNames: readonly Label[] = []) =>
      new Gauge({ name: `patchbay_${name}`, help, labelNames, registers });

    this.#loadsCompleted = counter('loads_completed', 'Loads that reached an outcome.', ['outcome']);
    this.#loadDuration = histogram('load_duration', 'Time from the request of a load to its outcome.', ['outcome'], loadBuckets);
    this.#stepDuration = histogram(
      'load_step_duration',
      'Duration of a step of the isolation workflow on the device, by step and by operation in FIG. 2 of the patent.',
      ['step', 'operation'],
      stepBuckets,
    );
    this.#accesses = {
      interrupted: counter('accesses_interrupted', 'Accesses inside an old version that were interrupted by an injected error.'),
      retried: counter('accesses_retried', 'Interrupted accesses that retried through the module table.'),
      failed: counter('accesses_failed', 'Interrupted accesses that ended without a retry.'),
    };
    this.#auditEvents = counter('audit_events', 'Audit events on disk.', ['action']);
    this.#transactionDuration = histogram(
      'database_transaction_duration',
      'Transaction duration, including queue wait.',
      ['result'],
      transactionBuckets,
    );
    this.#webhookAttempts = counter('webhook_attempts', 'Attempts to deliver an event to a webhook.', ['result']);
    this.#gauges = {
      hosts: gauge('hosts', 'Device hosts by connection status.', ['status']),
      devices: gauge('devices', 'Devices by status.', ['status']),
      loads: gauge('loads_open', 'Loads without an outcome, by state.', ['state']),
      rollouts: gauge('rollouts_open', 'Rollouts that have not ended, by state.', ['state']),
      unsettledOrders: gauge('orders_unsettled', 'Orders that hosts have not reported on.'),
      webhooks: gauge('webhooks', 'Webhooks by delivery status.', ['status']),
      parkedEvents: gauge('webhook_events_parked', 'Events that could not be delivered to a webhook within 24 hours.'),
      desiredStates: gauge(
        'desired_state_devices',
        'Devices by state under the assignments that decide for them, as of the last examination of the fleet.',
        ['mode', 'state'],
      ),
      reportBatchesInProgress: gauge('report_batches_in_progress', 'Batches of reports in progress.'),
      eventStreams: gauge('event_streams', 'Clients with a stream of audit events.'),
      orderStreams: gauge('order_streams', 'Hosts with a stream of orders.'),
    };
    // Every outcome starts at 0 instead of being absent.
    for (const outcome of [...Outcome.options, 'superseded']) this.#loadsCompleted.inc({ outcome }, 0);
    for (const result of ['delivered', 'failed']) this.#webhookAttempts.inc({ result }, 0);
    collectDefaultMetrics({ register: this.registry });
  }

  /** Records an ended transaction. A rolled-back transaction changes only the duration metric. */
  observeTransaction(end: TransactionEnd): void {
    this.#transactionDuration.observe({ result: end.result }, end.milliseconds / 1_000);
    if (end.result === 'rolled-back') return;
    for (const { action } of end.events) this.#auditEvents.inc({ action });
    for (const { outcome, requestedAt, completedAt } of end.loads) {
      this.#loadsCompleted.inc({ outcome });
      this.#loadDuration.observe({ outcome }, Math.max(0, completedAt.getTime() - requestedAt.getTime()) / 1_000);
    }
    for (const report of end.reports) this.#observeReport(report);
  }

  /** Counts an attempt to deliver an event to a webhook. */
  observeWebhookAttempt(result: 'delivered' | 'failed'): void {
    this.#webhookAttempts.inc({ result });
  }

  /** Returns all metrics in the Prometheus text format. */
  async render({ hosts, devices, loads, rollouts, webhooks, ...others }: Gauges): Promise<string> {
    for (const [status, count] of Object.entries(hosts)) this.#gauges.hosts.set({ status }, count);
    for (const [status, count] of Object.entries(devices)) this.#gauges.devices.set({ status }, count);
    for (const [state, count] of Object.entries(loads)) this.#gauges.loads.set({ state }, count);
    for (const state of rolloutStates) this.#gauges.rollouts.set({ state }, rollouts.get(state) ?? 0);
    for (const [status, count] of Object.entries(webhooks)) this.#gauges.webhooks.set({ status }, count);
    this.#gauges.desiredStates.reset();
    for (const { mode, state, devices: count } of others.desiredStates ?? []) this.#gauges.desiredStates.set({ mode, state }, count);
    this.#gauges.parkedEvents.set(others.parkedEvents);
    this.#gauges.unsettledOrders.set(others.unsettledOrders);
    this.#gauges.reportBatchesInProgress.set(others.reportBatchesInProgress);
    this.#gauges.eventStreams.set(others.eventStreams);
    this.#gauges.orderStreams.set(others.orderStreams);
    return this.registry.metrics();
  }

  #observeReport({ interrupted, retried, failed, steps }: LoadReport): void {
    this.#accesses.interrupted.inc(interrupted);
    this.#accesses.retried.inc(retried);
    this.#accesses.failed.inc(failed);
    for (const { step, operation, microseconds } of steps)
      this.#stepDuration.observe({ step, operation: String(operation ?? 'none') }, microseconds / 1_000_000);
  }
}
