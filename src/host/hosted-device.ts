// One device of the host: carries its orders out, one at a time, in the order of their coming, and says what came of each.

import { hash } from 'node:crypto';
import {
  Device,
  ImageError,
  type DeviceState as MachineState,
  type Processor,
  ProgramError,
  sanitizeReason,
  type VerifiedImage,
  verifyImage,
} from '../machine/index.ts';
import type { SignatureRequirement } from '../proof/build-proof.ts';
import type { LoadReportInput, Order, OrderOf, ProgramOrder } from '../protocol/agent.ts';
import { FunctionType } from '../protocol/interface.ts';
import { LoadPolicy } from '../protocol/load-report.ts';
import { type BuildVerifier, ProvenanceError } from './build-verifier.ts';
import { ControlError } from './control-connection.ts';
import type { ImageCache } from './image-cache.ts';
import type { OrderReport } from './outbox.ts';
import { unloadedReport } from './unloaded-report.ts';

/** A state as it is reported. */
export type SequencedState = MachineState & { readonly sequence: number };

type OrderedBuild = {
  readonly module: string;
  readonly version: string;
  readonly image: string;
  readonly demands: readonly SignatureRequirement[];
};

export class HostedDevice {
  readonly #images: ImageCache;
  readonly #builds: BuildVerifier;
  readonly #device: Device;
  readonly #nextSequence: () => number;
  /** Digest of the last state reported, without its time. */
  #lastReported = '';
  /** Whether nothing can have changed since: no order has begun, and no program of the device runs. */
  #isIdle = false;
  #lastOrder: Promise<unknown> = Promise.resolve();

  /** @param nextSequence Returns a higher number at each call, also for a device that takes the place of this one. */
  constructor(processor: Processor, images: ImageCache, builds: BuildVerifier, ramPages: number, nextSequence: () => number) {
    this.#images = images;
    this.#builds = builds;
    this.#nextSequence = nextSequence;
    this.#device = new Device({ processor, ramPages });
  }

