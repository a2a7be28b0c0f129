// Computes the next step of a rollout from its stored status alone, so that a rollout resumes after a crash.

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

/** The status of the first wave that has not passed. */
export type WaveStatus = {
  readonly number: number;
  readonly state: WaveState;
  readonly needsApproval: boolean;
  /** Whether its failure is ignored: the wave is not evaluated. */
  readonly isFailureIgnored: boolean;
  readonly soakUntil: Date | null;
  readonly soakSeconds: number;
  /** Time of the last measurement; null if not yet measured. */
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
  /** Null when all waves have passed. */
  readonly wave: WaveStatus | null;
  readonly startAt: Date | null;
  /** Whether an earlier rollout shares devices with this one. */
  readonly isBlocked: boolean;
  readonly isWindowOpen: boolean;
  /** Maximum number of loads in progress. */
  readonly devicesInFlight: number;
  /** Loads in progress. */
  readonly inFlight: number;
  /** Loads that the rate limit allows now. */
  readonly allowance: number;
};

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
  /** The rollout has ended. */
  | { readonly kind: 'none' };

/** Returns the next step. A pure function of the status and the time. */
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
  // A remaining time longer than the soak time was computed while the clock was ahead: the soak begins again.
  if (soakUntil !== null && soakUntil.getTime() - now.getTime() > soakSeconds * 1_000 + clockSettings.tolerance)
    return { kind: 'begin-soak', wave: number };
  if (soakUntil !== null && soakUntil > now) return { kind: 'wait', for: 'soak' };
  // The evaluation needs a measurement from after the soak time.
  const isMeasured = measuredAt !== null && measuredAt <= now && (soakUntil === null || measuredAt >= soakUntil);
  if (!isMeasured) return { kind: 'wait', for: 'measurement' };
  const shortfall = isFailureIgnored ? null : describeShortfall(thresholds, results);
  return shortfall === null ? { kind: 'pass-wave', wave: number } : { kind: 'fail-wave', wave: number, failure: shortfall };
}
