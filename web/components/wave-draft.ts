// The waves and thresholds of forms, and their conversion into request bodies.

import type { Schemas } from '../../src/client/client.ts';
import type { ThresholdName } from './threshold-text.ts';

/** Maximum waves of a rollout. */
export const maxWaves = 50;
/** Maximum soak time of a wave: seven days. */
export const maxSoakSeconds = 604_800;

/** Thresholds of a wave; null: not evaluated. */
export type Limits = Readonly<Record<ThresholdName, number | null>> & { readonly minimumCalls: number; readonly requireCalls: boolean };

export type WaveDraft = {
  /** Identifies the wave while the form is open. */
  readonly key: number;
  readonly unit: 'devices' | 'percent of all';
  readonly size: number;
  readonly soakSeconds: number;
  readonly approval: boolean;
  /** Null: the thresholds of the rollout. */
  readonly limits: Limits | null;
};

const defaultWave = { soakSeconds: 60, approval: false, limits: null };

/** The service's default waves: one canary device, 10 percent, then all devices. */
export const defaultWaves: readonly WaveDraft[] = [
  { key: 1, unit: 'devices', size: 1, ...defaultWave },
  { key: 2, unit: 'percent of all', size: 10, ...defaultWave },
  { key: 3, unit: 'percent of all', size: 100, ...defaultWave },
];

/** The service's default thresholds. */
export const defaultLimits: Limits = {
  failedLoadsPercent: 0,
  failedCallsPercent: 1,
  abiViolations: 0,
  interruptedAccesses: null,
  latencyIncreasePercent: null,
  minimumCalls: 20,
  requireCalls: false,
};

/** Adds a wave before the last. */
export function addWave(waves: readonly WaveDraft[]): WaveDraft[] {
  const key = Math.max(0, ...waves.map((wave) => wave.key)) + 1;
  return [...waves.slice(0, -1), { key, unit: 'devices', size: 1, ...defaultWave }, ...waves.slice(-1)];
}

/** Returns waves as part of a request body. */
export function wavesBody(waves: readonly WaveDraft[]): Schemas['NewWave'][] {
  return waves.map(({ unit, size, soakSeconds, approval, limits }) => ({
    ...(unit === 'devices' ? { devices: size } : { upToPercent: size }),
    soakSeconds,
    approval,
    ...(limits === null ? {} : { thresholds: limits }),
  }));
}

/** Returns the waves of an assignment for a form. */
export function wavesDraft(waves: readonly Schemas['AssignmentWave'][]): WaveDraft[] {
  return waves.map(({ devices, upToPercent, soakSeconds, approval, thresholds }, index) => ({
    key: index + 1,
    ...(devices === null ? { unit: 'percent of all', size: upToPercent ?? 100 } : { unit: 'devices', size: devices }),
    soakSeconds,
    approval,
    limits: isDefault(thresholds) ? null : thresholds,
  }));
}

function isDefault(limits: Limits): boolean {
  const given = new Map(Object.entries(limits));
  return Object.entries(defaultLimits).every(([name, limit]) => given.get(name) === limit);
}
