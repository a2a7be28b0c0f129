// The device host: registers with the control service, carries out the orders for its devices and reports what came of them.

import { randomUUID } from 'node:crypto';
import type { BaseLogger } from 'pino';
import { z } from 'zod';
import { type DeviceState, defaultImageMemory, Processor } from '../machine/index.ts';
import type { PublicKey } from '../proof/ed25519.ts';
import { agentLimits, type HostRegistration, type Order, type RegisteredHost } from '../protocol/agent.ts';
import { delay } from '../protocol/back-off.ts';
import type { DeviceId } from '../protocol/identifiers.ts';
import { BackOff, clampRetryAfter } from './back-off.ts';
import { BuildVerifier } from './build-verifier.ts';
import { ControlConnection, ControlError } from './control-connection.ts';
import { HostedDevice } from './hosted-device.ts';
import { ImageCache } from './image-cache.ts';
import { type Batch, type OrderReport, Outbox } from './outbox.ts';
import { reducedReport } from './reduced-report.ts';
import { StateRoundRobin } from './state-round-robin.ts';
import { TrustedKeys } from './trusted-keys.ts';

export type HostOptions = {
  /** The service's address, like `http://127.0.0.1:7070`. */
  readonly controlUrl: string;
  /** What the service asks of those who register. */
  readonly joinToken: string;
  readonly name: string;
  /** Devices that the host brings along; the service may place more on it, up to its capacity. */
  readonly devices: HostRegistration['devices'];
  readonly capacity: number;
  /** The keys that may sign builds, and what they vouch for; null: whatever keys the service says that it signs with. */
  readonly trustedKeys: readonly PublicKey[] | null;
  /** Bytes that the memories of all images of the devices may have together; 4 GiB by default. */
  readonly imageMemory?: number;
  /** Aborting it ends the host. */
  readonly signal: AbortSignal;
  readonly logger: BaseLogger;
};

/** How often states that have changed are reported, of `statesAtOnce` devices, in milliseconds. */
const stateInterval = 500;
/** The same while all devices are to be reported again, because the host has registered. */
const confirmationInterval = 20;
/** Orders under way, and reports not yet delivered; the host reads no more orders while there are as many. */
const maxPendingOrders = 10_000;
/**
 * A connection that lasted this long, in milliseconds, before the service ended it: the next is tried soon. Longer than any back-off, so that two hosts
 * of the same name do not take the orders from each other without a pause.
 */
const steadyMilliseconds = 10_000;
/**
 * A connection that lasted this long, in milliseconds, before it was lost: the service was killed or restarted, perhaps not for the first time, and the
 * next connection is tried soon. It bounds how often a host registers through a network that cuts every connection.
 */
const establishedMilliseconds = 1_000;
/**
 * Reports that are remembered after the service has acknowledged them. It has them on disk then, and asks again only when its database was restored
 * from a backup, or when an answer was lost: of orders in flight, each may come again. Their states are not kept: a report that is sent again has the
 * state of its device then.
 */
const maxAcknowledgedReports = 2 * agentLimits.ordersInFlight;

/** The service refuses to register the host, and would refuse it again: the message says why and what to change. */
export class RegistrationRejectedError extends Error {
  override readonly name = 'RegistrationRefused';
}

/**
 * Runs a host until its signal is aborted. A service that is lost, busy or not there yet is waited for. Once the host has registered, it keeps its
 * devices running whatever the service says later.
 * @throws {RegistrationRejectedError} before the host has registered for the first time.
 */
export async function runHost(options: HostOptions): Promise<void> {
  await new Host(options).run();
}

/** A report without the state of its device. */
type Stateless<Report> = Report extends { readonly state: unknown } ? Omit<Report, 'state'> : never;

