// Advances rollouts: checks the status of each periodically and applies its next step. Each step is one transaction, so a crash between steps is safe.

import { setImmediate } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { Span, Tracer } from '../../tracing/tracer.ts';
import type { Clock } from '../clock/service-clock.ts';
import type { Store } from '../database/store.ts';
import { applyStep, isActionable, type PlannedStep, planNextStep } from './apply-step.ts';
import { modulesOf } from './content.ts';
import type { MeasuredRollout } from './device-measurement.ts';
import { acceptsDevices, addJoiningDevices, findJoiningDevices } from './dynamic-membership.ts';
import { RolloutRecords } from './repository.ts';
import type { RolloutView } from './status.ts';
import type { WaitingFor } from './steps.ts';
import { WaveMeasurer } from './wave-measurer.ts';

/** Maximum number of steps of one rollout before the others are checked. */
const stepLimit = 20;
/** Interval between measurements of a wave, in milliseconds; longer if a measurement takes long. */
const measurementInterval = 500;
/** The interval is at least this multiple of the duration of a measurement. */
const measurementBackoff = 5;
/** Interval between searches for joining devices, in milliseconds. */
const joiningInterval = 2_000;
/** Interval between checks of a rollout that waits for a person or a time, in milliseconds. A decision about it triggers a check at once. */
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
/** Devices whose measurements are stored in one transaction. */
const measuredBatchSize = 500;

type Uses = { readonly store: Store; readonly clock: Clock; readonly tracer: Tracer | null };

export class RolloutRunner {
  readonly #uses: Uses;
  readonly #measurer: WaveMeasurer;
  /** Times of each rollout's next check, measurement and search for joining devices, by `performance.now()`. */
  readonly #nextCheck = new Map<string, number>();
  readonly #nextMeasurement = new Map<string, number>();
  readonly #nextJoining = new Map<string, number>();
  /** Number of each rollout's current or next wave. */
  readonly #waves = new Map<string, number>();
  /** Why rollouts cannot advance, by identifier. */
  readonly faults = new Map<string, string>();

  constructor(uses: Uses) {
    this.#uses = uses;
    this.#measurer = new WaveMeasurer(uses.store);
  }

