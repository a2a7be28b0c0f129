// The device host: registers with the control service, executes the orders for its devices and reports the results.

import { randomUUID } from 'node:crypto';
import type { BaseLogger } from 'pino';
import { z } from 'zod';
import { defaultImageMemory, Processor } from '../machine/index.ts';
import type { PublicKey } from '../proof/ed25519.ts';
import { agentCapabilities, agentLimits, type HostRegistration, type Order, type RegisteredHost } from '../protocol/agent.ts';
import { delay } from '../protocol/back-off.ts';
import type { DeviceId } from '../protocol/identifiers.ts';
import type { Tracer } from '../tracing/tracer.ts';
import { BackOff, clampRetryAfter } from './back-off.ts';
import { BuildVerifier } from './build-verifier.ts';
import { ControlConnection, ControlError } from './control-connection.ts';
import { HostedDevice, type SequencedState } from './hosted-device.ts';
import { ImageCache } from './image-cache.ts';
import { executeTraced } from './order-traces.ts';
import { type Batch, type OrderReport, Outbox } from './outbox.ts';
import { reducedReport } from './reduced-report.ts';
import { StateRoundRobin } from './state-round-robin.ts';
import { TrustedKeys } from './trusted-keys.ts';

export type HostOptions = {
  /** URL of the service, for example `http://127.0.0.1:7070`. */
  readonly controlUrl: string;
  /** The bearer token for the registration: the join token or an API key. */
  readonly joinToken: string;
  readonly name: string;
  /** Devices that the host registers. The service may place more on it, up to its capacity. */
  readonly devices: HostRegistration['devices'];
  readonly capacity: number;
  /** Pinned keys for the signatures of builds; keys that they endorse are trusted too. Null: trust every signing key of the service. */
  readonly trustedKeys: readonly PublicKey[] | null;
  /** Limit of the memories of all images of the devices together, in bytes; 4 GiB by default. */
  readonly imageMemory?: number;
  /** Stops the host when aborted. */
  readonly signal: AbortSignal;
  readonly logger: BaseLogger;
  /** Traces the execution of orders; by default nothing does. */
  readonly tracer?: Tracer | null;
};

/** Interval between rounds of changed states, in milliseconds. */
const stateInterval = 500;
/** The interval while the states of all devices are reported again after a registration. */
const confirmationInterval = 20;
/** Maximum number of orders in progress plus undelivered reports. At the limit, the host reads no more orders. */
const maxPendingOrders = 10_000;
/**
 * If the service ends a connection that lasted this long, in milliseconds, the back-off is reset. Longer than any back-off, so that copies of one
 * process, which have the same boot id, do not replace each other's streams without a pause.
 */
const steadyMilliseconds = 10_000;
/**
 * If a connection that lasted this long, in milliseconds, is lost, the back-off is reset: the service was probably restarted. It limits how often a host
 * registers through a network that cuts every connection.
 */
const establishedMilliseconds = 1_000;
/**
 * Maximum number of acknowledged reports that the host keeps. The service repeats an order whose report it has on disk only if a response was lost or
 * its database was restored from a backup. States are not kept: a repeated report has the current state of its device.
 */
const maxAcknowledgedReports = 2 * agentLimits.ordersInFlight;

/** The memory of a device that the host does not have, in pages: the minimum. */
const minRamPages = 2;

/** Waits between registrations while another host with the same name is connected, in milliseconds. */
const conflictWaits = { initial: 1_000, max: 30_000 } as const;

/** How long a timer of a decommissioned host runs, in milliseconds, while the host waits to be stopped. */
const idleMilliseconds = 3_600_000;

/** The service rejects the registration and would reject it again. The message says why and what to change. */
export class RegistrationRejectedError extends Error {
  override readonly name = 'RegistrationRefused';
  /** Whether an operator has decommissioned the host. */
  readonly isDecommissioned: boolean;
  /** Whether another host with the same name is connected. */
  readonly isConflict: boolean;

  constructor(message: string, { isDecommissioned = false, isConflict = false } = {}) {
    super(message);
    this.isDecommissioned = isDecommissioned;
    this.isConflict = isConflict;
  }
}

/**
 * Runs a host until its signal is aborted. Waits for a service that is unreachable or busy. After the first registration, the host keeps its devices
 * running whatever the service responds, unless it is decommissioned: then it stops its devices and waits to be stopped. It does not end by itself,
 * because a supervisor would start it again, and it would register as a new host. While another host with the same name is connected, the host runs no
 * devices, and registers when the other is gone.
 * @throws {RegistrationRejectedError} if the first registration is rejected for another reason.
 */
