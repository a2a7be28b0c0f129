// A device of the host: executes its orders one at a time in order of arrival, and reports the result of each.

import { hash } from 'node:crypto';
import {
  Device,
  ImageError,
  type LoadReport,
  type DeviceState as MachineState,
  type Processor,
  ProgramError,
  sanitizeReason,
  type VerifiedImage,
  verifyImage,
} from '../machine/index.ts';
import type { SignatureRequirement } from '../proof/build-proof.ts';
import type { LoadOrder, LoadReportInput, Order, OrderOf, ProgramOrder } from '../protocol/agent.ts';
import type { LoadId } from '../protocol/identifiers.ts';
import { FunctionType } from '../protocol/interface.ts';
import { LoadPolicy } from '../protocol/load-report.ts';
import { type BuildVerifier, ProvenanceError } from './build-verifier.ts';
import { ControlError } from './control-connection.ts';
import type { ImageCache } from './image-cache.ts';
import type { OrderReport } from './outbox.ts';
import { unexecutedReport } from './unexecuted-report.ts';

/** A reported state: the state of the machine with its sequence, and with the identifier of the draining load. */
export type SequencedState = Omit<MachineState, 'draining'> & {
  readonly sequence: number;
  readonly draining?: NonNullable<MachineState['draining']> & { readonly load: LoadId };
};

/** Orders that end the drain of a load early. */
type DrainOrder = OrderOf<'inject-load' | 'cancel-load'>;

type OrderedBuild = {
  readonly module: string;
  readonly version: string;
  readonly image: string;
  readonly demands: readonly SignatureRequirement[];
};

type PatchSetMember = { readonly image: VerifiedImage; readonly signedBy: readonly string[] } | { readonly unload: string };

export class HostedDevice {
  readonly #images: ImageCache;
  readonly #builds: BuildVerifier;
  readonly #device: Device;
  readonly #nextSequence: () => number;
  /** Digest of the last state reported, without its time. */
  #lastReported = '';
  /** True if the state cannot have changed since then: no order has started, and no program runs. */
  #isIdle = false;
  #lastOrder: Promise<unknown> = Promise.resolve();
  /** The load that the device executes. */
  #runningLoad: LoadId | null = null;
  /** Modules that loads have removed. A repeated order to attach does not restore them. */
  readonly #unloaded = new Set<string>();

  /** @param nextSequence Returns a higher number at each call, also after this device is replaced by another. */
  constructor(processor: Processor, images: ImageCache, builds: BuildVerifier, ramPages: number, nextSequence: () => number) {
    this.#images = images;
    this.#builds = builds;
    this.#nextSequence = nextSequence;
    this.#device = new Device({ processor, ramPages });
  }

