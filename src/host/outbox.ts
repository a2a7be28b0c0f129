// What the host has to tell the service and has not been able to yet: every order's report, and of each device the newest state only.

import { agentLimits, type Report } from '../protocol/agent.ts';

/** A request's reports, as JSON, stay below this, half of what the service takes. */
const requestBytes = 4 * 1024 * 1024;

type StateReport = Extract<Report, { kind: 'device-state' }>;
type OrderReport = Exclude<Report, StateReport>;

export class Outbox {
  readonly #reports: OrderReport[] = [];
  readonly #waitingOrders = new Set<string>();
  readonly #states = new Map<string, StateReport>();
  #wake: (() => void) | null = null;

  /** Reports of orders that wait; the host takes no more orders while there are too many. */
  get length(): number {
    return this.#reports.length;
  }

  /** Takes a report in. One that waits here already is not taken in again. */
  add(report: Report): void {
    if (report.kind === 'device-state') {
      this.#states.set(report.device, report);
    } else if (!this.#waitingOrders.has(report.order)) {
      this.#waitingOrders.add(report.order);
      this.#reports.push(report);
    }
    this.#wake?.();
  }

  /** Resolves when there is something to send, or the signal is aborted. */
  async filled(signal: AbortSignal): Promise<void> {
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
  next(most: number = agentLimits.reportsPerRequest): Report[] {
    const batch: Report[] = [];
    let bytes = 0;
    for (const report of this.#waiting()) {
      bytes += JSON.stringify(report).length;
      if (batch.length >= most || (bytes > requestBytes && batch.length > 0)) break;
      batch.push(report);
    }
    return batch;
  }

  /** The service has these, or will never take them. A state that has been replaced by a newer one since stays. */
  acknowledge(batch: readonly Report[]): void {
    for (const report of batch) {
      if (report.kind === 'device-state') {
        if (this.#states.get(report.device) === report) this.#states.delete(report.device);
      } else {
        this.#reports.shift();
        this.#waitingOrders.delete(report.order);
      }
    }
  }

  *#waiting(): Iterable<Report> {
    yield* this.#reports;
    yield* this.#states.values();
  }
}
