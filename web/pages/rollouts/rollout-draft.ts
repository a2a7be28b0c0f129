// A rollout as it is being written down in the form, and as a request has it.

import type { Schemas } from '../../../src/client/client.ts';
import { type Precedence, precedenceBody, type Terms, termsBody, usualPrecedence, usualTerms } from '../../parts/terms.tsx';
import type { ThresholdName } from './words.ts';

/** Waves of one rollout. */
export const waveLimit = 50;
/** Seconds that a wave may be watched: seven days. */
export const longestSoak = 604_800;
/** Seconds that a load, or the way back, may take: 30 days. */
export const longestDeadline = 2_592_000;
/** Devices that are named one by one here; a request may name more. */
export const namedLimit = 500;

/** What a wave is judged by. Null: not by that. */
export type Limits = Readonly<Record<ThresholdName, number | null>> & { readonly minimumCalls: number; readonly requireCalls: boolean };

export type WaveDraft = {
  /** Tells it from the others, for as long as the form is there. */
  readonly key: number;
  readonly unit: 'devices' | 'percent of all';
  readonly size: number;
  readonly soakSeconds: number;
  readonly approval: boolean;
  /** Null: it is judged as the others are. */
  readonly limits: Limits | null;
};

export const selections = ['labels and versions', 'name'] as const;
export type NamedDevice = { readonly id: string; readonly name: string };
export type ScheduleWindow = Schemas['ScheduleWindow'];

export type Draft = {
  readonly module: string;
  readonly version: string;
  readonly name: string;
  readonly selectedBy: (typeof selections)[number];
  /** Where they are selected by name: these, in this order. */
  readonly devices: readonly NamedDevice[];
  /** Where they are not: as `zone=north, tier=edge`. */
  readonly labels: string;
  readonly runningVersion: string;
  /** Whether devices that match later join it, and until when; empty: until somebody closes it. */
  readonly acceptsDevices: boolean;
  readonly acceptsDevicesUntil: string;
  readonly onConflict: 'reject' | 'queue';
  readonly waves: readonly WaveDraft[];
  readonly limits: Limits;
  readonly onFailure: Schemas['OnFailure'];
  readonly rollbackDeadlineSeconds: number;
  /** Empty: at once. */
  readonly startAt: string;
  /** Null: at any time. */
  readonly window: ScheduleWindow | null;
  readonly devicesInFlight: number;
  /** Null: as fast as devices take them. */
  readonly loadsPerMinute: number | null;
  readonly terms: Terms;
  readonly precedence: Precedence;
  readonly deadlineSeconds: number;
  readonly supersede: boolean;
};

const usualWave = { soakSeconds: 60, approval: false, limits: null };

/** As the service has it where nothing else is said: a canary, a tenth, and the rest. */
export function usualDraft(module: string, version: string): Draft {
  return {
    module,
    version,
    name: '',
    selectedBy: 'labels and versions',
    devices: [],
    labels: '',
    runningVersion: '',
    acceptsDevices: false,
    acceptsDevicesUntil: '',
    onConflict: 'reject',
    waves: [
      { key: 1, unit: 'devices', size: 1, ...usualWave },
      { key: 2, unit: 'percent of all', size: 10, ...usualWave },
      { key: 3, unit: 'percent of all', size: 100, ...usualWave },
    ],
    limits: {
      failedLoadsPercent: 0,
      failedCallsPercent: 1,
      abiViolations: 0,
      interruptedAccesses: null,
      latencyIncreasePercent: null,
      minimumCalls: 20,
      requireCalls: false,
    },
    onFailure: 'pause',
    rollbackDeadlineSeconds: 86_400,
    startAt: '',
    window: null,
    devicesInFlight: 100,
    loadsPerMinute: null,
    terms: usualTerms,
    precedence: usualPrecedence,
    deadlineSeconds: 600,
    supersede: false,
  };
}

/** Nights, by the clock of who writes it down. */
export function usualWindow(): ScheduleWindow {
  const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
  return { days: ['monday', 'tuesday', 'wednesday', 'thursday', 'friday'], from: '22:00', until: '04:00', timeZone };
}

/** A wave more, before the last. */
export function withWave(waves: readonly WaveDraft[]): WaveDraft[] {
  const key = Math.max(0, ...waves.map((wave) => wave.key)) + 1;
  return [...waves.slice(0, -1), { key, unit: 'devices', size: 1, ...usualWave }, ...waves.slice(-1)];
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

/** Whether it says which devices. */
export function isSelecting({ selectedBy, devices, labels, runningVersion }: Draft): boolean {
  if (selectedBy === 'name') return devices.length > 0;
  return labelsIn(labels) !== null && (labels.trim() !== '' || runningVersion.trim() !== '');
}

export function bodyOf(draft: Draft): Omit<Schemas['NewRollout'], 'dryRun'> {
  const { module, version, name, waves, limits, onFailure, devicesInFlight, onConflict, startAt, window, loadsPerMinute } = draft;
  const { deadlineSeconds, rollbackDeadlineSeconds, supersede } = draft;
  return {
    module,
    version,
    ...(name.trim() === '' ? {} : { name: name.trim() }),
    ...selectionOf(draft),
    waves: waves.map(({ unit, size, soakSeconds, approval, limits: own }) => ({
      ...(unit === 'devices' ? { devices: size } : { upToPercent: size }),
      soakSeconds,
      approval,
      ...(own === null ? {} : { thresholds: own }),
    })),
    thresholds: limits,
    onFailure,
    rollbackDeadlineSeconds,
    ...(startAt === '' ? {} : { startAt }),
    ...(window === null ? {} : { window }),
    devicesInFlight,
    ...(loadsPerMinute === null ? {} : { loadsPerMinute }),
    onConflict,
    ...termsBody(draft.terms),
    ...precedenceBody(draft.precedence),
    deadlineSeconds,
    supersede,
  };
}

function selectionOf({ selectedBy, devices, labels, runningVersion, acceptsDevices, acceptsDevicesUntil }: Draft) {
  const chosen = labelsIn(labels) ?? {};
  const running = runningVersion.trim() === '' ? {} : { runningVersion: runningVersion.trim() };
  if (selectedBy === 'name') return { devices: devices.map(({ id }) => id), ...running };
  return {
    ...(Object.keys(chosen).length === 0 ? {} : { labels: chosen }),
    ...running,
    ...(acceptsDevices ? { dynamic: true, ...(acceptsDevicesUntil === '' ? {} : { dynamicUntil: acceptsDevicesUntil }) } : {}),
  };
}
