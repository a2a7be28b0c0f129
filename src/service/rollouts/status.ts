// The status of a rollout, read from the database: its plan, its waves, and the progress of their devices.

import type { Connection } from '../database/connection.ts';
import { RowError } from '../database/damaged-rows.ts';
import { isOpen } from '../groups/schedule-window.ts';
import type { PatchSetRecord } from '../patch-sets/repository.ts';
import { readPatchSet } from './content.ts';
import { acceptsDevices } from './dynamic-membership.ts';
import { loadAllowance } from './load-rate.ts';
import { Measurement, noMeasurement } from './measurement.ts';
import { RolloutPlan, type WavePlan } from './plan.ts';
import type { DeviceCount, RolloutRecord, RolloutWaveRecord } from './repository.ts';
import { RolloutRecords } from './repository.ts';
import {
  nextStep,
  type RolloutDeviceState,
  type RolloutState,
  type RolloutStatus,
  rolloutStates,
  type Step,
  type WaveState,
  waveStates,
} from './steps.ts';
import { evaluateThresholds, type Verdict, type WaveResults } from './threshold-evaluation.ts';

/** The number of devices of a wave or rollout in each state. */
type Tally = Readonly<Record<RolloutDeviceState, number>>;

export type WaveView = {
  readonly number: number;
  readonly state: WaveState;
  readonly plan: WavePlan;
  readonly record: RolloutWaveRecord;
  readonly deviceCounts: Tally;
  readonly results: WaveResults;
  readonly verdicts: readonly Verdict[];
};

/** A rollout without its individual devices. */
export type RolloutView = {
  /** When it was read. */
  readonly at: Date;
  readonly record: RolloutRecord;
  /** Null if the rollout loads a build. */
  readonly patchSet: PatchSetRecord | null;
  readonly state: RolloutState;
  readonly plan: RolloutPlan;
  readonly waves: readonly WaveView[];
  /** The current or next wave; null when all waves have passed. */
  readonly wave: WaveView | null;
  readonly deviceCounts: Tally;
  /** The next step. */
  readonly step: Step;
  /** Identifier of the rollout that rolls this one back; null if there is none. */
  readonly rolledBackBy: string | null;
};

const noDevices: Tally = { waiting: 0, loading: 0, loaded: 0, failed: 0, skipped: 0 };
const isTallyState = (state: string): state is keyof Tally => Object.hasOwn(noDevices, state);

/** Reads the waves and device counts of a rollout and computes its next step. */
export async function readView(connection: Connection, record: RolloutRecord, now: Date): Promise<RolloutView> {
  const plan = RolloutPlan.parse(record.plan);
  const counts = await new RolloutRecords(connection).countDevices(record.id);
  const waves = (await new RolloutRecords(connection).waves(record.id)).map((wave) => toWaveView(wave, plan, counts));
  const rollback = await new RolloutRecords(connection).findRollbackOf(record.id);
  const view = {
    at: now,
    record,
    patchSet: await readPatchSet(connection, record),
    state: parseState(record.state),
    plan,
    waves,
    wave: waves.find(({ state }) => state !== 'passed') ?? null,
    deviceCounts: toTally(counts),
    rolledBackBy: rollback?.id ?? null,
  };
  const isBlocked = record.state === 'pending' && (await new RolloutRecords(connection).conflicts(record, 'earlier')).length > 0;
  return { ...view, step: nextStep(statusOf(view, isBlocked, now), now) };
}

/** Returns the status from which the next step is computed. */
function statusOf(view: Omit<RolloutView, 'step'>, isBlocked: boolean, now: Date): RolloutStatus {
  const { record, plan, wave } = view;
  const last = view.waves.at(-1);
  return {
    state: view.state,
    wave: wave && {
      number: wave.number,
      state: wave.state,
      needsApproval: wave.plan.approval && wave.record.approvedBy === null,
      isFailureIgnored: wave.record.failureIgnored,
      soakUntil: wave.record.soakUntil,
      soakSeconds: wave.plan.soakSeconds,
      measuredAt: wave.record.measuredAt,
      thresholds: wave.plan.thresholds,
      waiting: wave.deviceCounts.waiting,
      loading: wave.deviceCounts.loading,
      acceptsDevices: wave.number === last?.number && acceptsDevices(record, now),
      results: wave.results,
    },
    startAt: plan.startAt === null ? null : new Date(plan.startAt),
    isBlocked,
    isWindowOpen: plan.window === null || isOpen(plan.window, now),
    devicesInFlight: plan.devicesInFlight,
    inFlight: view.deviceCounts.loading,
    allowance: loadAllowance(plan.loadsPerMinute, record.nextLoadAt, now),
  };
}

function toWaveView(record: RolloutWaveRecord, { waves }: RolloutPlan, counts: readonly DeviceCount[]): WaveView {
  const plan = waves[record.number - 1];
  const state = waveStates.find((known) => known === record.state);
  if (plan === undefined || state === undefined)
    throw new RowError(`wave ${record.number} of rollout ${record.rolloutId} does not match its plan`);
  const own = counts.filter(({ wave }) => wave === record.number);
  const deviceCounts = toTally(own);
  const { waiting, loading, loaded, failed } = deviceCounts;
  const results: WaveResults = {
    devices: waiting + loading + loaded + failed,
    loaded,
    failedLoads: failed,
    interruptedAccesses: own.reduce((total, { interrupted }) => total + interrupted, 0),
    measured: record.measured === null ? noMeasurement : Measurement.parse(record.measured),
  };
  return { number: record.number, state, plan, record, deviceCounts, results, verdicts: evaluateThresholds(plan.thresholds, results) };
}

function toTally(counts: readonly DeviceCount[]): Tally {
  const deviceCounts = { ...noDevices };
  for (const { state, devices } of counts) if (isTallyState(state)) deviceCounts[state] += devices;
  return deviceCounts;
}

function parseState(text: string): RolloutState {
  const state = rolloutStates.find((known) => known === text);
  if (state === undefined) throw new RowError(`unknown rollout state "${text}"`);
  return state;
}