  /** Carries an order out after those before it; what went wrong is in the report. Rejects only if the device's state cannot be reported. */
  execute(order: Order): Promise<OrderReport> {
    const receivedAt = performance.now();
    const report = this.#lastOrder.then(() => {
      this.#isIdle = false;
      return this.#executeNow(order, receivedAt);
    });
    this.#lastOrder = report.catch(() => {});
    return report;
  }

  /** Whether its state may be another than the last that was reported. */
  get mayHaveChanged(): boolean {
    return !this.#isIdle;
  }

  /** The device's state, if it is another than the last that was reported. */
  changedState(): SequencedState | null {
    const state = this.#device.state();
    return this.#recordState(state) ? this.#withSequence(state) : null;
  }

  /** The device's state, which is going to be reported. */
  state(): SequencedState {
    const state = this.#device.state();
    this.#recordState(state);
    return this.#withSequence(state);
  }

  /** A state that was taken just now: the order of the numbers is the order in which the states were true. */
  #withSequence(state: MachineState): SequencedState {
    return { sequence: this.#nextSequence(), ...state };
  }

  /** Keeps in mind what the device looks like now. Answers whether it is another state than the last that was reported. */
  #recordState({ at: _, ...facts }: MachineState): boolean {
    const before = this.#lastReported;
    this.#lastReported = hash('sha256', JSON.stringify(facts), 'base64');
    this.#isIdle = !this.#device.hasRunningPrograms;
    return this.#lastReported !== before;
  }

  async #executeNow(order: Order, receivedAt: number): Promise<OrderReport> {
    switch (order.kind) {
      case 'attach-device': {
        const failure = await this.#failureOf(() => this.#attach(order));
        return { kind: 'device-attached', ...this.#reportHeader(order), failure };
      }
      case 'load': {
        const result = await this.#load(order, receivedAt);
        return { kind: 'load-completed', ...this.#reportHeader(order), load: order.load, result };
      }
      case 'start-program': {
        const failure = await this.#failureOf(() => this.#start(order));
        return { kind: 'program-started', ...this.#reportHeader(order), program: order.program, failure };
      }
      case 'stop-program': {
        const failure = await this.#failureOf(() => this.#device.stopProgram(order.program));
        return { kind: 'program-stopped', ...this.#reportHeader(order), program: order.program, failure };
      }
    }
  }

  #reportHeader(order: Order) {
    return { order: order.order, device: order.device, state: this.state() };
  }

  /**
   * Brings a device back to what it had; what cannot be brought back is named, and the rest is there. A device that is up already, which a service
   * asks for that does not know this boot of the host, keeps what is in its memory: only what is missing is added. Programs that the service
   * does not know are stopped, for nobody could stop them later.
   */
  async #attach(order: OrderOf<'attach-device'>): Promise<void> {
    const failures: string[] = [];
    const { moduleTable, programs } = this.#device.state();
    const loaded = new Set(moduleTable.map(({ module }) => module));
    const started = new Set(programs.map(({ program }) => program));
    const wanted = new Set<string>(order.programs.map(({ program }) => program));
    for (const { program, state } of programs)
      if (state === 'running' && !wanted.has(program)) await this.#failureOf(() => this.#device.stopProgram(program));
    for (const { module, version, image } of order.modules) {
      if (loaded.has(module)) continue;
      const failure = await this.#failureOf(async () => {
        // What publishers' signatures are demanded was asked when it was loaded.
        const restored = await this.#verifiedBuild({ module, version, image, demands: [] });
        const report = await this.#device.restore(restored.image);
        if (report.reason !== null) throw new ProgramError(report.reason);
      });
      if (failure !== null) failures.push(`${module}@${version}: ${failure}`);
    }
    for (const program of order.programs) {
      if (started.has(program.program)) continue;
      const failure = await this.#failureOf(() => this.#start(program));
      if (failure !== null) failures.push(`program ${program.name}: ${failure}`);
    }
    if (failures.length > 0) throw new ProgramError(failures.join('; '));
  }

  /** @param receivedAt When the host got the order, by its monotonic clock. */
  async #load(order: OrderOf<'load'>, receivedAt: number): Promise<LoadReportInput> {
    const { remainingMilliseconds: remaining } = order;
    if (remaining !== null && performance.now() - receivedAt >= remaining)
      return unloadedReport(order, 'expired', 'its deadline was over before the device began it', this.state());
    try {
      const { image, signedBy } = await this.#verifiedBuild(order);
      const { drainMilliseconds, versionPolicy, downgradeReason, ...policy } = LoadPolicy.parse(order);
      return await this.#device.load({
        image,
        signedBy,
        ...policy,
        ...(drainMilliseconds === null ? {} : { drainMilliseconds }),
        versionPolicy: versionPolicy === 'downgrade' ? { downgrade: downgradeReason ?? '' } : versionPolicy,
      });
    } catch (error) {
      const isRefusal = error instanceof ImageError || error instanceof ProvenanceError || error instanceof ControlError;
      return unloadedReport(order, isRefusal ? 'refused-image' : 'failed', messageOf(error), this.state());
    }
  }

  /** @throws {ImageError} {ProvenanceError} or what the download throws. */
  async #verifiedBuild(build: OrderedBuild): Promise<{ readonly image: VerifiedImage; readonly signedBy: readonly string[] }> {
    const { module, version, image: digest, demands } = build;
    const image = await this.#images.get(digest);
    const signedBy = await this.#builds.verify({ module, version, imageDigest: digest }, demands);
    return { image: verifyImage(image, { kind: 'module', digest, module, version }), signedBy };
  }

  async #start(order: ProgramOrder): Promise<void> {
    const { driver: digest, module, export: name, addressing } = order;
    const image = await this.#images.get(digest);
    const stated = await this.#builds.verifyDriver({ module, export: name, addressing, imageDigest: digest });
    // The types of the statement are words until they are those of the image.
    const type = FunctionType.parse(stated.type);
    const driver = verifyImage(image, { kind: 'driver', digest, module, export: name, type, addressing });
    this.#device.startProgram({ ...order, driver });
  }

  /** What went wrong, or null. */
  async #failureOf(action: () => unknown): Promise<string | null> {
    try {
      await action();
      return null;
    } catch (error) {
      return sanitizeReason(messageOf(error));
    }
  }
}

function messageOf(error: unknown): string {
  if (error instanceof ImageError || error instanceof ProvenanceError || error instanceof ProgramError) return error.message;
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}