  /**
   * Executes an order after the earlier ones, or at once if it ends the drain of one of them. A failure is in the report. Rejects only if the state of
   * the device cannot be read.
   */
  execute(order: Order): Promise<OrderReport> {
    if (order.kind === 'inject-load' || order.kind === 'cancel-load') return this.#endDrain(order);
    const receivedAt = performance.now();
    const report = this.#lastOrder.then(() => {
      this.#isIdle = false;
      return this.#executeNow(order, receivedAt);
    });
    this.#lastOrder = report.catch(() => {});
    return report;
  }

  /** Whether the state may differ from the last reported one. */
  get mayHaveChanged(): boolean {
    return !this.#isIdle;
  }

  /** Returns the state to report if it differs from the last reported one, otherwise null. */
  changedState(): SequencedState | null {
    const state = this.#device.state();
    return this.#recordState(state) ? this.#withSequence(state) : null;
  }

  /** Returns the state to report. */
  state(): SequencedState {
    const state = this.#device.state();
    this.#recordState(state);
    return this.#withSequence(state);
  }

  /** Numbers a state that was just read, so that sequences have the order of the states. */
  #withSequence(state: MachineState): SequencedState {
    const { draining, ...rest } = state;
    const load = this.#runningLoad;
    return {
      sequence: this.#nextSequence(),
      ...rest,
      ...(draining === undefined || load === null ? {} : { draining: { load, ...draining } }),
    };
  }

  /** Records a state as the last reported one. Returns whether it differs from the one before. */
  #recordState({ at: _, draining, ...facts }: MachineState): boolean {
    const before = this.#lastReported;
    // The wait grows all the time; the service counts it itself.
    const { waitedMilliseconds: __, ...drain } = draining ?? {};
    this.#lastReported = hash('sha256', JSON.stringify({ ...facts, drain }), 'base64');
    this.#isIdle = !this.#device.hasRunningPrograms;
    return this.#lastReported !== before;
  }

  /** Ends the drain of a load early. The load itself is reported by its own order. */
  async #endDrain(order: DrainOrder): Promise<OrderReport> {
    this.#isIdle = false;
    const kind = order.kind === 'inject-load' ? 'load-injected' : 'load-cancelled';
    const failure = await this.#failureOf(async () => {
      const isRunning = this.#runningLoad === order.load;
      const end = () => (order.kind === 'inject-load' ? this.#device.interruptDrain() : this.#device.cancelDrain(order.reason));
      if (!isRunning || (await end()) === 'not-draining') throw new ProgramError(`the load ${order.load} is not draining`);
    });
    return { kind, ...this.#reportHeader(order), load: order.load, failure };
  }

  async #executeNow(order: Exclude<Order, DrainOrder>, receivedAt: number): Promise<OrderReport> {
    switch (order.kind) {
      case 'attach-device': {
        const failure = await this.#failureOf(() => this.#attach(order));
        return { kind: 'device-attached', ...this.#reportHeader(order), failure };
      }
      case 'detach-device': {
        const header = this.#reportHeader(order);
        const failure = await this.#failureOf(() => this.#device.close());
        return { kind: 'device-detached', ...header, failure };
      }
      case 'load':
      case 'load-patch-set':
      case 'unload-module': {
        const result = await this.#runLoad(order, receivedAt);
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
   * Restores the modules and programs of a device. Restores as much as possible, and throws an error that lists the failures. A device that is attached
   * already (the service has no record of this boot of the host) keeps its memory: only missing modules and programs are added, and modules that were
   * unloaded are not. Programs that the service has no record of are stopped, because no operator could stop them later.
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
      if (loaded.has(module) || this.#unloaded.has(module)) continue;
      const failure = await this.#failureOf(async () => {
        // Publisher signatures were checked when the build was loaded.
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

  /** @param receivedAt When the host received the order, by its monotonic clock. */
  async #runLoad(order: LoadOrder, receivedAt: number): Promise<LoadReportInput> {
    const { remainingMilliseconds: remaining } = order;
    const isOverdue = () => remaining !== null && performance.now() - receivedAt >= remaining;
    const expired = () => unexecutedReport(order, 'expired', 'the deadline passed before the device started the load', this.state());
    if (isOverdue()) return expired();
    try {
      const start = await this.#prepare(order);
      // The downloads may have waited for the service.
      if (isOverdue()) return expired();
      this.#runningLoad = order.load;
      const { members, ...report } = await start();
      return { ...report, ...(members && { members: [...members] }) };
    } catch (error) {
      const isRefusal = error instanceof ImageError || error instanceof ProvenanceError || error instanceof ControlError;
      return unexecutedReport(order, isRefusal ? 'refused-image' : 'failed', messageOf(error), this.state());
    } finally {
      this.#runningLoad = null;
    }
  }

  /** Downloads and verifies the builds of a load. Returns the function that runs the load. @throws as `#verifiedBuild`. */
  #prepare(order: LoadOrder): Promise<() => Promise<LoadReport>> {
    switch (order.kind) {
      case 'load':
        return this.#prepareBuild(order);
      case 'unload-module':
        return Promise.resolve(() => this.#unload(order));
      case 'load-patch-set':
        return this.#preparePatchSet(order);
    }
  }

  async #prepareBuild(order: OrderOf<'load'>): Promise<() => Promise<LoadReport>> {
    const { image, signedBy } = await this.#verifiedBuild(order);
    return async () => {
      const report = await this.#device.load({ image, signedBy, ...loadOptions(order) });
      if (report.current !== null) this.#unloaded.delete(order.module);
      return report;
    };
  }

  async #unload(order: OrderOf<'unload-module'>): Promise<LoadReport> {
    const { module, strategy, invalidation, drainMilliseconds, forceReason } = order;
    const report = await this.#device.unload({ module, strategy, invalidation, forceReason, ...drainOption(drainMilliseconds) });
    if (report.current === null) this.#unloaded.add(module);
    return report;
  }

  async #preparePatchSet(order: OrderOf<'load-patch-set'>): Promise<() => Promise<LoadReport>> {
    const members: PatchSetMember[] = [];
    for (const member of order.members)
      members.push(member.action === 'load' ? await this.#verifiedBuild(member) : { unload: member.module });
    return async () => {
      const report = await this.#device.loadPatchSet({ members, ...loadOptions(order) });
      this.#recordUnloaded(order, report);
      return report;
    };
  }

  /** Records which members a patch set has unloaded. A set that was refused or failed has unloaded none, also if a member is not in memory. */
  #recordUnloaded({ members }: OrderOf<'load-patch-set'>, report: LoadReport): void {
    const isLoaded = report.outcome === 'installed' || report.outcome === 'replaced' || report.outcome === 'replaced-interrupting';
    const current = new Map((report.members ?? []).map((member) => [member.module, member.current]));
    for (const { action, module } of members)
      if (current.get(module) != null) this.#unloaded.delete(module);
      else if (action === 'unload' && isLoaded) this.#unloaded.add(module);
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
    // `verifyImage` compares the stated type with the image.
    const type = FunctionType.parse(stated.type);
    const driver = verifyImage(image, { kind: 'driver', digest, module, export: name, type, addressing });
    this.#device.startProgram({ ...order, driver });
  }

  /** Runs an action. Returns the reason of its failure, or null. */
  async #failureOf(action: () => unknown): Promise<string | null> {
    try {
      await action();
      return null;
    } catch (error) {
      return sanitizeReason(messageOf(error));
    }
  }
}

/** Returns the options of a load of builds, as the machine takes them. */
function loadOptions(order: OrderOf<'load' | 'load-patch-set'>) {
  const { drainMilliseconds, versionPolicy, downgradeReason, ...policy } = LoadPolicy.parse(order);
  return {
    ...policy,
    ...drainOption(drainMilliseconds),
    versionPolicy: versionPolicy === 'downgrade' ? { downgrade: downgradeReason ?? '' } : versionPolicy,
  };
}

/** Null: the default of the device. */
function drainOption(drainMilliseconds: number | null) {
  return drainMilliseconds === null ? {} : { drainMilliseconds };
}

function messageOf(error: unknown): string {
  if (error instanceof ImageError || error instanceof ProvenanceError || error instanceof ProgramError) return error.message;
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}
