// Rollouts in words and tables, for people.

import type { Schemas } from '../../client/client.ts';
import { colour } from '../terminal/colours.ts';
import { formatLabels } from '../terminal/labels.ts';
import { formatTable } from '../terminal/table.ts';
import { formatTime } from '../terminal/times.ts';
import { formatPolicy } from './load-options.ts';

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

/** The state in the colour of what it means. */
export const colourRolloutState = (state: Rollout['state']) => colour(stateColours[state], state);

/** What it loads; a rollback has no one version. */
export const formatBuild = ({ module, version }: Pick<Rollout, 'module' | 'version'>) =>
  version === null ? module : `${module}@${version}`;

export const formatDeviceCount = (count: number) => (count === 1 ? '1 device' : `${count} devices`);

/** A rollout in a line: what people call it, and how it stands. */
export function describeRollout({ id, name, state, reason, rollbackOf }: Rollout): string {
  const called = rollbackOf !== null ? `the rollback ${id} of ${rollbackOf}` : name === null ? id : `${name} (${id})`;
  return `${called} is ${colourRolloutState(state)}${reason === null ? '' : `: ${reason}`}`;
}

/** What a rollout waits for; null where it has ended, or is taking its next step. */
export function describeWait(rollout: Rollout): string | null {
  const { id, waitingFor, wave, waves, startAt, windowOpensAt, rollbackOf, rolledBackBy, acceptsDevicesUntil } = rollout;
  switch (waitingFor) {
    case null:
      return null;
    case 'start-time':
      return `its start at ${formatTime(startAt)}`;
    case 'earlier-rollouts':
      return 'earlier rollouts of the module that have some of its devices';
    case 'approval':
      return `the approval of wave ${wave}: patchbay rollout approve ${id} --wave ${wave}`;
    case 'operator':
      return waves.some(({ state }) => state === 'failed')
        ? `an operator: patchbay rollout rollback ${id} --reason TEXT, retry-failed ${id}, abort ${id}, or resume ${id} in spite of the failure`
        : `an operator: patchbay rollout resume ${id}`;
    case 'window':
      return `its window, which opens ${windowOpensAt === null ? 'on no day that is near' : `at ${formatTime(windowOpensAt)}`}`;
    case 'rate':
      return 'its rate of loads';
    case 'loads':
      return 'loads that are under way';
    case 'soak':
      return `the end of the soak time at ${formatTime(waves.find(({ number }) => number === wave)?.soakUntil ?? null)}`;
    case 'measurement':
      return 'the last measurement of the wave';
    case 'devices':
      if (rollbackOf !== null) return `what is still to come of ${rollbackOf}`;
      return `devices that join it${acceptsDevicesUntil === null ? '' : ` until ${formatTime(acceptsDevicesUntil)}`}: patchbay rollout close ${id} ends that`;
    case 'rollback':
      return `its devices to be taken back: patchbay rollout watch ${rolledBackBy}`;
  }
}

export const formatMicroseconds = (microseconds: number | null) => (microseconds === null ? '-' : Math.round(microseconds));