export async function runHost(options: HostOptions): Promise<void> {
  const conflictBackOff = new BackOff(conflictWaits);
  for (let isReplaced = true; isReplaced && !options.signal.aborted; ) {
    const host = new Host(options, conflictBackOff);
    await host.run();
    // The devices run on another host now: the next boot begins with empty ones.
    isReplaced = host.isReplaced;
    if (isReplaced) await conflictBackOff.wait(options.signal);
  }
}

/** A report without the state of its device. */
type Stateless<Report> = Report extends { readonly state: unknown } ? Omit<Report, 'state'> : never;

class Host {
  readonly #options: HostOptions;
  /** New at each start of the process, because the devices of an earlier boot no longer exist. */
  readonly #bootId = randomUUID();
  readonly #connection: ControlConnection;
  readonly #processor: Processor;
  readonly #images: ImageCache;
  readonly #trusted: TrustedKeys;
  readonly #builds: BuildVerifier;
  readonly #outbox = new Outbox();
  readonly #devices = new Map<DeviceId, HostedDevice>();
  /** Devices that end their last orders before they are dropped. */
  readonly #detaching = new Map<DeviceId, HostedDevice>();
  /** The identifiers of the devices by name. */
  readonly #names = new Map<string, DeviceId>();
  /** Orders in progress by task: the last order for each task, which gets the report. */
  readonly #inProgress = new Map<string, Order>();
  /** Reports in the outbox by task. */
  readonly #unacknowledged = new Map<string, OrderReport>();
  /** Reports that the service has acknowledged, by task, oldest first. */
  readonly #acknowledged = new Map<string, Stateless<OrderReport>>();
  /** Devices to report even if their states have not changed: the service may have lost its records. */
  readonly #unconfirmed = new Set<DeviceId>();
  #host: string | null = null;
  /** When the host last registered, by the monotonic clock in milliseconds. */
  #registeredAt = Number.NEGATIVE_INFINITY;
  /** Aborted and replaced at each registration, so that every task that waits for the service tries again. */
  #reachable = new AbortController();
  readonly #failed = new AbortController();
  #isDecommissioned = false;
  /** Whether another host with the same name has registered in place of this boot. */
  #isReplaced = false;
  readonly #conflictBackOff: BackOff;
  readonly #stop: AbortSignal;
  #stateSequence = 0;
  /** The interval that the service requested at the registration. */
  #heartbeatMilliseconds = 1_000;

