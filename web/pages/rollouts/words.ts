// Rollouts in words: what each state means for who looks at it, what one waits for, and what its waves are judged by.

import type { Schemas } from '../../../src/client/client.ts';
import type { Tone } from '../../parts/badge.tsx';
import { counted } from '../../parts/numbers.ts';

export type Rollout = Schemas['Rollout'];
export type Wave = Schemas['Wave'];
export type ThresholdName = Schemas['Verdict']['threshold'];

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

export const thresholdTexts = {
  failedLoadsPercent: 'Loads without success',
  interruptedAccesses: 'Accesses interrupted on a device',
  failedCallsPercent: 'More calls that fail than before',
  abiViolations: 'Programs that hold on to code that has gone',
  latencyIncreasePercent: 'Longer p99 latency than before',
} as const satisfies Record<ThresholdName, string>;

const units = {
  failedLoadsPercent: '%',
  interruptedAccesses: '',
  failedCallsPercent: '% more',
  abiViolations: '',
  latencyIncreasePercent: '%',
} as const satisfies Record<ThresholdName, string>;

/** Returns a measured value or its limit with its unit. The service has rounded what it measured; a limit is shown as it was written. */
export const amountText = (threshold: ThresholdName, amount: number) => `${amount}${units[threshold]}`;

/** What it loads; a rollback has no one version. */
const buildText = ({ module, version }: Pick<Rollout, 'module' | 'version'>) => (version === null ? module : `${module}@${version}`);

/** What people call it; a rollback has the name of what it takes back. */
export function nameOf(rollout: Pick<Rollout, 'name' | 'module' | 'version' | 'rollbackOf'>): string {
  const name = rollout.name ?? buildText(rollout);
  return rollout.rollbackOf === null ? name : `Rollback of ${name}`;
}

/** What a rollout waits for; null where it has ended, or is taking its next step. @param time Writes a time. */
export function waitText(rollout: Rollout, time: (at: string) => string): string | null {
  const { waitingFor, wave, waves, startAt, windowOpensAt, rollbackOf, acceptsDevicesUntil } = rollout;
  switch (waitingFor) {
    case null:
      return null;
    case 'start-time':
      return `its start${startAt === null ? '' : ` at ${time(startAt)}`}`;
    case 'earlier-rollouts':
      return 'earlier rollouts of the module that have some of its devices';
    case 'approval':
      return `the approval of wave ${wave}`;
    case 'operator':
      return waves.some(({ state }) => state === 'failed')
        ? 'an operator: to roll it back, to try the failed loads again, to abort it, or to resume it in spite of the failure'
        : 'an operator, to resume it';
    case 'window':
      return `its window, which opens ${windowOpensAt === null ? 'on no day that is near' : `at ${time(windowOpensAt)}`}`;
    case 'rate':
      return 'its rate of loads';
    case 'loads':
      return 'loads that are under way';
    case 'soak': {
      const until = waves.find(({ number }) => number === wave)?.soakUntil ?? null;
      return `the end of the soak time${until === null ? '' : ` at ${time(until)}`}`;
    }
    case 'measurement':
      return 'the last measurement of the wave';
    case 'devices':
      if (rollbackOf !== null) return 'what is still to come of the rollout that it takes back';
      return `devices that join it${acceptsDevicesUntil === null ? '' : ` until ${time(acceptsDevicesUntil)}`}`;
    case 'rollback':
      return 'its devices to be taken back';
  }
}

type Pace = Pick<Rollout, 'devicesInFlight' | 'loadsPerMinute' | 'startAt' | 'window'>;

/** How many loads there are, and when. @param time Writes a time. */
export function paceText({ devicesInFlight, loadsPerMinute, startAt, window }: Pace, time: (at: string) => string): string {
  return [
    `${devicesInFlight} at once`,
    ...(loadsPerMinute === null ? [] : [`${loadsPerMinute} a minute`]),
    ...(startAt === null ? [] : [`from ${time(startAt)} on`]),
    ...(window === null ? [] : [`${window.days.join(', ')} ${window.from}–${window.until} ${window.timeZone}`]),
  ].join(', ');
}

/** Which devices were asked for. */
export function selectorText({ selector: { devices, labels, runningVersion }, acceptsDevices, rollbackOf }: Rollout): string {
  if (rollbackOf !== null) return 'those that have got the build by the rollout that it takes back';
  const parts = [
    ...(devices === null ? [] : [`${counted(devices, 'device')} by name`]),
    ...(labels === null ? [] : Object.entries(labels).map(([key, value]) => `${key}=${value}`)),
    ...(runningVersion === null ? [] : [`those that run ${runningVersion}`]),
    ...(acceptsDevices ? ['also those that match later'] : []),
  ];
  return parts.join(', ');
}