class Host {
  readonly #options: HostOptions;
  /** Made anew by each start: the devices of another boot are gone. */
  readonly #bootId = randomUUID();
  readonly #connection: ControlConnection;
  readonly #processor: Processor;
  readonly #images: ImageCache;
  readonly #trusted: TrustedKeys;
  readonly #builds: BuildVerifier;
  readonly #outbox = new Outbox();
  readonly #devices = new Map<DeviceId, HostedDevice>();
  /** What the devices are called by the service, by their names. */
  readonly #names = new Map<string, DeviceId>();
  /** Orders that are being executed, by what they ask for: of each the last that came, which is reported on. */
  readonly #inProgress = new Map<string, Order>();
  /** Reports that wait in the outbox, by what was done. */
  readonly #unacknowledged = new Map<string, OrderReport>();
  /** Reports that the service has acknowledged, by what was done, the oldest first. */
  readonly #acknowledged = new Map<string, Stateless<OrderReport>>();
  /** Devices whose states are to be reported whether they have changed or not: the service may have lost what it knew. */
  readonly #unconfirmed = new Set<DeviceId>();
  #host: string | null = null;
  /** When the host last registered, by the monotonic clock in milliseconds. */
  #registeredAt = Number.NEGATIVE_INFINITY;
  /** Aborted and replaced whenever the host registers: whatever waits for the service tries again then. */
  #reachable = new AbortController();
  readonly #failed = new AbortController();
  #stateSequence = 0;
  /** As the service has asked for. */
  #heartbeatMilliseconds = 1_000;

  constructor(options: HostOptions) {
    const signal = AbortSignal.any([options.signal, this.#failed.signal]);
    this.#options = { ...options, signal };
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

  async run(): Promise<void> {
    const work = [this.#runOrders(), this.#deliverReports(), this.#reportStates(), this.#sendHeartbeats()];
    try {
      await Promise.all(work);
    } finally {
      this.#failed.abort();
      await Promise.allSettled(work);
      this.#processor.close();
    }
  }

  async #runOrders(): Promise<void> {
    const { signal, logger, name } = this.#options;
    const backOff = new BackOff();
    while (!signal.aborted) {
      const began = performance.now();
      let asked = 0;
      let wasLost = false;
      try {
        await this.#registerAndReceiveOrders();
        if (!signal.aborted)
          logger.warn(`the control service ended the stream of orders; registering again (is another host called ${name} running?)`);
      } catch (error) {
        if (signal.aborted) return;
        asked = retryAfterOf(error);
        const isRefused = error instanceof RegistrationRejectedError;
        const isAnswer = isRefused || error instanceof ControlError;
        wasLost = !isAnswer && this.#registeredAt >= began && performance.now() - this.#registeredAt >= establishedMilliseconds;
        if (isRefused && this.#host === null) throw error;
        if (isRefused)
          logger.error(
            { reason: error.message },
            'the control service refuses the host; its devices keep running, and the host tries again',
          );
        else logger.warn({ reason: String(error) }, 'lost the control service; trying again');
      }
      if (performance.now() - began >= steadyMilliseconds || wasLost) backOff.reset();
      await backOff.wait(signal, asked);
    }
  }

  /** Registers and takes orders until the stream of orders ends. */
  async #registerAndReceiveOrders(): Promise<void> {
    const { logger } = this.#options;
    const { host, heartbeatSeconds, signingKeys } = await this.#register();
    this.#host = host;
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
        logger.warn({ reason }, 'the stream of orders brings no data, probably because a proxy buffers it; polling for orders instead'),
    });
  }

  async #register(): Promise<RegisteredHost> {
    const { name, devices, capacity, controlUrl } = this.#options;
    try {
      return await this.#connection.register({ name, bootId: this.#bootId, capacity, devices });
    } catch (error) {
      if (error instanceof ControlError && error.isFinal)
        throw new RegistrationRejectedError(`${controlUrl} refuses to register the host ${name} (${error.status}): ${error.detail}`);
      if (error instanceof z.ZodError)
        throw new RegistrationRejectedError(
          `${controlUrl} answers the registration of the host ${name} in a form that this version does not know: use a host of the version of the service. ${z.prettifyError(error).slice(0, 500)}`,
        );
      throw error;
    }
  }