/** The waves as a table: how far each is, and what its programs do against what they did in the version before. */
export function formatWaves(waves: readonly Wave[]): string[] {
  return formatTable(
    ['WAVE', 'STATE', 'DEVICES', 'LOADED', 'FAILED', 'CALLS', 'FAILED CALLS', 'P99 µs', '(BEFORE)', 'VERDICT'],
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

/** Why a wave has failed. */
export const formatFailure = ({ number, failure }: Wave) => (failure === null ? [] : [`wave ${number} failed: ${failure}`]);

function formatResult({ state, failure, failureIgnored }: Wave): string {
  if (state === 'waiting' || state === 'awaiting-approval') return '-';
  if (failure !== null) return colour('red', failureIgnored ? 'failed, and goes on' : 'failed');
  if (failureIgnored) return 'not judged';
  return colour('green', state === 'passed' ? 'good' : 'good so far');
}

const thresholdTexts = {
  failedLoadsPercent: 'loads without success, in percent',
  interruptedAccesses: 'interrupted accesses of a device',
  failedCallsPercent: 'more failed calls than before, in percentage points',
  abiViolations: 'ABI violations: programs that call removed code',
  latencyIncreasePercent: 'increase of the p99 latency, in percent',
} as const satisfies Record<Schemas['Verdict']['threshold'], string>;

/** What a wave is judged by. */
function formatThresholds({ verdicts }: Wave): string[] {
  return formatTable(
    ['THRESHOLD', 'LIMIT', 'MEASURED', 'VERDICT'],
    verdicts.map(({ threshold, limit, measured, exceeded }) => [
      thresholdTexts[threshold],
      limit,
      measured ?? '-',
      measured === null ? 'too few calls to judge by' : exceeded ? colour('red', 'too much') : colour('green', 'good'),
    ]),
  );
}

/** Everything about a rollout but its devices one by one. */
export function formatRollout(rollout: Rollout): string[] {
  const { id, name, state, deviceCounts, reason, waves, rollbackOf, rolledBackBy } = rollout;
  const current = waves.find(({ number }) => number === rollout.wave) ?? waves.at(-1);
  const waiting = describeWait(rollout);
  const counts = Object.entries(deviceCounts).filter(([, count]) => count > 0);
  return [
    `${name ?? formatBuild(rollout)}  ${id}  ${colourRolloutState(state)}`,
    `build     ${formatBuild(rollout)}${rollbackOf === null ? '' : `, each device to the version before ${rollbackOf}`}`,
    `selected  ${formatSelector(rollout)}`,
    `devices   ${counts.map(([at, count]) => `${count} ${at}`).join(', ') || '-'}`,
    `requester ${rollout.requestedBy}`,
    `time      requested ${formatTime(rollout.requestedAt)}, started ${formatTime(rollout.startedAt)}, ended ${formatTime(rollout.endedAt)}`,
    `policy    ${formatPolicy(rollout)}, ${rollout.onFailure} on failure`,
    `pace      ${formatPace(rollout)}`,
    ...(rollout.downgradeReason === null ? [] : [`because   ${rollout.downgradeReason}`]),
    ...(reason === null ? [] : [`reason    ${reason}`]),
    ...(waiting === null ? [] : [`waits for ${waiting}`]),
    ...(rolledBackBy === null ? [] : [`back by   ${rolledBackBy}`]),
    '',
    ...formatWaves(waves),
    ...waves.flatMap((wave) => formatFailure(wave)).filter((line) => line !== reason),
    ...(current === undefined || current.verdicts.length === 0
      ? []
      : ['', `Thresholds of wave ${current.number}:`, ...formatThresholds(current)]),
  ];
}

function formatSelector({ selector: { devices, labels, runningVersion }, acceptsDevices, rollbackOf }: Rollout): string {
  if (rollbackOf !== null) return `those that have got the build by ${rollbackOf}`;
  const parts = [
    ...(devices === null ? [] : [`${formatDeviceCount(devices)} by name`]),
    ...(labels === null ? [] : [formatLabels(labels)]),
    ...(runningVersion === null ? [] : [`those that run ${runningVersion}`]),
    ...(acceptsDevices ? ['also those that match later'] : []),
  ];
  return parts.join(', ');
}

function formatPace({ devicesInFlight, loadsPerMinute, startAt, window }: Rollout): string {
  const parts = [
    `${devicesInFlight} at once`,
    ...(loadsPerMinute === null ? [] : [`${loadsPerMinute} a minute`]),
    ...(startAt === null ? [] : [`from ${formatTime(startAt)} on`]),
    ...(window === null ? [] : [`on ${window.days.join(', ')} ${window.from}-${window.until} ${window.timeZone}`]),
  ];
  return parts.join(', ');
}
