// Texts and colours of rollouts: states, thresholds, waiting reasons, schedule and selector.

import type { Schemas } from '../../../src/client/client.ts';
import type { Tone } from '../../components/badge.tsx';
import { counted } from '../../components/numbers.ts';
import type { ThresholdName } from '../../components/threshold-text.ts';
import { windowText } from '../../components/window-fields.tsx';

export type Rollout = Schemas['Rollout'];
export type Wave = Schemas['Wave'];

export const stateTones = {
  pending: 'plain',
  running: 'warn',
  'awaiting-approval': 'warn',
  paused: 'bad',
  'rolling-back': 'bad',
  completed: 'good',
  aborted: 'bad',
  'rolled-back': 'bad',
} as const satisfies Record<Rollout['state'], Tone>;

export const waveTones = {
  waiting: 'plain',
  'awaiting-approval': 'warn',
  loading: 'warn',
  soaking: 'warn',
  failed: 'bad',
  passed: 'good',
} as const satisfies Record<Wave['state'], Tone>;

export const deviceTones = {
  waiting: 'plain',
  loading: 'warn',
  loaded: 'good',
  failed: 'bad',
  skipped: 'plain',
} as const satisfies Record<Schemas['RolloutDeviceState'], Tone>;

const units = {
  failedLoadsPercent: '%',
  interruptedAccesses: '',
  failedCallsPercent: ' percentage points',
  abiViolations: '',
  latencyIncreasePercent: '%',
} as const satisfies Record<ThresholdName, string>;

/** Returns a measured value or a limit with its unit. The service rounds measured values; limits are shown as entered. */
export const amountText = (threshold: ThresholdName, amount: number) => `${amount}${units[threshold]}`;

/** Returns what a rollout waits for; null if it has ended or is executing a step. @param time Formats a time. */
export function waitingForText(rollout: Rollout, time: (at: string) => string): string | null {
  const { waitingFor, wave, waves, startAt, windowOpensAt, rollbackOf, acceptsDevicesUntil } = rollout;
  switch (waitingFor) {
    case null:
      return null;
    case 'start-time':
      return `the start time${startAt === null ? '' : ` at ${time(startAt)}`}`;
    case 'earlier-rollouts':
      return 'earlier rollouts of the same modules with the same devices';
    case 'approval':
      return `approval of wave ${wave}`;
    case 'operator':
      return waves.some(({ state }) => state === 'failed')
        ? 'an operator to roll back, retry the failed loads, abort, or resume despite the failure'
        : 'an operator to resume the rollout';
    case 'window':
      return `the weekly window${windowOpensAt === null ? '' : `, which opens at ${time(windowOpensAt)}`}`;
    case 'rate':
      return 'the load rate limit';
    case 'loads':
      return 'running loads';
    case 'soak': {
      const until = waves.find(({ number }) => number === wave)?.soakUntil ?? null;
      return `the end of the soak time${until === null ? '' : ` at ${time(until)}`}`;
    }
    case 'measurement':
      return 'the final measurement of the wave';
    case 'devices':
      if (rollbackOf !== null) return 'running loads of the rollout that it rolls back';
      return `more devices${acceptsDevicesUntil === null ? '' : ` until ${time(acceptsDevicesUntil)}`}`;
    case 'rollback':
      return 'the rollback of its devices';
  }
}

type Schedule = Pick<Rollout, 'devicesInFlight' | 'loadsPerMinute' | 'startAt' | 'window'>;

/** Summarizes the load rate and schedule. @param time Formats a time. */
export function scheduleText({ devicesInFlight, loadsPerMinute, startAt, window }: Schedule, time: (at: string) => string): string {
  return [
    `${devicesInFlight} concurrent`,
    ...(loadsPerMinute === null ? [] : [`${loadsPerMinute} per minute`]),
    ...(startAt === null ? [] : [`from ${time(startAt)}`]),
    ...(window === null ? [] : [windowText(window)]),
  ].join(', ');
}

/** Describes the device selector. */
export function selectorText({
  selector: { devices, labels, selector, group, runningVersion },
  acceptsDevices,
  patchSet,
  rollbackOf,
}: Rollout): string {
  if (rollbackOf !== null) return `devices that got the ${patchSet === null ? 'build' : 'patch set'} from the rolled-back rollout`;
  const parts = [
    ...(devices === null ? [] : [`${counted(devices, 'device')} by name`]),
    ...(labels === null ? [] : Object.entries(labels).map(([key, value]) => `${key}=${value}`)),
    ...(selector === null ? [] : [selector]),
    ...(group === null ? [] : [`group ${group.name} (${group.selector})`]),
    ...(runningVersion === null ? [] : [`running ${runningVersion}`]),
    ...(acceptsDevices ? ['devices that match later'] : []),
  ];
  return parts.join(', ');
}
