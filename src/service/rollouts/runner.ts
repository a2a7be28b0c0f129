// Has rollouts go on: looks how each stands again and again, and has its next step taken, each in one transaction, so that it can be ended
// between any two.

import { setImmediate } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../clock/service-clock.ts';
import type { Store } from '../database/store.ts';
import { applyStep, isActionable, type PlannedStep, planNextStep } from './apply-step.ts';
import { acceptsDevices, addJoiningDevices, findJoiningDevices } from './dynamic-membership.ts';
import type { RolloutRecord } from './repository.ts';
import { RolloutRecords } from './repository.ts';
import type { RolloutView } from './status.ts';
import type { WaitingFor } from './steps.ts';
import { WaveMeasurer } from './wave-measurer.ts';

/** Steps of one rollout before the others get their turn. */
const stepLimit = 20;
/** A wave is measured this often, in milliseconds; less often where that takes long. */
const measurementInterval = 500;
/** Of the time of the process, so much at most is for measuring one wave: one part in so many. */
const measuringShare = 5;
/** Devices that match are looked for this often, in milliseconds. */
const joiningInterval = 2_000;
/** A rollout that waits for people or for a time is looked at this often, in milliseconds, unless something is decided about it. */
const slowCheckInterval = 1_000;
const isSlowWait: Readonly<Record<WaitingFor, boolean>> = {
  approval: true,
  devices: false,
  'earlier-rollouts': true,
  loads: false,
  measurement: false,
  operator: true,
  rate: false,
  rollback: false,
  soak: false,
  'start-time': true,
  window: true,
};
/** Devices whose figures are kept in one transaction. */
const measuredBatchSize = 500;

type Uses = { readonly store: Store; readonly clock: Clock };

export class RolloutRunner {
  readonly #uses: Uses;
  readonly #measuring: WaveMeasurer;
  /** When each rollout is looked at again, its wave measured, and devices looked for that join it, by the clock of the process. */
  readonly #nextLook = new Map<string, number>();
  readonly #nextMeasuring = new Map<string, number>();
  readonly #nextJoining = new Map<string, number>();
  /** The wave of each that is next or under way. */
  readonly #waves = new Map<string, number>();
  /** Why rollouts cannot be carried on, by their identifiers. */
  readonly faults = new Map<string, string>();

  constructor(uses: Uses) {
    this.#uses = uses;
    this.#measuring = new WaveMeasurer(uses.store);
  }

  /** Takes every rollout as far as it goes now. */
  async advance(): Promise<void> {
    const open = await new RolloutRecords(this.#uses.store.readConnection).openIds();
    for (const id of open) {
      if (!isDue(this.#nextLook, id, 0)) continue;
      try {
        const view = await this.#advance(id);
        if (view?.wave) this.#waves.set(id, view.wave.number);
        if (view?.step.kind === 'wait' && isSlowWait[view.step.for]) this.#nextLook.set(id, performance.now() + slowCheckInterval);
        this.faults.delete(id);
      } catch (error) {
        this.faults.set(id, error instanceof Error ? error.message : String(error));
      }
    }
    this.#forgetAllBut(open);
    this.#measuring.forgetAllExcept(this.#waves);
  }

  /** Something has been decided about a rollout. */
  recheck(id: string): void {
    this.#nextLook.delete(id);
  }

  /** Answers how it stands when there is nothing to be done; null when it has ended, or others are to have their turn. */
  async #advance(id: string): Promise<RolloutView | null> {
    const { store, clock } = this.#uses;
    for (let steps = 0; steps < stepLimit; steps++) {
      const decided = await planNextStep(store.readConnection, id, clock.now());
      if (decided === null) return null;
      if (await this.#renew(decided.view)) continue;
      if (!isActionable(decided.step)) return decided.view;
      await this.#takeStep(decided);
      await setImmediate();
    }
    return null;
  }

  /** Has devices join, and measures, if it is time to. Answers whether it was. */
  async #renew(view: RolloutView): Promise<boolean> {
    const { id } = view.record;
    const joins = canAddDevices(view, this.#uses.clock.now()) && isDue(this.#nextJoining, id, joiningInterval);
    const measures = needsMeasurement(view) && (isWaitingForMeasurement(view) || isDue(this.#nextMeasuring, id, measurementInterval));
    if (joins) await this.#join(view);
    if (measures) await this.#measure(view);
    return joins || measures;
  }

  async #takeStep({ view, step }: PlannedStep): Promise<void> {
    const { store, clock } = this.#uses;
    const { id } = view.record;
    if (step.kind === 'pass-wave' || step.kind === 'fail-wave') await this.#keepFigures(view.record, step.wave);
    await store.transaction(async (connection) => {
      // Somebody may have paused it meanwhile, or a load have ended.
      const decided = await planNextStep(connection, id, clock.now());
      if (decided !== null) await applyStep(connection, decided.view, decided.step, decided.now);
    });
  }

  async #join({ record }: RolloutView): Promise<void> {
    const { store, clock } = this.#uses;
    // Others write meanwhile: looking takes long where many devices match, and mostly finds none.
    if ((await findJoiningDevices(store.readConnection, record.id)).length === 0) return;
    await store.transaction((connection) => addJoiningDevices(connection, record.id, clock.now()));
  }

  async #measure(view: RolloutView): Promise<void> {
    const { record, wave } = view;
    if (wave === null) return;
    const began = performance.now();
    const measuredAt = this.#uses.clock.now();
    const { measured } = await this.#measuring.measure(record, wave.number);
    if (isWaitingForMeasurement(view) || !isDeepStrictEqual(measured, wave.results.measured))
      await this.#uses.store.transaction((connection) =>
        new RolloutRecords(connection).updateWave(record.id, wave.number, { measured, measuredAt }),
      );
    const took = performance.now() - began;
    this.#nextMeasuring.set(record.id, performance.now() + Math.max(measurementInterval, took * measuringShare));
  }

  /** Keeps what was measured of each device of a wave that is judged. */
  async #keepFigures(record: RolloutRecord, wave: number): Promise<void> {
    const { id } = record;
    const { devices } = await this.#measuring.measure(record, wave);
    const figures = [...devices].map(([deviceId, measured]) => ({ deviceId, measured }));
    for (let first = 0; first < figures.length; first += measuredBatchSize)
      await this.#uses.store.transaction((connection) =>
        new RolloutRecords(connection).setMeasured(id, figures.slice(first, first + measuredBatchSize)),
      );
  }

  #forgetAllBut(open: readonly string[]): void {
    const ids = new Set(open);
    for (const times of [this.#nextLook, this.#nextMeasuring, this.#nextJoining, this.#waves, this.faults])
      for (const id of times.keys()) if (!ids.has(id)) times.delete(id);
  }
}

/** Whether it is time for what is done at intervals; then the next is after one more, in milliseconds. */
function isDue(times: Map<string, number>, id: string, interval: number): boolean {
  if (performance.now() < (times.get(id) ?? 0)) return false;
  times.set(id, performance.now() + interval);
  return true;
}

function canAddDevices({ record, state }: RolloutView, now: Date): boolean {
  return record.rollbackOf === null && state === 'running' && acceptsDevices(record, now);
}

/** Whether it is waited for when it is measured, whatever that finds. */
const isWaitingForMeasurement = ({ step }: RolloutView) => step.kind === 'wait' && step.for === 'measurement';

const needsMeasurement = ({ wave }: RolloutView) => wave?.state === 'loading' || wave?.state === 'soaking';