  /** Applies the steps of all open rollouts that are possible now. */
  async advance(): Promise<void> {
    const open = await new RolloutRecords(this.#uses.store.readConnection).openIds();
    for (const id of open) {
      if (!isDue(this.#nextCheck, id, 0)) continue;
      try {
        const view = await this.#advance(id);
        if (view?.wave) this.#waves.set(id, view.wave.number);
        if (view?.step.kind === 'wait' && isSlowWait[view.step.for]) this.#nextCheck.set(id, performance.now() + slowCheckInterval);
        this.faults.delete(id);
      } catch (error) {
        this.faults.set(id, error instanceof Error ? error.message : String(error));
      }
    }
    this.#forgetAllExcept(open);
    this.#measurer.forgetAllExcept(this.#waves);
  }

  /** Makes the next `advance` check a rollout, because an operator changed it. */
  recheck(id: string): void {
    this.#nextCheck.delete(id);
  }

  /** Returns the status once the rollout has to wait; null if it has ended or reached `stepLimit`. */
  async #advance(id: string): Promise<RolloutView | null> {
    const { store, clock } = this.#uses;
    for (let steps = 0; steps < stepLimit; steps++) {
      const planned = await planNextStep(store.readConnection, id, clock.now());
      if (planned === null) return null;
      if (await this.#refresh(planned.view)) continue;
      if (!isActionable(planned.step)) return planned.view;
      await this.#applyStep(planned);
      await setImmediate();
    }
    return null;
  }

  /** Adds joining devices and measures the wave if they are due. Returns whether one of them was. */
  async #refresh(view: RolloutView): Promise<boolean> {
    const { id } = view.record;
    const joins = canAddDevices(view, this.#uses.clock.now()) && isDue(this.#nextJoining, id, joiningInterval);
    const measures = needsMeasurement(view) && (isWaitingForMeasurement(view) || isDue(this.#nextMeasurement, id, measurementInterval));
    if (joins) await this.#join(view);
    if (measures) await this.#measure(view);
    return joins || measures;
  }

  async #applyStep(next: PlannedStep): Promise<void> {
    const { view, step } = next;
    if (step.kind === 'pass-wave' || step.kind === 'fail-wave') await this.#storeMeasurements(view, step.wave);
    const span = this.#startSpan(next);
    try {
      await this.#planAndApply(view.record.id, span);
      span?.end({}, null);
    } catch (error) {
      span?.end({}, String(error));
      throw error;
    }
  }

  async #planAndApply(id: string, span: Span | null): Promise<void> {
    const { store, clock } = this.#uses;
    await store.transaction(async (connection) => {
      // Planned again in the transaction: an operator may have paused the rollout, or a load may have ended.
      const planned = await planNextStep(connection, id, clock.now());
      if (planned !== null) await applyStep(connection, planned, span);
    });
  }

  /** Starts the span of a step that requests loads. It begins a trace, because it may be long after the request for the rollout, to which it links. */
  #startSpan({ view, step }: PlannedStep): Span | null {
    const { tracer } = this.#uses;
    if (tracer === null || step.kind !== 'request-loads') return null;
    const { record, plan } = view;
    return tracer.startSpan('request loads of a rollout', {
      parent: null,
      links: plan.traceparent === undefined ? [] : [plan.traceparent],
      kind: 'internal',
      attributes: { 'patchbay.rollout': record.id, 'patchbay.module': record.module, 'patchbay.wave': step.wave },
    });
  }

  async #join({ record }: RolloutView): Promise<void> {
    const { store, clock } = this.#uses;
    // Searched outside the transaction first: with many devices the search is slow, and it mostly finds none.
    if ((await findJoiningDevices(store.readConnection, record.id)).length === 0) return;
    await store.transaction((connection) => addJoiningDevices(connection, record.id, clock.now()));
  }

  async #measure(view: RolloutView): Promise<void> {
    const { record, wave } = view;
    if (wave === null) return;
    const startedAt = performance.now();
    const measuredAt = this.#uses.clock.now();
    const { measured } = await this.#measurer.measure(toMeasuredRollout(view), wave.number);
    if (isWaitingForMeasurement(view) || !isDeepStrictEqual(measured, wave.results.measured))
      await this.#uses.store.transaction((connection) =>
        new RolloutRecords(connection).updateWave(record.id, wave.number, { measured, measuredAt }),
      );
    const duration = performance.now() - startedAt;
    this.#nextMeasurement.set(record.id, performance.now() + Math.max(measurementInterval, duration * measurementBackoff));
  }

  /** Stores the measurement of each device of a wave at its evaluation. */
  async #storeMeasurements(view: RolloutView, wave: number): Promise<void> {
    const { id } = view.record;
    const { devices } = await this.#measurer.measure(toMeasuredRollout(view), wave);
    const measurements = [...devices].map(([deviceId, measured]) => ({ deviceId, measured }));
    for (let first = 0; first < measurements.length; first += measuredBatchSize)
      await this.#uses.store.transaction((connection) =>
        new RolloutRecords(connection).setMeasured(id, measurements.slice(first, first + measuredBatchSize)),
      );
  }

  #forgetAllExcept(open: readonly string[]): void {
    const ids = new Set(open);
    for (const map of [this.#nextCheck, this.#nextMeasurement, this.#nextJoining, this.#waves, this.faults])
      for (const id of map.keys()) if (!ids.has(id)) map.delete(id);
  }
}

function toMeasuredRollout({ record, patchSet }: RolloutView): MeasuredRollout {
  return { id: record.id, modules: modulesOf(record, patchSet) };
}

/** Returns whether a rollout's time has come, and if so schedules the next one after `interval` milliseconds. */
function isDue(times: Map<string, number>, id: string, interval: number): boolean {
  if (performance.now() < (times.get(id) ?? 0)) return false;
  times.set(id, performance.now() + interval);
  return true;
}

function canAddDevices({ record, state }: RolloutView, now: Date): boolean {
  return record.rollbackOf === null && state === 'running' && acceptsDevices(record, now);
}

/** Whether the next step needs a new measurement, even an unchanged one. */
const isWaitingForMeasurement = ({ step }: RolloutView) => step.kind === 'wait' && step.for === 'measurement';

const needsMeasurement = ({ wave }: RolloutView) => wave?.state === 'loading' || wave?.state === 'soaking';
