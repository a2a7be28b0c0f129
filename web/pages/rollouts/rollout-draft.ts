// The state of the rollout form, and its conversion into a request body.

import type { Schemas } from '../../../src/client/client.ts';
import { selectorFault } from '../../components/label-selector.ts';
import {
  defaultLoadOptions,
  defaultVersionPolicy,
  type LoadOptions,
  loadOptionsBody,
  type VersionPolicy,
  versionPolicyBody,
} from '../../components/load-options.tsx';
import { defaultLimits, defaultWaves, type Limits, type WaveDraft, wavesBody } from '../../components/wave-draft.ts';
import type { ScheduleWindow } from '../../components/window-fields.tsx';

/** Maximum devices selected individually here; a request may name more. */
export const maxNamedDevices = 500;

export const selections = ['labels and versions', 'name'] as const;
export type NamedDevice = { readonly id: string; readonly name: string };

export type Draft = {
  /** Name of the module or of the patch set. */
  readonly module: string;
  readonly version: string;
  readonly isPatchSet: boolean;
  readonly name: string;
  readonly selectedBy: (typeof selections)[number];
  /** The devices selected by name, in order. */
  readonly devices: readonly NamedDevice[];
  /** A label selector, such as `zone in (north,south),!beta`; empty: none. */
  readonly selector: string;
  /** The name of a group; empty: none. */
  readonly group: string;
  readonly runningVersion: string;
  /** Whether devices that match later join, and until when; empty: until the rollout is closed. */
  readonly acceptsDevices: boolean;
  readonly acceptsDevicesUntil: string;
  readonly onConflict: 'reject' | 'queue';
  readonly unreachable: Schemas['UnreachableChoice'];
  readonly waves: readonly WaveDraft[];
  readonly limits: Limits;
  readonly onFailure: Schemas['OnFailure'];
  readonly rollbackDeadlineSeconds: number;
  /** Empty: immediately. */
  readonly startAt: string;
  /** Null: at any time. */
  readonly window: ScheduleWindow | null;
  readonly devicesInFlight: number;
  /** Null: unlimited. */
  readonly loadsPerMinute: number | null;
  readonly terms: LoadOptions;
  readonly precedence: VersionPolicy;
  readonly supersede: boolean;
};

/** Returns the service's defaults: one canary device, 10 percent, then all devices. */
export function defaultDraft(module: string, version: string, isPatchSet = false): Draft {
  return {
    module,
    version,
    isPatchSet,
    name: '',
    selectedBy: 'labels and versions',
    devices: [],
    selector: '',
    group: '',
    runningVersion: '',
    acceptsDevices: false,
    acceptsDevicesUntil: '',
    onConflict: 'reject',
    unreachable: 'wait',
    waves: defaultWaves,
    limits: defaultLimits,
    onFailure: 'pause',
    rollbackDeadlineSeconds: 86_400,
    startAt: '',
    window: null,
    devicesInFlight: 100,
    loadsPerMinute: null,
    terms: { ...defaultLoadOptions, deadlineSeconds: 600 },
    precedence: defaultVersionPolicy,
    supersede: false,
  };
}

/** Whether the draft selects devices. */
export function hasSelector({ selectedBy, devices, selector, group, runningVersion }: Draft): boolean {
  if (selectedBy === 'name') return devices.length > 0;
  return selector.trim() === '' ? runningVersion.trim() !== '' || group.trim() !== '' : selectorFault(selector) === null;
}

export function requestBody(draft: Draft): Omit<Schemas['NewRollout'], 'dryRun'> {
  const { module, version, isPatchSet, name, waves, limits, onFailure, devicesInFlight, onConflict, startAt, window, loadsPerMinute } =
    draft;
  const { rollbackDeadlineSeconds, supersede } = draft;
  return {
    ...(isPatchSet ? { patchSet: { name: module, version } } : { module, version }),
    ...(name.trim() === '' ? {} : { name: name.trim() }),
    ...selectorBody(draft),
    waves: wavesBody(waves),
    thresholds: limits,
    onFailure,
    rollbackDeadlineSeconds,
    ...(startAt === '' ? {} : { startAt }),
    ...(window === null ? {} : { window }),
    devicesInFlight,
    ...(loadsPerMinute === null ? {} : { loadsPerMinute }),
    onConflict,
    unreachable: draft.unreachable,
    ...loadOptionsBody(draft.terms),
    ...versionPolicyBody(draft.precedence),
    supersede,
  };
}

function selectorBody({ selectedBy, devices, selector, group, runningVersion, acceptsDevices, acceptsDevicesUntil }: Draft) {
  const running = runningVersion.trim() === '' ? {} : { runningVersion: runningVersion.trim() };
  if (selectedBy === 'name') return { devices: devices.map(({ id }) => id), ...running };
  return {
    ...(selector.trim() === '' ? {} : { selector: selector.trim() }),
    ...(group.trim() === '' ? {} : { group: group.trim() }),
    ...running,
    ...(acceptsDevices ? { dynamic: true, ...(acceptsDevicesUntil === '' ? {} : { dynamicUntil: acceptsDevicesUntil }) } : {}),
  };
}
