// Reports that the service has not acknowledged: every report of an order, and the newest state of each device.

import { agentLimits, type ReportInput } from '../protocol/agent.ts';

/** Maximum size of the reports in one request, as JSON: half of the body limit of the service. */
const maxRequestBytes = 4 * 1024 * 1024;

type StateReport = Extract<ReportInput, { kind: 'device-state' }>;
/** The report of an order. */
export type OrderReport = Exclude<ReportInput, StateReport>;
/** A queued report with its cached JSON, which a repeated send uses again. */
type QueuedReport<Kind extends ReportInput> = { readonly report: Kind; text: string | null };

/** The reports of one request. */
export type Batch = {
  readonly reports: readonly ReportInput[];
  /** The reports as a JSON array. */
  readonly text: string;
};

export class Outbox {
  readonly #reports: QueuedReport<OrderReport>[] = [];
  readonly #queuedOrders = new Set<string>();
  readonly #states = new Map<string, QueuedReport<StateReport>>();
  #wake: (() => void) | null = null;

  /** The number of queued reports of orders. The host accepts no orders while there are too many. */
  get orderReportCount(): number {
    return this.#reports.length;
  }

  /** The number of queued states. */
  get stateCount(): number {
    return this.#states.size;
  }

  /** Queues a report. Replaces the queued state of the same device; ignores a report whose order has one already. */
  add(report: ReportInput): void {
    if (report.kind === 'device-state') {
      this.#states.set(report.device, { report, text: null });
    } else if (!this.#queuedOrders.has(report.order)) {
      this.#queuedOrders.add(report.order);
      this.#reports.push({ report, text: null });
    }
    this.#wake?.();
  }

  /** Resolves when the outbox is not empty or the signal is aborted. */
  async waitUntilFilled(signal: AbortSignal): Promise<void> {
    if (this.#reports.length > 0 || this.#states.size > 0 || signal.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = () => resolve();
    this.#wake = wake;
    signal.addEventListener('abort', wake, { once: true });
    await promise;
    signal.removeEventListener('abort', wake);
    this.#wake = null;
  }

  /**
   * Returns the reports for the next request. They remain queued until they are acknowledged.
   * @param limit From 1 to `agentLimits.reportsPerRequest`.
   */
  next(limit: number = agentLimits.reportsPerRequest): Batch {
    const reports: ReportInput[] = [];
    const texts: string[] = [];
    let bytes = 0;
    for (const queued of this.#queued()) {
      queued.text ??= JSON.stringify(queued.report);
      bytes += queued.text.length;
      if (reports.length >= limit || (bytes > maxRequestBytes && reports.length > 0)) break;
      reports.push(queued.report);
      texts.push(queued.text);
    }
    return { reports, text: `[${texts.join(',')}]` };
  }

  /** Removes reports that the service has stored or will never accept. Keeps a state that is newer than the one in the batch. */
  acknowledge({ reports }: Batch): void {
    for (const report of reports) {
      if (report.kind === 'device-state') {
        if (this.#states.get(report.device)?.report === report) this.#states.delete(report.device);
      } else {
        this.#reports.shift();
        this.#queuedOrders.delete(report.order);
      }
    }
  }

  /** Replaces a queued report by another. Keeps a state that is newer than the given one. */
  replace(report: ReportInput, replacement: ReportInput): void {
    if (report.kind === 'device-state') {
      if (replacement.kind === 'device-state' && this.#states.get(report.device)?.report === report)
        this.#states.set(report.device, { report: replacement, text: null });
      return;
    }
    const index = this.#reports.findIndex((queued) => queued.report === report);
    if (index >= 0 && replacement.kind !== 'device-state') this.#reports[index] = { report: replacement, text: null };
  }

  /** Removes the queued state of a device whose identifier has changed. */
  dropState(device: string): void {
    this.#states.delete(device);
  }

  *#queued(): Iterable<QueuedReport<ReportInput>> {
    yield* this.#reports;
    yield* this.#states.values();
  }
}
