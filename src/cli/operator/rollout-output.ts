// Formats rollouts for people.

import type { Schemas } from '../../client/client.ts';
import { colour } from '../terminal/colours.ts';
import { formatDeviceCount } from '../terminal/device-count.ts';
import { formatLabels } from '../terminal/labels.ts';
import { formatTable } from '../terminal/table.ts';
import { formatTime } from '../terminal/times.ts';
import { formatPolicy } from './load-options.ts';
import { formatUnreachableDevices } from './unreachable-choice.ts';

type Rollout = Schemas['Rollout'];
type Wave = Schemas['Wave'];

const stateColours = {
  pending: 'cyan',
  running: 'cyan',
  'awaiting-approval': 'yellow',
  paused: 'red',
  'rolling-back': 'red',
  completed: 'green',
  aborted: 'red',
  'rolled-back': 'red',
} as const satisfies Record<Rollout['state'], string>;

/** Returns the state in its colour. */
export const colourRolloutState = (state: Rollout['state']) => colour(stateColours[state], state);

/** Returns the build or patch set of a rollout, like `tcp@1.1.0`; of the rollback of a build only the module, because its devices have different versions. */
export function formatBuild({ module, version, patchSet }: Pick<Rollout, 'module' | 'version' | 'patchSet'>): string {
  const installed = version ?? patchSet?.version ?? null;
  return installed === null ? module : `${module}@${installed}`;
}

/** Returns a line with the name and the state of a rollout. */
export function describeRollout({ id, name, state, reason, rollbackOf }: Rollout): string {
  const subject = rollbackOf !== null ? `the rollback ${id} of ${rollbackOf}` : name === null ? id : `${name} (${id})`;
  return `${subject} is ${colourRolloutState(state)}${reason === null ? '' : `: ${reason}`}`;
}

/** Returns what a rollout waits for; null if it has ended or takes its next step. */
export function describeWait(rollout: Rollout): string | null {
  const { id, waitingFor, wave, waves, startAt, windowOpensAt, rollbackOf, rolledBackBy, acceptsDevicesUntil } = rollout;
  switch (waitingFor) {
    case null:
      return null;
    case 'start-time':
      return `its start time ${formatTime(startAt)}`;
    case 'earlier-rollouts':
      return 'earlier rollouts of the same modules that include some of its devices';
    case 'approval':
      return `the approval of wave ${wave}: patchbay rollout approve ${id} --wave ${wave}`;
    case 'operator':
      return waves.some(({ state }) => state === 'failed')
        ? `an operator: patchbay rollout rollback ${id} --reason TEXT, retry-failed ${id}, abort ${id}, or resume ${id} to ignore the failure`
        : `an operator: patchbay rollout resume ${id}`;
    case 'window':
      return windowOpensAt === null ? 'its window, which does not open soon' : `its window, which opens at ${formatTime(windowOpensAt)}`;
    case 'rate':
      return 'its rate limit';
    case 'loads':
      return 'loads in progress';
    case 'soak':
      return `the end of the soak time at ${formatTime(waves.find(({ number }) => number === wave)?.soakUntil ?? null)}`;
    case 'measurement':
      return 'the last measurement of the wave';
    case 'devices':
      if (rollbackOf !== null) return `the remaining loads of ${rollbackOf}`;
      return `more devices${acceptsDevicesUntil === null ? '' : ` until ${formatTime(acceptsDevicesUntil)}`}; to end the wait: patchbay rollout close ${id}`;
    case 'rollback':
      return `the rollback of its devices: patchbay rollout watch ${rolledBackBy}`;
  }
}

export const formatMicroseconds = (microseconds: number | null) => (microseconds === null ? '-' : Math.round(microseconds));

/** Returns the waves as a table, with the measurements of the new version and of the version before. */
export function formatWaves(waves: readonly Wave[]): string[] {
  return formatTable(
    ['WAVE', 'STATE', 'DEVICES', 'LOADED', 'FAILED', 'CALLS', 'FAILED CALLS', 'P99 µs', '(BEFORE)', 'RESULT'],
    waves.map((wave) => {
      const { measured, deviceCounts } = wave;
      return [
        wave.number,
        wave.state,
        wave.devices,
        deviceCounts.loaded,
        deviceCounts.failed,
        measured.calls,
        measured.failedCalls,
        formatMicroseconds(measured.p99Microseconds),
        formatMicroseconds(measured.before.p99Microseconds),
        formatResult(wave),
      ];
    }),
  );
}

/** Returns the failure of a wave in a line; no line if it has none. */
export const formatFailure = ({ number, failure }: Wave) => (failure === null ? [] : [`wave ${number} failed: ${failure}`]);

