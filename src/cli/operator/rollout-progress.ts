// Rollouts are watched until they end: bars on a terminal, elsewhere a line for each change.

import console from 'node:console';
import type { Schemas } from '../../client/client.ts';
import { type Connection, streamRollout } from '../../client/event-stream.ts';
import { type ExitCode, exitCodes } from '../exit-codes.ts';
import { describeConnection } from '../terminal/connection.ts';
import { type Progress, ProgressBars } from '../terminal/progress.ts';
import { formatTime } from '../terminal/times.ts';
import { type CommandContext, printResult } from './operator.ts';
import {
  describeRollout,
  describeWait,
  formatBuild,
  formatDeviceCount,
  formatFailure,
  formatMicroseconds,
  formatWaves,
} from './rollout-output.ts';

type Rollout = Schemas['Rollout'];
type Wave = Schemas['Wave'];

/** Waves that have bars at once: what is drawn must fit on a terminal. */
const barLimit = 12;

/** What a rollout may wait for so long that it is said. */
const saidWaits = new Set<Rollout['waitingFor']>([
  'start-time',
  'earlier-rollouts',
  'approval',
  'operator',
  'window',
  'devices',
  'rollback',
]);

type Watching = {
  /** How it stood when it was asked for; null: nothing is known of it yet. */
  readonly known?: Rollout;
  /** Whether each change is printed as a line of JSON, and nothing else. */
  readonly isEachPrinted?: boolean;
};

/**
 * Watches a rollout until it has ended, or, where nobody sees a terminal, until a wave has failed and an operator is needed. The rollout goes on
 * whatever becomes of the watching.
 * @returns Whether every device has got the build, for the exit code.
 */
export async function watchRollout(
  operator: CommandContext,
  id: string,
  { known, isEachPrinted = false }: Watching = {},
): Promise<ExitCode> {
  const { client, signal: stopped } = operator;
  const bars = new ProgressBars();
  const onConnection = (connection: Connection) =>
    bars.log(describeConnection(connection, 'the rollout goes on when it is back, and so does the watching'));
  let last = known;
  if (known !== undefined) tell(bars, undefined, known);
  try {
    for await (const rollout of streamRollout(client, id, { signal: stopped, isExpected: known !== undefined, onConnection })) {
      if (isEachPrinted && JSON.stringify(rollout) !== JSON.stringify(last)) console.log(JSON.stringify(rollout));
      if (!isEachPrinted) tell(bars, last, rollout);
      last = rollout;
      if (!bars.isDrawn && hasStopped(rollout)) break;
    }
    stopped.throwIfAborted();
  } catch (error) {
    if (last !== undefined) console.error(`not watching any longer; the rollout goes on: patchbay rollout watch ${id}`);
    throw error;
  }
  if (last === undefined) throw new Error(`nothing was said of the rollout ${id}`);
  if (isEachPrinted) return exitCodeOf(last);
  const rollout = last;
  bars.finish(barsOf(rollout));
  printResult(operator, rollout, () => [...formatWaves(rollout.waves), '', ...endLines(rollout)]);
  return exitCodeOf(rollout);
}

/** Whether a wave has failed, and an operator is to decide. */
const hasStopped = ({ state, waves }: Rollout) => state === 'paused' && waves.some((wave) => wave.state === 'failed');

const exitCodeOf = ({ state, deviceCounts }: Rollout): ExitCode =>
  state === 'completed' && deviceCounts.failed === 0 ? exitCodes.success : exitCodes.loadsFailed;

function tell(bars: ProgressBars, before: Rollout | undefined, now: Rollout): void {
  if (before === undefined) bars.log(headline(now));
  for (const line of changes(before, now, bars.isDrawn)) bars.log(line);
  bars.update(barsOf(now));
}

function headline({ id, rollbackOf, waves, deviceCounts, ...rollout }: Rollout): string {
  if (rollbackOf !== null) return `watching the rollback ${id}, which takes back the devices of ${rollbackOf}`;
  const devices = Object.values(deviceCounts).reduce((total, some) => total + some, 0);
  return `watching the rollout ${id}: ${formatBuild(rollout)} to ${formatDeviceCount(devices)} in ${waves.length === 1 ? '1 wave' : `${waves.length} waves`}`;
}

/** What is to be said of what has changed: where bars are drawn, only what they do not show. */
function changes(before: Rollout | undefined, now: Rollout, isDrawn: boolean): string[] {
  const ofWaves = now.waves.flatMap((wave) => {
    const earlier = before?.waves.find(({ number }) => number === wave.number);
    const failures = wave.failure === earlier?.failure ? [] : formatFailure(wave);
    return [...failures, ...(isDrawn || wave.state === (earlier?.state ?? 'waiting') ? [] : waveChange(wave))];
  });
  const waiting = saidWaits.has(now.waitingFor) ? describeWait(now) : null;
  const wasWaiting = before !== undefined && saidWaits.has(before.waitingFor) ? describeWait(before) : null;
  const paused = now.state === 'paused' && before?.state !== 'paused' && !hasStopped(now) ? [`it is paused: ${now.reason}`] : [];
  return [...ofWaves, ...paused, ...(waiting === null || waiting === wasWaiting ? [] : [`it waits for ${waiting}`])];
}

function waveChange({ number, state, devices, deviceCounts, soakUntil, measured }: Wave): string[] {
  switch (state) {
    case 'loading':
      return [`wave ${number} is loading${devices === 0 ? '' : `: ${formatDeviceCount(devices)}`}`];
    case 'soaking':
      return [`wave ${number} is soaking until ${formatTime(soakUntil)}: ${deviceCounts.loaded} loaded, ${deviceCounts.failed} failed`];
    case 'passed':
      return [`wave ${number} has passed: ${deviceCounts.loaded} loaded, ${deviceCounts.failed} failed; ${callsText(measured)}`];
    case 'waiting':
    case 'awaiting-approval':
    case 'failed':
      return [];
  }
}

const callsText = ({ calls, failedCalls }: Wave['measured']) => `${calls} calls, ${failedCalls} failed`;

const latencyText = ({ p99Microseconds, before }: Wave['measured']) =>
  `p99 ${formatMicroseconds(p99Microseconds)} µs (${formatMicroseconds(before.p99Microseconds)} before)`;

/** A bar for each wave, of many those around the one that is under way. */
function barsOf({ waves, wave, waitingFor }: Rollout): Progress[] {
  const first = Math.max(0, Math.min((wave ?? waves.length) - 2, waves.length - barLimit));
  return waves.slice(first, first + barLimit).map(({ number, state, devices, deviceCounts, measured }) => ({
    name: `wave ${number}`,
    done: deviceCounts.loaded + deviceCounts.failed + deviceCounts.skipped,
    total: devices,
    remark: [
      number === wave && waitingFor !== null && waitingFor !== 'soak' ? `${state}, waits for ${waitingFor}` : state,
      ...(deviceCounts.failed === 0 ? [] : [`${deviceCounts.failed} without success`]),
      ...(measured.calls === 0 ? [] : [callsText(measured)]),
      ...(measured.p99Microseconds === null ? [] : [latencyText(measured)]),
    ].join('; '),
  }));
}

function endLines(rollout: Rollout): string[] {
  const { id, deviceCounts } = rollout;
  return [
    describeRollout(rollout),
    ...(deviceCounts.failed === 0
      ? []
      : [`${formatDeviceCount(deviceCounts.failed)} without success: patchbay rollout devices ${id} --state failed`]),
  ];
}