  constructor(options: HostOptions, conflictBackOff: BackOff) {
    this.#conflictBackOff = conflictBackOff;
    const signal = AbortSignal.any([options.signal, this.#failed.signal]);
    this.#options = { ...options, signal };
    this.#stop = options.signal;
    this.#processor = new Processor({ imageMemory: options.imageMemory ?? defaultImageMemory });
    this.#connection = new ControlConnection(options.controlUrl, options.joinToken, signal);
    this.#images = new ImageCache((digest) => this.#download((connection) => connection.image(digest)));
    this.#trusted = new TrustedKeys(options.trustedKeys);
    const source = {
      provenance: (digest: string) => this.#download((connection) => connection.provenance(digest)),
      renewKeys: async () => this.#trusted.update(await this.#download((connection) => connection.signingKeys())),
    };
    this.#builds = new BuildVerifier(source, this.#trusted);
  }

  /** Whether another host with the same name has registered in place of this boot. */
  get isReplaced(): boolean {
    return this.#isReplaced;
  }

  async run(): Promise<void> {
    const tasks = [this.#runOrders(), this.#deliverReports(), this.#reportStates(), this.#sendHeartbeats()];
    try {
      await Promise.all(tasks);
    } finally {
      this.#failed.abort();
      await Promise.allSettled(tasks);
      this.#processor.close();
    }
    while (this.#isDecommissioned && !this.#stop.aborted) await delay(idleMilliseconds, this.#stop);
  }

  async #runOrders(): Promise<void> {
    const { signal, logger } = this.#options;
    const backOff = new BackOff();
    while (!signal.aborted) {
      const startedAt = performance.now();
      let retryAfter = 0;
      let wasLost = false;
      try {
        await this.#registerAndReceiveOrders();
        if (!signal.aborted) logger.warn('the control service ended the stream of orders; registering again');
      } catch (error) {
        if (signal.aborted) return;
        retryAfter = retryAfterOf(error);
        const isRefused = error instanceof RegistrationRejectedError;
        const isResponse = isRefused || error instanceof ControlError;
        wasLost = !isResponse && this.#registeredAt >= startedAt && performance.now() - this.#registeredAt >= establishedMilliseconds;
        if (isRefused && error.isConflict) {
          if (this.#endReplaced(error.message)) return;
          await this.#conflictBackOff.wait(signal);
          continue;
        }
        if (isRefused && this.#host === null) throw error;
        if (isRefused && error.isDecommissioned) return this.#endDecommissioned(error.message);
        if (isRefused)
          logger.error(
            { reason: error.message },
            'the control service rejects the registration; the devices keep running, and the host tries again',
          );
        else logger.warn({ reason: reasonOf(error) }, 'lost the connection to the control service; trying again');
      }
      if (performance.now() - startedAt >= steadyMilliseconds || wasLost) backOff.reset();
      await backOff.wait(signal, retryAfter);
    }
  }

  /** Logs that another host with the same name is connected. Ends all tasks of this boot if it has registered before. Returns whether it has. */
  #endReplaced(reason: string): boolean {
    const { logger, name } = this.#options;
    this.#isReplaced = this.#host !== null;
    const consequence = this.#isReplaced ? 'its devices run there, and have stopped here' : 'this host runs no devices';
    logger.error({ reason }, `another host called ${name} is connected: ${consequence}; trying again until the other is gone`);
    if (this.#isReplaced) this.#failed.abort();
    return this.#isReplaced;
  }

  /** Ends all tasks of a host that the service has decommissioned. */
  #endDecommissioned(reason: string): void {
    this.#options.logger.fatal({ reason }, 'the host was decommissioned: its devices have stopped; stop this process');
    this.#isDecommissioned = true;
    this.#failed.abort();
  }

  /** Registers the host, and receives orders until the order stream ends. */
  async #registerAndReceiveOrders(): Promise<void> {
    const { logger } = this.#options;
    const { host, heartbeatSeconds, signingKeys } = await this.#register();
    this.#host = host;
    this.#conflictBackOff.reset();
    this.#registeredAt = performance.now();
    this.#reachable.abort();
    this.#reachable = new AbortController();
    for (const device of this.#devices.keys()) this.#unconfirmed.add(device);
    this.#trusted.update(signingKeys);
    this.#heartbeatMilliseconds = heartbeatSeconds * 1_000;
    logger.info({ host }, 'registered with the control service');
    await this.#connection.receiveOrders(host, this.#bootId, {
      onOrder: (order) => this.#accept(order),
      onMalformed: (reason) => logger.error({ reason }, 'skipped a malformed order'),
      onPolling: (reason) =>
        logger.warn({ reason }, 'no data on the stream of orders, probably because a proxy buffers it; polling for orders instead'),
    });
  }

  async #register(): Promise<RegisteredHost> {
    const { name, devices, capacity, controlUrl } = this.#options;
    try {
      return await this.#connection.register({ name, bootId: this.#bootId, capacity, capabilities: [...agentCapabilities], devices });
    } catch (error) {
      if (error instanceof ControlError && error.isFinal)
        throw new RegistrationRejectedError(
          `${controlUrl} rejects the registration of the host ${name} (${error.status}): ${error.detail}`,
          error,
        );
      if (error instanceof z.ZodError)
        throw new RegistrationRejectedError(
          `unexpected response of ${controlUrl} to the registration of the host ${name}: run the host and the service in the same version. ${z.prettifyError(error).slice(0, 500)}`,
        );
      throw error;
    }
  }

  /**
   * Starts an order. Executes each task once, however often its order arrives. A load is the same task under every order: a service that took this
   * boot for a new one reissues the load with another order.
   */
  async #accept(order: Order): Promise<void> {
    const { signal, logger } = this.#options;
    while (this.#inProgress.size + this.#outbox.orderReportCount >= maxPendingOrders && !signal.aborted) await delay(10, signal);
    const task = taskKey(order);
    const report = this.#unacknowledged.get(task);
    if (report?.order === order.order) return this.#outbox.add(report);
    if (this.#inProgress.has(task)) return void this.#inProgress.set(task, order);
    const known = report ?? this.#acknowledged.get(task);
    // A repeated order to detach must not drop a device that has attached again since.
    const device = known !== undefined && order.kind === 'detach-device' ? this.#newDevice(minRamPages) : this.#deviceOf(order);
    if (device === null) {
      logger.error(logFields(order), 'skipped an order for a device that is not attached');
      return;
    }
    if (known !== undefined) return this.#reportAgain({ ...known, order: order.order }, device);
    this.#inProgress.set(task, order);
    this.#execute(device, order).then(
      (report) => {
        if (order.kind === 'detach-device') this.#detaching.delete(order.device);
        this.#finish(task, report);
      },
      (error) => {
        this.#inProgress.delete(task);
        logger.error({ ...logFields(order), reason: String(error) }, 'could not report an order');
      },
    );
  }

  async #execute(device: HostedDevice, order: Order): Promise<OrderReport> {
    const { tracer = null } = this.#options;
    return tracer === null ? device.execute(order) : executeTraced(tracer, order, () => device.execute(order));
  }

