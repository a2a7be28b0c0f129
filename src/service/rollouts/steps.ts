// What a rollout does next: one decision from how it stands, so that whoever takes it up after a crash goes on as if nothing had been.

import { clockSettings } from '../clock/service-clock.ts';
import type { Thresholds } from './plan.ts';
import { describeFailure, describeShortfall, type WaveResults } from './threshold-evaluation.ts';

export const rolloutStates = [
  'pending',
  'running',
  'awaiting-approval',
  'paused',
  'rolling-back',
  'completed',
  'aborted',
  'rolled-back',
] as const;
export type RolloutState = (typeof rolloutStates)[number];
export const rolloutDeviceStates = ['waiting', 'loading', 'loaded', 'failed', 'skipped'] as const;
export type RolloutDeviceState = (typeof rolloutDeviceStates)[number];
export const waveStates = ['waiting', 'awaiting-approval', 'loading', 'soaking', 'failed', 'passed'] as const;
export type WaveState = (typeof waveStates)[number];

/** How the first wave that has not passed stands. */
export type WaveStatus = {
  readonly number: number;
  readonly state: WaveState;
  readonly needsApproval: boolean;
  /** Whether it is not judged any more. */
  readonly isFailureIgnored: boolean;
  readonly soakUntil: Date | null;
  /** How long it soaks, in seconds. */
  readonly soakSeconds: number;
  /** What its results are as of; null: nothing was measured yet. */
  readonly measuredAt: Date | null;
  readonly thresholds: Thresholds;
  readonly waiting: number;
  readonly loading: number;
  /** Whether devices may still join it. */
  readonly acceptsDevices: boolean;
  readonly results: WaveResults;
};

export type RolloutStatus = {
  readonly state: RolloutState;
  /** Null: all have passed. */
  readonly wave: WaveStatus | null;
  readonly startAt: Date | null;
  /** Whether an earlier rollout has some of its devices. */
  readonly isBlocked: boolean;
  readonly isWindowOpen: boolean;
  /** Loads that may be under way at once, and that are. */
  readonly devicesInFlight: number;
  readonly inFlight: number;
  /** Loads that its rate lets it request now. */
  readonly allowance: number;
};

/** What a rollout waits for. */
export const waitingReasons = [
  'start-time',
  'earlier-rollouts',
  'approval',
  'operator',
  'window',
  'rate',
  'loads',
  'soak',
  'measurement',
  'devices',
  'rollback',
] as const;
export type WaitingFor = (typeof waitingReasons)[number];

export type Step =
  | { readonly kind: 'wait'; readonly for: WaitingFor }
  | { readonly kind: 'start' | 'complete' }
  | { readonly kind: 'ask-approval' | 'begin-wave' | 'begin-soak' | 'pass-wave'; readonly wave: number }
  | { readonly kind: 'request-loads'; readonly wave: number; readonly count: number }
  | { readonly kind: 'fail-wave'; readonly wave: number; readonly failure: string }
  /** There is nothing to be done any more. */
  | { readonly kind: 'none' };

/** The next step; the same for as long as nothing else happens and no time passes. */
export function nextStep(standing: RolloutStatus, now: Date): Step {
  switch (standing.state) {
    case 'completed':
    case 'aborted':
    case 'rolled-back':
      return { kind: 'none' };
    case 'rolling-back':
      return { kind: 'wait', for: 'rollback' };
    case 'paused':
      return { kind: 'wait', for: 'operator' };
    case 'pending':
      if (standing.startAt !== null && standing.startAt > now) return { kind: 'wait', for: 'start-time' };
      return standing.isBlocked ? { kind: 'wait', for: 'earlier-rollouts' } : { kind: 'start' };
    case 'running':
    case 'awaiting-approval':
      return standing.wave === null ? { kind: 'complete' } : nextWaveStep(standing, standing.wave, now);
  }
}

function nextWaveStep(standing: RolloutStatus, wave: WaveStatus, now: Date): Step {
  const { number, state, results } = wave;
  switch (state) {
    case 'waiting':
      if (wave.needsApproval && results.devices > 0) return { kind: 'ask-approval', wave: number };
      return standing.isWindowOpen ? { kind: 'begin-wave', wave: number } : { kind: 'wait', for: 'window' };
    case 'awaiting-approval':
      return { kind: 'wait', for: 'approval' };
    case 'failed':
      return { kind: 'wait', for: 'operator' };
    case 'loading':
      return failIfDue(wave) ?? nextLoadingStep(standing, wave);
    case 'soaking':
      return failIfDue(wave) ?? nextSoakingStep(wave, now);
    case 'passed':
      return { kind: 'none' };
  }
}

function failIfDue({ number, isFailureIgnored, thresholds, results }: WaveStatus): Step | null {
  const failure = isFailureIgnored ? null : describeFailure(thresholds, results);
  return failure === null ? null : { kind: 'fail-wave', wave: number, failure };
}

function nextLoadingStep({ isWindowOpen, devicesInFlight, inFlight, allowance }: RolloutStatus, wave: WaveStatus): Step {
  const { number, waiting, loading, acceptsDevices } = wave;
  if (waiting > 0) {
    if (!isWindowOpen) return { kind: 'wait', for: 'window' };
    if (inFlight >= devicesInFlight) return { kind: 'wait', for: 'loads' };
    if (allowance < 1) return { kind: 'wait', for: 'rate' };
    return { kind: 'request-loads', wave: number, count: Math.min(waiting, devicesInFlight - inFlight, allowance) };
  }
  if (loading > 0) return { kind: 'wait', for: 'loads' };
  return acceptsDevices ? { kind: 'wait', for: 'devices' } : { kind: 'begin-soak', wave: number };
}

function nextSoakingStep(wave: WaveStatus, now: Date): Step {
  const { number, isFailureIgnored, soakUntil, soakSeconds, measuredAt, thresholds, results } = wave;
  // No wave has longer to soak than it was given: the clock was ahead when it began, and it begins again.
  if (soakUntil !== null && soakUntil.getTime() - now.getTime() > soakSeconds * 1_000 + clockSettings.tolerance)
    return { kind: 'begin-soak', wave: number };
  if (soakUntil !== null && soakUntil > now) return { kind: 'wait', for: 'soak' };
  // It is judged by what its devices have done in all of its time.
  const isMeasured = measuredAt !== null && measuredAt <= now && (soakUntil === null || measuredAt >= soakUntil);
  if (!isMeasured) return { kind: 'wait', for: 'measurement' };
  const shortfall = isFailureIgnored ? null : describeShortfall(thresholds, results);
  return shortfall === null ? { kind: 'pass-wave', wave: number } : { kind: 'fail-wave', wave: number, failure: shortfall };
}
