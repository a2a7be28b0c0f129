// Watches rollouts: draws a bar per wave on a terminal; elsewhere prints a line per change.

import console from 'node:console';
import type { Schemas } from '../../client/client.ts';
import { type Connection, streamRollout } from '../../client/event-stream.ts';
import { WaitError } from '../errors.ts';
import { type ExitCode, exitCodes } from '../exit-codes.ts';
import { describeConnection } from '../terminal/connection.ts';
import { formatDeviceCount } from '../terminal/device-count.ts';
import { type Progress, ProgressBars } from '../terminal/progress.ts';
import { formatTime } from '../terminal/times.ts';
import { type CommandContext, printResult } from './operator.ts';
import { describeRollout, describeWait, formatBuild, formatFailure, formatMicroseconds, formatWaves } from './rollout-output.ts';

type Rollout = Schemas['Rollout'];
type Wave = Schemas['Wave'];

/** Waves with a bar: all bars must fit on a terminal. */
const barLimit = 12;

/** Waits that may take long, and are printed. */
const longWaits = new Set<Rollout['waitingFor']>([
  'start-time',
  'earlier-rollouts',
  'approval',
  'operator',
  'window',
  'devices',
  'rollback',
]);

type WatchOptions = {
  /** The rollout as the request returned it. */
  readonly known?: Rollout;
  /** Whether each change is printed as a line of JSON, and nothing else. */
  readonly isEachPrinted?: boolean;
};

/**
 * Watches a rollout until it ends; without a terminal, only until a wave fails and an operator must decide. Watching has no effect on the rollout.
 * @returns The exit code: success if every device received the build.
 */
export async function watchRollout(
  context: CommandContext,
  id: string,
  { known, isEachPrinted = false }: WatchOptions = {},
): Promise<ExitCode> {
  const { client, isJson, signal } = context;
  const bars = new ProgressBars(isJson);
  const onConnection = (connection: Connection) => bars.log(describeConnection(connection, 'reconnecting; the rollout is not affected'));
  let last = known;
  if (known !== undefined) logChanges(bars, undefined, known);
  try {
    for await (const rollout of streamRollout(client, id, { signal, isExpected: known !== undefined, onConnection })) {
      if (isEachPrinted && JSON.stringify(rollout) !== JSON.stringify(last)) console.log(JSON.stringify(rollout));
      if (!isEachPrinted) logChanges(bars, last, rollout);
      last = rollout;
      if (!bars.isDrawn && needsDecision(rollout)) break;
    }
    signal.throwIfAborted();
  } catch (error) {
    if (last === undefined) throw error;
    throw new WaitError(error, `the rollout continues: patchbay rollout watch ${id}`);
  }
  if (last === undefined) throw new Error(`no progress was received for the rollout ${id}`);
  if (isEachPrinted) return exitCodeOf(last);
  const rollout = last;
  bars.finish(barsOf(rollout));
  printResult(context, rollout, () => [...formatWaves(rollout.waves), '', ...formatEnd(rollout)]);
  return exitCodeOf(rollout);
}

/** Returns whether a wave has failed and an operator must decide. */
const needsDecision = ({ state, waves }: Rollout) => state === 'paused' && waves.some((wave) => wave.state === 'failed');

const exitCodeOf = ({ state, deviceCounts }: Rollout): ExitCode =>
  state === 'completed' && deviceCounts.failed === 0 ? exitCodes.success : exitCodes.loadsFailed;

function logChanges(bars: ProgressBars, before: Rollout | undefined, now: Rollout): void {
  if (before === undefined) bars.log(headline(now));
  for (const line of describeChanges(before, now, bars.isDrawn)) bars.log(line);
  bars.update(barsOf(now));
}

function headline({ id, rollbackOf, waves, deviceCounts, ...rollout }: Rollout): string {
  if (rollbackOf !== null) return `watching the rollback ${id} of ${rollbackOf}`;
  const devices = Object.values(deviceCounts).reduce((total, count) => total + count, 0);
  return `watching the rollout ${id}: ${formatBuild(rollout)} to ${formatDeviceCount(devices)} in ${waves.length === 1 ? '1 wave' : `${waves.length} waves`}`;
}

/** Returns a line per change; if bars are drawn, only for the changes that the bars do not show. */
function describeChanges(before: Rollout | undefined, now: Rollout, isDrawn: boolean): string[] {
  const waveLines = now.waves.flatMap((wave) => {
    const earlier = before?.waves.find(({ number }) => number === wave.number);
    const failures = wave.failure === earlier?.failure ? [] : formatFailure(wave);
    return [...failures, ...(isDrawn || wave.state === (earlier?.state ?? 'waiting') ? [] : describeWaveState(wave))];
  });
  const wait = longWaits.has(now.waitingFor) ? describeWait(now) : null;
  const waitBefore = before !== undefined && longWaits.has(before.waitingFor) ? describeWait(before) : null;
  const paused = now.state === 'paused' && before?.state !== 'paused' && !needsDecision(now) ? [`paused: ${now.reason}`] : [];
  return [...waveLines, ...paused, ...(wait === null || wait === waitBefore ? [] : [`waiting for ${wait}`])];
}

function describeWaveState({ number, state, devices, deviceCounts, soakUntil, measured }: Wave): string[] {
  switch (state) {
    case 'loading':
      return [`wave ${number} is loading${devices === 0 ? '' : `: ${formatDeviceCount(devices)}`}`];
    case 'soaking':
      return [`wave ${number} is soaking until ${formatTime(soakUntil)}: ${deviceCounts.loaded} loaded, ${deviceCounts.failed} failed`];
    case 'passed':
      return [`wave ${number} passed: ${deviceCounts.loaded} loaded, ${deviceCounts.failed} failed; ${formatCalls(measured)}`];
    case 'waiting':
    case 'awaiting-approval':
    case 'failed':
      return [];
  }
}

const formatCalls = ({ calls, failedCalls }: Wave['measured']) => `${calls} calls, ${failedCalls} failed`;

const formatLatency = ({ p99Microseconds, before }: Wave['measured']) =>
  `p99 ${formatMicroseconds(p99Microseconds)} µs (before: ${formatMicroseconds(before.p99Microseconds)})`;

/** Returns a bar per wave; of many waves, those around the current wave. */
function barsOf({ waves, wave, waitingFor }: Rollout): Progress[] {
  const first = Math.max(0, Math.min((wave ?? waves.length) - 2, waves.length - barLimit));
  return waves.slice(first, first + barLimit).map(({ number, state, devices, deviceCounts, measured }) => ({
    name: `wave ${number}`,
    done: deviceCounts.loaded + deviceCounts.failed + deviceCounts.skipped,
    total: devices,
    remark: [
      number === wave && waitingFor !== null && waitingFor !== 'soak' ? `${state}, waiting for ${waitingFor}` : state,
      ...(deviceCounts.failed === 0 ? [] : [`${deviceCounts.failed} unsuccessful`]),
      ...(measured.calls === 0 ? [] : [formatCalls(measured)]),
      ...(measured.p99Microseconds === null ? [] : [formatLatency(measured)]),
    ].join('; '),
  }));
}

function formatEnd(rollout: Rollout): string[] {
  const { id, deviceCounts } = rollout;
  return [
    describeRollout(rollout),
    ...(deviceCounts.failed === 0
      ? []
      : [`${formatDeviceCount(deviceCounts.failed)} unsuccessful: patchbay rollout devices ${id} --state failed`]),
  ];
}