  /**
   * Starts an order; each is carried out once, however often it comes. So is a load, under however many orders: a service that has taken this boot
   * for another one in the meantime asks for it again by another order.
   */
  async #accept(order: Order): Promise<void> {
    const { signal, logger } = this.#options;
    while (this.#inProgress.size + this.#outbox.orderReportCount >= maxPendingOrders && !signal.aborted) await delay(10, signal);
    const work = taskKey(order);
    const report = this.#unacknowledged.get(work);
    if (report?.order === order.order) return this.#outbox.add(report);
    if (this.#inProgress.has(work)) return void this.#inProgress.set(work, order);
    const device = this.#deviceOf(order);
    if (device === null) {
      logger.error(logFields(order), 'skipped an order for a device that is not attached');
      return;
    }
    const known = report ?? this.#acknowledged.get(work);
    if (known !== undefined) return this.#reportAgain({ ...known, order: order.order }, device);
    this.#inProgress.set(work, order);
    device.execute(order).then(
      (made) => this.#finish(work, made),
      (error) => {
        this.#inProgress.delete(work);
        logger.error({ ...logFields(order), reason: String(error) }, 'could not report an order');
      },
    );
  }

  #reportAgain(known: Stateless<OrderReport>, device: HostedDevice): void {
    const report = { ...known, state: device.state() };
    const work = taskKey(report);
    this.#acknowledged.delete(work);
    this.#unacknowledged.set(work, report);
    this.#outbox.add(report);
  }

  #deviceOf(order: Order): HostedDevice | null {
    const known = this.#devices.get(order.device);
    if (known !== undefined || order.kind !== 'attach-device') return known ?? null;
    const device =
      this.#detachByName(order.name) ??
      new HostedDevice(this.#processor, this.#images, this.#builds, order.ramPages, () => this.#nextSequence());
    this.#devices.set(order.device, device);
    this.#names.set(order.name, order.device);
    return device;
  }

