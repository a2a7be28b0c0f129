// `patchbay rollout create`: a build is rolled out in waves, or it is previewed what that would come to.

import console from 'node:console';
import { type Command, Option } from '@commander-js/extra-typings';
import { ResponseError, type Schemas, unwrapResponse } from '../../client/client.ts';
import { failureReactions, isRefusedForecast } from '../../client/enum-values.ts';
import { type ExitCode, exitCodes } from '../exit-codes.ts';
import {
  addLoadOptions,
  deadlineOption,
  resolveSelection,
  supersedeOption,
  toLoadRequest,
  toVersionRequest,
  versionPolicyOption,
} from '../operator/load-options.ts';
import { type CommandContext, printResult, runOperatorCommand } from '../operator/operator.ts';
import { describeRollout, formatBuild, formatDeviceCount } from '../operator/rollout-output.ts';
import { watchRollout } from '../operator/rollout-progress.ts';
import { maxSoakSeconds, readThreshold, readWave, readWindow, toThresholds } from '../operator/rollout-request.ts';
import { collectValues, readInteger, readTime, UsageError } from '../option-values.ts';
import { formatTable } from '../terminal/table.ts';
import { addExamples } from './examples.ts';

/** Devices that would refuse the build and are named. */
const rowsTold = 100;

/** What the exit code of a command that watches a rollout tells. */
export const rolloutExitCodesText = `
Exit codes:
  0  every device has the version
  1  the command or the service failed
  2  the command line is wrong
  3  with --dry-run: some devices would refuse the version
  4  some devices have not got it: their loads did not succeed, or the rollout was aborted or rolled back;
     where standard error is no terminal, also as soon as a wave has failed and an operator is needed
  130  the watching was ended by Ctrl-C; the rollout goes on`;

const wavesText = `
Waves are given in their order, each as so many devices more (5) or as all up to a percentage (10%), with what holds for it: 5,soak=300,approval.
The last is 100%. Without --wave there are three: 1 device, 10%, 100%. Thresholds hold for every wave; the API takes other ones for each.`;

type Preview = Schemas['RolloutPreview'];

export function addCreateCommand(rollout: Command): void {
  const create = addLoadOptions(
    rollout
      .command('create')
      .description('Roll a build out in waves, and watch it until it ends.')
      .requiredOption('--module <name>', 'the module')
      .requiredOption('--version <version>', 'the version to roll out')
      .option(
        '--device <device>',
        'a device, by name or identifier; may be repeated, in the order in which they get the build',
        collectValues,
      )
      .option('--label <key=value>', 'every device with this label, and with all where it is repeated', collectValues)
      .option('--running-version <range>', 'only devices that have a version of the module in this range, like ">=1.0.0 <1.1.0"')
      .option('--name <name>', 'what to call the rollout')
      .option('--wave <spec...>', 'a wave, like 5, 10% or 5,soak=300,approval; see below', collectWave)
      .option('--soak <seconds>', 'how long the programs of a wave are watched after its last load (60)', (text) =>
        readInteger('soak', text, 0, maxSoakSeconds),
      )
      .option('--failed-loads <percent>', 'devices of a wave whose loads may end without success, or off (0)', (text) =>
        readThreshold('failed-loads', text, 100),
      )
      .option('--failed-calls <percent>', 'percentage points that more calls may fail than in the version before, or off (1)', (text) =>
        readThreshold('failed-calls', text, 100),
      )
      .option('--interrupted-accesses <count>', 'accesses that may be interrupted on a device on the average, or off (off)', (text) =>
        readThreshold('interrupted-accesses', text),
      )
      .option('--abi-violations <count>', 'maximum of ABI violations in a wave (programs that call removed code), or off (0)', (text) =>
        readThreshold('abi-violations', text),
      )
      .option('--latency-increase <percent>', 'how much longer calls may take at the 99th percentile than before, or off (off)', (text) =>
        readThreshold('latency-increase', text),
      )
      .option('--minimum-calls <count>', 'calls from which on calls are judged (20)', (text) =>
        readInteger('minimum-calls', text, 0, Number.MAX_SAFE_INTEGER),
      )
      .option('--require-calls', 'a wave in which fewer calls were made has failed')
      .addOption(new Option('--on-failure <reaction>', 'what is done when a wave has failed (pause)').choices(failureReactions))
      .option('--in-flight <count>', 'loads that are under way at once (100)', (text) => readInteger('in-flight', text, 1, 10_000))
      .option('--rate <count>', 'loads that are requested in a minute (as many as can be)', (text) =>
        readInteger('rate', text, 1, 1_000_000),
      )
      .option('--start-at <time>', 'not before this time, like 2026-11-24T09:30:00Z', (text) => readTime('start-at', text))
      .option('--window <window>', 'only request loads at these times, like "sat,sun 22:00-04:00 Europe/Berlin"', readWindow)
      .option('--dynamic', 'devices that match later join the last wave, until the rollout is closed to them')
      .option('--until <time>', 'with --dynamic: until when they join', (text) => readTime('until', text))
      .option('--queue', 'wait for rollouts of the module that have some of the devices, rather than be refused'),
    'require',
  )
    .addOption(versionPolicyOption())
    .option('--reason <text>', 'why, with --version-policy downgrade')
    .addOption(deadlineOption(600))
    .option('--rollback-deadline <seconds>', 'the same of a rollback of it (86400)', (text) =>
      readInteger('rollback-deadline', text, 1, 2_592_000),
    )
    .addOption(supersedeOption())
    .option('--dry-run', 'do nothing, and tell what it would come to')
    .option('--no-wait', 'do not watch it')
    .addHelpText('after', `${wavesText}\n${rolloutExitCodesText}`)
    .action((options, command) =>
      runOperatorCommand(command, async (operator) => {
        const { module, version, device, label, runningVersion, name, wave, soak, onFailure, inFlight, rate } = options;
        const { startAt, window, dynamic, until, queue, versionPolicy, reason, rollbackDeadline, dryRun } = options;
        if (device === undefined && label === undefined && runningVersion === undefined)
          throw new UsageError('give --device, --label or --running-version: which devices get the build');
        const body: Schemas['NewRollout'] = {
          module,
          version,
          ...toVersionRequest(versionPolicy, reason),
          ...(device === undefined && label === undefined ? {} : await resolveSelection(operator.client, device, label)),
          ...(runningVersion && { runningVersion }),
          ...(name && { name }),
          ...(wave && { waves: [...wave] }),
          ...(soak !== undefined && { soakSeconds: soak }),
          thresholds: toThresholds(options),
          ...(onFailure && { onFailure }),
          ...(inFlight && { devicesInFlight: inFlight }),
          ...(rate && { loadsPerMinute: rate }),
          ...(startAt && { startAt }),
          ...(window && { window }),
          ...(dynamic && { dynamic }),
          ...(until && { dynamicUntil: until }),
          ...(queue && { onConflict: 'queue' }),
          ...toLoadRequest(options),
          ...(rollbackDeadline && { rollbackDeadlineSeconds: rollbackDeadline }),
          ...(dryRun && { dryRun }),
        };
        return request(operator, body, options.wait);
      }),
    );
  addExamples(
    create,
    'patchbay rollout create --module tcp --version 1.1.0 --label zone=north --dry-run',
    'patchbay rollout create --module tcp --version 1.1.0 --label zone=north --wave 1,soak=300 --wave 20% --wave 100%,approval --on-failure rollback',
    'patchbay rollout create --module tcp --version 1.1.0 --running-version "<1.1.0" --window "sat,sun 22:00-04:00 Europe/Berlin" --rate 60 --no-wait',
  );
}

