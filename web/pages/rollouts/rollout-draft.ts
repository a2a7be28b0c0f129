// A rollout as it is being written down in the form, and as a request has it.

import type { Schemas } from '../../../src/cli/client/client.ts';
import { type Precedence, precedenceBody, type Terms, termsBody, usualPrecedence, usualTerms } from '../../parts/terms.tsx';
import type { ThresholdName } from './words.ts';

/** Waves of one rollout. */
export const waveLimit = 50;
/** Seconds that a wave may be watched: seven days. */
export const longestSoak = 604_800;

export type WaveDraft = {
  /** Tells it from the others, for as long as the form is there. */
  readonly key: number;
  readonly unit: 'devices' | 'percent of all';
  readonly size: number;
  readonly soakSeconds: number;
  readonly approval: boolean;
};

export type Draft = {
  readonly module: string;
  readonly version: string;
  readonly name: string;
  /** As `zone=north, tier=edge`. */
  readonly labels: string;
  readonly runningVersion: string;
  readonly waves: readonly WaveDraft[];
  /** Null: it is not judged by that. */
  readonly thresholds: Readonly<Record<ThresholdName, number | null>>;
  readonly minimumCalls: number;
  readonly onFailure: Schemas['OnFailure'];
  readonly devicesInFlight: number;
  readonly whenBusy: 'refuse' | 'queue';
  readonly terms: Terms;
  readonly precedence: Precedence;
};

/** As the service has it where nothing else is said: a canary, a tenth, and the rest. */
export function usualDraft(module: string, version: string): Draft {
  const soaked = { soakSeconds: 60, approval: false };
  return {
    module,
    version,
    name: '',
    labels: '',
    runningVersion: '',
    waves: [
      { key: 1, unit: 'devices', size: 1, ...soaked },
      { key: 2, unit: 'percent of all', size: 10, ...soaked },
      { key: 3, unit: 'percent of all', size: 100, ...soaked },
    ],
    thresholds: {
      failedLoadsPercent: 0,
      failedCallsPercent: 1,
      abiViolations: 0,
      interruptedAccesses: null,
      latencyIncreasePercent: null,
    },
    minimumCalls: 20,
    onFailure: 'pause',
    devicesInFlight: 100,
    whenBusy: 'refuse',
    terms: usualTerms,
    precedence: usualPrecedence,
  };
}

/** A wave more, before the last. */
export function withWave(waves: readonly WaveDraft[]): WaveDraft[] {
  const key = Math.max(0, ...waves.map((wave) => wave.key)) + 1;
  return [...waves.slice(0, -1), { key, unit: 'devices', size: 1, soakSeconds: 60, approval: false }, ...waves.slice(-1)];
}

/** The labels of a text like `zone=north, tier=edge`; null where it is none. */
export function labelsIn(text: string): Record<string, string> | null {
  const parts = text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
  const pairs = parts.map((part) => /^([^=\s]+)=(\S*)$/.exec(part));
  if (pairs.includes(null)) return null;
  return Object.fromEntries(pairs.flatMap((pair) => (pair === null ? [] : [[pair[1] ?? '', pair[2] ?? '']])));
}

export function bodyOf(draft: Draft): Omit<Schemas['NewRollout'], 'dryRun'> {
  const { module, version, name, labels, runningVersion, waves, thresholds, minimumCalls, onFailure, devicesInFlight, whenBusy } = draft;
  const chosen = labelsIn(labels) ?? {};
  return {
    module,
    version,
    ...(name.trim() === '' ? {} : { name: name.trim() }),
    ...(Object.keys(chosen).length === 0 ? {} : { labels: chosen }),
    ...(runningVersion.trim() === '' ? {} : { runningVersion: runningVersion.trim() }),
    waves: waves.map(({ unit, size, soakSeconds, approval }) => ({
      ...(unit === 'devices' ? { devices: size } : { upToPercent: size }),
      soakSeconds,
      approval,
    })),
    thresholds: { ...thresholds, minimumCalls },
    onFailure,
    devicesInFlight,
    whenBusy,
    ...termsBody(draft.terms),
    ...precedenceBody(draft.precedence),
  };
}