  /** The device of that name, which a service that does not know it any more has given another identifier. Null where there is none. */
  #detachByName(name: string): HostedDevice | null {
    const id = this.#names.get(name);
    const device = id === undefined ? undefined : this.#devices.get(id);
    if (id === undefined || device === undefined) return null;
    this.#devices.delete(id);
    this.#outbox.dropState(id);
    return device;
  }

  /** Rises through the whole boot, for all devices together: a device that is attached again goes on where the one before it was. */
  #nextSequence(): number {
    this.#stateSequence += 1;
    return this.#stateSequence;
  }

  #finish(work: string, made: OrderReport): void {
    const order = this.#inProgress.get(work);
    const report = { ...made, order: order?.order ?? made.order };
    this.#inProgress.delete(work);
    this.#unacknowledged.set(work, report);
    this.#outbox.add(report);
    if (order !== undefined) this.#options.logger.info(logFields(order), 'carried out an order');
  }

  async #deliverReports(): Promise<void> {
    const { signal, logger } = this.#options;
    const backOff = new BackOff();
    let most: number = agentLimits.reportsPerRequest;
    while (!signal.aborted) {
      await this.#outbox.waitUntilFilled(signal);
      const batch = this.#outbox.next(most);
      const { reports } = batch;
      // Taken before the request, which may fail after the host has registered again.
      const reachable = this.#reachable.signal;
      try {
        if (this.#host === null) throw new Error('not registered');
        await this.#connection.report(this.#host, this.#bootId, batch.text);
        this.#acknowledge(batch);
        backOff.reset();
        most = Math.min(most * 2, agentLimits.reportsPerRequest);
      } catch (error) {
        if (signal.aborted) return;
        const reason = String(error);
        if (isRejection(error) && reports.length > 1) {
          // One of them is what the service refuses; halves find it, and the others are delivered.
          most = Math.ceil(reports.length / 2);
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
      const work = taskKey(report);
      // Another report of the same may wait, for another order.
      if (this.#unacknowledged.get(work)?.order === report.order) this.#unacknowledged.delete(work);
      this.#acknowledged.set(work, remembered);
    }
    for (const oldest of this.#acknowledged.keys()) {
      if (this.#acknowledged.size <= maxAcknowledgedReports) break;
      this.#acknowledged.delete(oldest);
    }
  }

  /** Reports less than what the service rejected, of the only report of a batch. */
  #reduce(batch: Batch, rejection: string): void {
    const [report] = batch.reports;
    if (report === undefined) return;
    const facts = { reason: rejection, report: report.kind, device: report.device, ...('order' in report ? { order: report.order } : {}) };
    const reduced = reducedReport(report, rejection);
    if (reduced === null) {
      this.#acknowledge(batch);
      this.#options.logger.error(facts, 'dropped a report: the service rejects it, and nothing less can be reported');
      return;
    }
    this.#outbox.replace(report, reduced);
    if ('order' in reduced) this.#unacknowledged.set(taskKey(reduced), reduced);
    const message = 'the service rejected a report; reporting less instead';
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

  /** Reports states of devices whether they have changed or not, as many as the outbox has room for. */
  #confirmStates(): void {
    for (const device of this.#unconfirmed) {
      if (this.#outbox.stateCount >= agentLimits.reportsPerRequest) return;
      this.#unconfirmed.delete(device);
      this.#reportState(device, () => this.#devices.get(device)?.state() ?? null);
    }
  }

  #reportState(device: DeviceId, read: () => DeviceState | null): void {
    try {
      const state = read();
      if (state !== null) this.#outbox.add({ kind: 'device-state', device, state });
    } catch (error) {
      this.#options.logger.error({ device, reason: String(error) }, 'could not report the state of a device');
    }
  }

  async #sendHeartbeats(): Promise<void> {
    const { signal, logger } = this.#options;
    let asked = 0;
    while (!signal.aborted) {
      await delay(Math.max(this.#heartbeatMilliseconds, asked), signal);
      asked = 0;
      if (this.#host === null || signal.aborted) continue;
      try {
        await this.#connection.heartbeat(this.#host, this.#bootId);
      } catch (error) {
        if (signal.aborted) return;
        asked = clampRetryAfter(retryAfterOf(error));
        logger.debug({ reason: String(error) }, 'could not send a heartbeat');
      }
    }
  }

  /** Tries until the service answers; what it says about what is asked for itself is the order's outcome. */
  async #download<Value>(ask: (connection: ControlConnection) => Promise<Value>): Promise<Value> {
    const { signal } = this.#options;
    const backOff = new BackOff();
    for (;;) {
      const reachable = this.#reachable.signal;
      try {
        return await ask(this.#connection);
      } catch (error) {
        if (signal.aborted || isRejection(error) || (error instanceof ControlError && error.isFinal && error.status === 404)) throw error;
        await backOff.wait(signal, retryAfterOf(error), reachable);
      }
    }
  }
}

/** Identifies what an order asks for, or what was done for one: a load is the same under every order. */
function taskKey(of: Order | Stateless<OrderReport>): string {
  return 'load' in of ? of.load : of.order;
}

/** What the log says of an order. */
function logFields({ order, kind, device, request, ...content }: Order) {
  return { order, kind, device, ...('load' in content ? { load: content.load } : {}), request };
}

/** Milliseconds that a service which is busy has asked to wait for; 0 where it has not, or something else failed. */
function retryAfterOf(error: unknown): number {
  return error instanceof ControlError ? error.retryAfterMilliseconds : 0;
}

/** What the service rejects as malformed it would reject for ever. */
function isRejection(error: unknown): error is ControlError {
  return error instanceof ControlError && error.isRejection;
}