const collectWave = (text: string, before: readonly Schemas['NewWave'][] = []): readonly Schemas['NewWave'][] => [
  ...before,
  readWave(text),
];

/** Asks for the rollout or its preview, and tells what comes of it. */
async function request(operator: CommandContext, body: Schemas['NewRollout'], isWatching: boolean): Promise<ExitCode> {
  let made: Schemas['Rollout'] | Preview;
  try {
    made = unwrapResponse(await operator.client.POST('/v1/rollouts', { body }));
  } catch (error) {
    if (!(error instanceof ResponseError) || error.problem?.type !== 'urn:patchbay:problem:already-installed') throw error;
    console.error(error.problem.detail);
    return exitCodes.success;
  }
  if ('items' in made) {
    const preview = made;
    printResult(operator, preview, () => previewLines(preview, body));
    return preview.refused > 0 ? exitCodes.loadsRefused : exitCodes.success;
  }
  const rollout = made;
  if (isWatching) return watchRollout(operator, rollout.id, { known: rollout });
  printResult(operator, rollout, () => [describeRollout(rollout), `patchbay rollout watch ${rollout.id} shows how it goes on`]);
  return exitCodes.success;
}

function previewLines({ devices, alreadyInstalled, unreachable, refused, waves, conflicts, items }: Preview, body: Schemas['NewRollout']) {
  const others = conflicts.map(({ rollout, devices: count }) => `the rollout ${rollout} has ${formatDeviceCount(count)} of these`);
  const way = body.onConflict === 'queue' ? 'it would wait for that' : 'it would be refused for that, but for --queue';
  return [
    `${formatBuild(body)} would go to ${formatDeviceCount(devices - alreadyInstalled)}`,
    ...(alreadyInstalled === 0 ? [] : [`left out, for they have it: ${alreadyInstalled}`]),
    ...(unreachable === 0 ? [] : [`on hosts that are not heard of, so that their loads would wait: ${unreachable}`]),
    ...others.map((other) => `${other}, and has not ended: ${way}`),
    ...(refused === 0 ? [] : [`would refuse it: ${refused}`]),
    '',
    ...formatTable(
      ['WAVE', 'DEVICES'],
      waves.map((wave) => [wave.number, wave.devices]),
    ),
    ...(refused === 0 ? [] : ['', ...refusalLines(items, refused)]),
  ];
}

/** The devices that would refuse the build, grouped by forecast, the first of them by name. */
function refusalLines(items: Preview['items'], refused: number): string[] {
  const refusing = items.filter(({ wave, forecast }) => wave !== null && isRefusedForecast[forecast]);
  const sorted = refusing.toSorted((left, right) => left.forecast.localeCompare(right.forecast));
  const counts = [...Map.groupBy(refusing, ({ forecast }) => forecast)].map(([forecast, some]) => `${forecast} ${some.length}`);
  return [
    ...formatTable(
      ['FORECAST', 'DEVICE', 'WAVE', 'HAS', 'REASON'],
      sorted
        .slice(0, rowsTold)
        .map(({ forecast, deviceName, wave, currentVersion, reason }) => [
          forecast,
          deviceName,
          wave ?? '-',
          currentVersion ?? '-',
          reason ?? '',
        ]),
    ),
    ...(refused > rowsTold ? [`and ${refused - rowsTold} more, in all ${counts.join(', ')}: --json has them`] : []),
  ];
}