function formatResult({ state, failure, failureIgnored }: Wave): string {
  if (state === 'waiting' || state === 'awaiting-approval') return '-';
  if (failure !== null) return colour('red', failureIgnored ? 'failed (ignored)' : 'failed');
  if (failureIgnored) return 'not evaluated';
  return colour('green', state === 'passed' ? 'passed' : 'within limits');
}

const thresholdLabels = {
  failedLoadsPercent: 'unsuccessful loads (%)',
  interruptedAccesses: 'interrupted accesses per device',
  failedCallsPercent: 'increase of failed calls (percentage points)',
  abiViolations: 'ABI violations (calls of removed code)',
  latencyIncreasePercent: 'increase of the p99 latency (%)',
} as const satisfies Record<Schemas['Verdict']['threshold'], string>;

function formatThresholds({ verdicts }: Wave): string[] {
  return formatTable(
    ['THRESHOLD', 'LIMIT', 'MEASURED', 'RESULT'],
    verdicts.map(({ threshold, limit, measured, exceeded }) => [
      thresholdLabels[threshold],
      limit,
      measured ?? '-',
      measured === null ? 'too few calls' : exceeded ? colour('red', 'limit exceeded') : colour('green', 'within limit'),
    ]),
  );
}

/** Returns everything about a rollout except its single devices. */
export function formatRollout(rollout: Rollout): string[] {
  const { id, name, patchSet, state, deviceCounts, reason, waves, rollbackOf, rolledBackBy } = rollout;
  const current = waves.find(({ number }) => number === rollout.wave) ?? waves.at(-1);
  const wait = describeWait(rollout);
  const unreachable = formatUnreachableDevices(rollout.unreachableDevices);
  const counts = Object.entries(deviceCounts).filter(([, count]) => count > 0);
  return [
    `${name ?? formatBuild(rollout)}  ${id}  ${colourRolloutState(state)}`,
    `${patchSet === null ? 'build        ' : 'patch set    '}${formatBuild(rollout)}${rollbackOf === null ? '' : describeTarget(rollout)}`,
    `selection    ${formatSelector(rollout)}`,
    `devices      ${counts.map(([deviceState, count]) => `${count} ${deviceState}`).join(', ') || '-'}`,
    ...(unreachable === null ? [] : [`unreachable  ${unreachable}`]),
    `requester    ${rollout.requestedBy}`,
    `time         requested ${formatTime(rollout.requestedAt)}, started ${formatTime(rollout.startedAt)}, ended ${formatTime(rollout.endedAt)}`,
    `policy       ${formatPolicy(rollout)}, on failure ${rollout.onFailure}`,
    `pace         ${formatPace(rollout)}`,
    ...(rollout.downgradeReason === null ? [] : [`downgrade    ${rollout.downgradeReason}`]),
    ...(reason === null ? [] : [`reason       ${reason}`]),
    ...(wait === null ? [] : [`waiting for  ${wait}`]),
    ...(rolledBackBy === null ? [] : [`rollback     ${rolledBackBy}`]),
    '',
    ...formatWaves(waves),
    ...waves.flatMap((wave) => formatFailure(wave)).filter((line) => line !== reason),
    ...(current === undefined || current.verdicts.length === 0
      ? []
      : ['', `Thresholds of wave ${current.number}:`, ...formatThresholds(current)]),
  ];
}

/** Returns what a rollback restores. */
function describeTarget({ patchSet, rollbackOf }: Rollout): string {
  return patchSet === null
    ? `, each device to its version before rollout ${rollbackOf}`
    : `, reverted on each device to the versions before rollout ${rollbackOf}`;
}

function formatSelector({
  selector: { devices, labels, selector, group, runningVersion },
  acceptsDevices,
  patchSet,
  rollbackOf,
}: Rollout): string {
  if (rollbackOf !== null) return `devices that received the ${patchSet === null ? 'build' : 'patch set'} from ${rollbackOf}`;
  const parts = [
    ...(devices === null ? [] : [`${formatDeviceCount(devices)} by name`]),
    ...(labels === null ? [] : [formatLabels(labels)]),
    ...(selector === null ? [] : [selector]),
    ...(group === null ? [] : [`group ${group.name} (${group.selector})`]),
    ...(runningVersion === null ? [] : [`running ${runningVersion}`]),
    ...(acceptsDevices ? ['devices that match later join'] : []),
  ];
  return parts.join(', ');
}

function formatPace({ devicesInFlight, loadsPerMinute, startAt, window }: Rollout): string {
  const parts = [
    `${devicesInFlight} loads in progress`,
    ...(loadsPerMinute === null ? [] : [`${loadsPerMinute} per minute`]),
    ...(startAt === null ? [] : [`from ${formatTime(startAt)}`]),
    ...(window === null ? [] : [`on ${window.days.join(', ')} ${window.from}-${window.until} ${window.timeZone}`]),
  ];
  return parts.join(', ');
}
