// What the host has to tell the service and has not been able to yet: every order's report, and of each device the newest state only.

import { agentLimits, type ReportInput } from '../protocol/agent.ts';

/** A request's reports, as JSON, stay below this, half of what the service takes. */
const maxRequestBytes = 4 * 1024 * 1024;

type StateReport = Extract<ReportInput, { kind: 'device-state' }>;
/** What came of an order. */
export type OrderReport = Exclude<ReportInput, StateReport>;
/** A report that waits, and its JSON once it has been asked for: a report that is sent again is not written anew. */
type QueuedReport<Kind extends ReportInput> = { readonly report: Kind; text: string | null };

/** What one request carries. */
export type Batch = {
  readonly reports: readonly ReportInput[];
  /** They, as a JSON array. */
  readonly text: string;
};

export class Outbox {
  readonly #reports: QueuedReport<OrderReport>[] = [];
  readonly #waitingOrders = new Set<string>();
  readonly #states = new Map<string, QueuedReport<StateReport>>();
  #wake: (() => void) | null = null;

  /** Reports of orders that wait; the host takes no more orders while there are too many. */
  get orderReportCount(): number {
    return this.#reports.length;
  }

  /** States that wait. */
  get stateCount(): number {
    return this.#states.size;
  }

  /** Takes a report in. One that waits here already is not taken in again. */
  add(report: ReportInput): void {
    if (report.kind === 'device-state') {
      this.#states.set(report.device, { report, text: null });
    } else if (!this.#waitingOrders.has(report.order)) {
      this.#waitingOrders.add(report.order);
      this.#reports.push({ report, text: null });
    }
    this.#wake?.();
  }

  /** Resolves when there is something to send, or the signal is aborted. */
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
   * The next request's reports. They stay until they are acknowledged.
   * @param most From 1 to `agentLimits.reportsPerRequest`.
   */
  next(most: number = agentLimits.reportsPerRequest): Batch {
    const reports: ReportInput[] = [];
    const texts: string[] = [];
    let bytes = 0;
    for (const waiting of this.#queued()) {
      waiting.text ??= JSON.stringify(waiting.report);
      bytes += waiting.text.length;
      if (reports.length >= most || (bytes > maxRequestBytes && reports.length > 0)) break;
      reports.push(waiting.report);
      texts.push(waiting.text);
    }
    return { reports, text: `[${texts.join(',')}]` };
  }

  /** The service has these, or will never take them. A state that has been replaced by a newer one since stays. */
  acknowledge({ reports }: Batch): void {
    for (const report of reports) {
      if (report.kind === 'device-state') {
        if (this.#states.get(report.device)?.report === report) this.#states.delete(report.device);
      } else {
        this.#reports.shift();
        this.#waitingOrders.delete(report.order);
      }
    }
  }

  /** Puts a report in the place of another that waits; a state that has been replaced by a newer one since stays. */
  replace(report: ReportInput, other: ReportInput): void {
    if (report.kind === 'device-state') {
      if (other.kind === 'device-state' && this.#states.get(report.device)?.report === report)
        this.#states.set(report.device, { report: other, text: null });
      return;
    }
    const place = this.#reports.findIndex((waiting) => waiting.report === report);
    if (place >= 0 && other.kind !== 'device-state') this.#reports[place] = { report: other, text: null };
  }

  /** Drops the state of a device that is called otherwise now. */
  dropState(device: string): void {
    this.#states.delete(device);
  }

  *#queued(): Iterable<QueuedReport<ReportInput>> {
    yield* this.#reports;
    yield* this.#states.values();
  }
}