  #reportAgain(known: Stateless<OrderReport>, device: HostedDevice): void {
    const report = { ...known, state: device.state() };
    const task = taskKey(report);
    this.#acknowledged.delete(task);
    this.#unacknowledged.set(task, report);
    this.#outbox.add(report);
  }

  #deviceOf(order: Order): HostedDevice | null {
    if (order.kind === 'detach-device') return this.#release(order.device);
    const known = this.#devices.get(order.device);
    if (known !== undefined) return known;
    if (order.kind === 'inject-load' || order.kind === 'cancel-load') return this.#detaching.get(order.device) ?? null;
    if (order.kind !== 'attach-device') return null;
    const device = this.#detachByName(order.name) ?? this.#newDevice(order.ramPages);
    this.#devices.set(order.device, device);
    this.#names.set(order.name, order.device);
    return device;
  }

  #newDevice(ramPages: number): HostedDevice {
    return new HostedDevice(this.#processor, this.#images, this.#builds, ramPages, () => this.#nextSequence());
  }

  /** Removes and returns a device, so that it gets no more orders. Returns an empty one if the host does not have it, for the report. */
  #release(id: DeviceId): HostedDevice {
    const device = this.#devices.get(id) ?? this.#newDevice(minRamPages);
    this.#devices.delete(id);
    for (const [name, named] of this.#names) if (named === id) this.#names.delete(name);
    this.#unconfirmed.delete(id);
    this.#outbox.dropState(id);
    this.#detaching.set(id, device);
    return device;
  }

  /** Removes and returns the device of this name, to which the service has given a new identifier after losing its records. Null if there is none. */
  #detachByName(name: string): HostedDevice | null {
    const id = this.#names.get(name);
    const device = id === undefined ? undefined : this.#devices.get(id);
    if (id === undefined || device === undefined) return null;
    this.#devices.delete(id);
    this.#outbox.dropState(id);
    return device;
  }

  /** Returns the next sequence. It rises during the whole boot for all devices together, so that it also rises for a device that attaches again. */
  #nextSequence(): number {
    this.#stateSequence += 1;
    return this.#stateSequence;
  }

  #finish(task: string, finished: OrderReport): void {
    const order = this.#inProgress.get(task);
    // Another order for the same task may have arrived: the report is for the last one.
    const report = { ...finished, order: order?.order ?? finished.order };
    this.#inProgress.delete(task);
    this.#unacknowledged.set(task, report);
    this.#outbox.add(report);
    if (order !== undefined) this.#options.logger.info(logFields(order), 'executed an order');
  }

  async #deliverReports(): Promise<void> {
    const { signal, logger } = this.#options;
    const backOff = new BackOff();
    let limit: number = agentLimits.reportsPerRequest;
    while (!signal.aborted) {
      await this.#outbox.waitUntilFilled(signal);
      const batch = this.#outbox.next(limit);
      const { reports } = batch;
      // Read before the request: the request may fail after the host has registered again.
      const reachable = this.#reachable.signal;
      try {
        if (this.#host === null) throw new Error('not registered');
        await this.#connection.report(this.#host, this.#bootId, batch.text);
        this.#acknowledge(batch);
        backOff.reset();
        limit = Math.min(limit * 2, agentLimits.reportsPerRequest);
      } catch (error) {
        if (signal.aborted) return;
        const reason = String(error);
        if (isRejection(error) && reports.length > 1) {
          // Halving the batch finds the rejected report and delivers the others.
          limit = Math.ceil(reports.length / 2);
          continue;
        }
        if (isRejection(error)) {
          this.#reduce(batch, error.detail);
        } else {
          logger.warn({ reason, reports: reports.length }, 'could not deliver reports; trying again');
        }
        await backOff.wait(signal, retryAfterOf(error), reachable);
      }
    }
  }

  #acknowledge(batch: Batch): void {
    this.#outbox.acknowledge(batch);
    for (const report of batch.reports) {
      if (!('order' in report)) continue;
      const { state: _, ...remembered } = report;
      const task = taskKey(report);
      // A newer report of the same task, for another order, may be queued.
      if (this.#unacknowledged.get(task)?.order === report.order) this.#unacknowledged.delete(task);
      this.#acknowledged.set(task, remembered);
    }
    for (const oldest of this.#acknowledged.keys()) {
      if (this.#acknowledged.size <= maxAcknowledgedReports) break;
      this.#acknowledged.delete(oldest);
    }
  }

  /** Replaces the only report of a rejected batch by a reduced one, or drops the report. */
  #reduce(batch: Batch, rejection: string): void {
    const [report] = batch.reports;
    if (report === undefined) return;
    const facts = { reason: rejection, report: report.kind, device: report.device, ...('order' in report ? { order: report.order } : {}) };
    const reduced = reducedReport(report, rejection);
    if (reduced === null) {
      this.#acknowledge(batch);
      this.#options.logger.error(facts, 'dropped a report: the service rejects it, and it cannot be reduced further');
      return;
    }
    this.#outbox.replace(report, reduced);
    if ('order' in reduced) this.#unacknowledged.set(taskKey(reduced), reduced);
    const message = 'the service rejected a report; sending a reduced report';
    this.#options.logger.error({ ...facts, modulesInState: reduced.state.moduleTable.length }, message);
  }

  async #reportStates(): Promise<void> {
    const { signal } = this.#options;
    const rounds = new StateRoundRobin(this.#devices);
    while (!signal.aborted) {
      await delay(this.#unconfirmed.size > 0 ? confirmationInterval : stateInterval, signal);
      this.#confirmStates();
      for (const [device, hosted] of rounds.nextRound()) this.#reportState(device, () => hosted.changedState());
    }
  }

  /** Queues unconfirmed states, changed or not, as far as the outbox has room. */
  #confirmStates(): void {
    for (const device of this.#unconfirmed) {
      if (this.#outbox.stateCount >= agentLimits.reportsPerRequest) return;
      this.#unconfirmed.delete(device);
      this.#reportState(device, () => this.#devices.get(device)?.state() ?? null);
    }
  }

  #reportState(device: DeviceId, read: () => SequencedState | null): void {
    try {
      const state = read();
      if (state !== null) this.#outbox.add({ kind: 'device-state', device, state });
    } catch (error) {
      this.#options.logger.error({ device, reason: String(error) }, 'could not report the state of a device');
    }
  }

  async #sendHeartbeats(): Promise<void> {
    const { signal, logger } = this.#options;
    let retryAfter = 0;
    while (!signal.aborted) {
      await delay(Math.max(this.#heartbeatMilliseconds, retryAfter), signal);
      retryAfter = 0;
      if (this.#host === null || signal.aborted) continue;
      try {
        await this.#connection.heartbeat(this.#host, this.#bootId);
      } catch (error) {
        if (signal.aborted) return;
        retryAfter = clampRetryAfter(retryAfterOf(error));
        logger.debug({ reason: String(error) }, 'could not send a heartbeat');
      }
    }
  }

  /** Repeats a download until it succeeds or the service responds that the content is invalid or does not exist. */
  async #download<Value>(request: (connection: ControlConnection) => Promise<Value>): Promise<Value> {
    const { signal } = this.#options;
    const backOff = new BackOff();
    for (;;) {
      const reachable = this.#reachable.signal;
      try {
        return await request(this.#connection);
      } catch (error) {
        if (signal.aborted || isRejection(error) || (error instanceof ControlError && error.isFinal && error.status === 404)) throw error;
        await backOff.wait(signal, retryAfterOf(error), reachable);
      }
    }
  }
}

/** Returns the key of the task of an order or report. A load is the same task under every order; an order that ends its drain is another task. */
function taskKey(message: Order | Stateless<OrderReport>): string {
  switch (message.kind) {
    case 'load':
    case 'load-patch-set':
    case 'unload-module':
    case 'load-completed':
      return message.load;
    default:
      return message.order;
  }
}

/** Returns the log fields of an order. */
function logFields({ order, kind, device, request, traceparent, ...content }: Order) {
  const traceId = traceparent?.split('-')[1];
  return {
    order,
    kind,
    device,
    ...('load' in content ? { load: content.load } : {}),
    request,
    ...(traceId === undefined ? {} : { trace_id: traceId }),
  };
}

/** Returns the `Retry-After` of an error in milliseconds; 0 without one. */
function retryAfterOf(error: unknown): number {
  return error instanceof ControlError ? error.retryAfterMilliseconds : 0;
}

/** Whether the service rejects the content of a request, and would reject it again. */
function isRejection(error: unknown): error is ControlError {
  return error instanceof ControlError && error.isRejection;
}

/** Returns why a request failed, with the cause that `fetch failed` hides, such as a refused connection. */
function reasonOf(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined;
  if (!(cause instanceof Error)) return String(error);
  return `${error}: ${cause.message || ('code' in cause ? cause.code : cause.name)}`;
}
