// `patchbay rollout create`: rolls a build or a patch set out in waves, or previews the rollout.

import { type Command, Option } from '@commander-js/extra-typings';
import { ResponseError, type Schemas, unwrapResponse } from '../../client/client.ts';
import { failureReactions } from '../../client/enum-values.ts';
import { UsageError } from '../errors.ts';
import { type ExitCode, exitCodes } from '../exit-codes.ts';
import { yesOption } from '../operator/confirmation.ts';
import { type NamedContent, readContent } from '../operator/load-content.ts';
import {
  addLoadOptions,
  deadlineOption,
  groupOption,
  resolveSelection,
  selectorOption,
  supersedeOption,
  toLoadRequest,
  toVersionRequest,
  versionPolicyOption,
} from '../operator/load-options.ts';
import { formatRefusals, formatUnreachable, formatWarnings } from '../operator/load-preview.ts';
import { formatHeld } from '../operator/maintenance-windows.ts';
import { type CommandContext, printResult, runOperatorCommand } from '../operator/operator.ts';
import { describeRollout } from '../operator/rollout-output.ts';
import { watchRollout } from '../operator/rollout-progress.ts';
import { maxSoakSeconds, readThreshold, readWave, readWindow, toThresholds } from '../operator/rollout-request.ts';
import { chooseUnreachable, noteUnreachable, unreachableOption } from '../operator/unreachable-choice.ts';
import { collectValues, readInteger, readTime } from '../option-values.ts';
import { formatDeviceCount } from '../terminal/device-count.ts';
import { formatTable } from '../terminal/table.ts';
import { addExamples } from './examples.ts';

/** The exit codes of commands that watch a rollout, for their help. */
export const rolloutExitCodesText = `
Exit codes:
  0  every device has the version
  1  the command or the service failed
  2  the command line is invalid
  3  with --dry-run: some devices would refuse the version
  4  some devices do not have the version: their loads were unsuccessful, or the rollout was aborted or rolled back;
     if standard error is not a terminal, also as soon as a wave fails and an operator must decide
  130  Ctrl-C; the rollout continues`;

const wavesText = `
Waves are given in order, each as additional devices (5) or a cumulative percentage (10%), with options: 5,soak=300,approval.
The last wave is 100%. The default is three waves: 1 device, 10%, 100%. Thresholds apply to every wave.`;

type Preview = Schemas['RolloutPreview'];

export function addCreateCommand(rollout: Command): void {
  const create = addLoadOptions(
    rollout
      .command('create')
      .description('Roll out a build or a patch set in waves, and watch the rollout until it ends.')
      .option('--module <name>', 'the module')
      .option('--version <version>', 'the version to roll out')
      .option('--patch-set <name@version>', 'the patch set to roll out, instead of --module and --version')
      .option('--device <device>', 'device, by name or identifier; may be repeated, in rollout order', collectValues)
      .option('--label <key=value>', 'every device with this label; repeat it to require several labels', collectValues)
      .addOption(selectorOption())
      .addOption(groupOption())
      .option(
        '--running-version <range>',
        'only devices with an installed version of the module in this range, like ">=1.0.0 <1.1.0"; not with --patch-set',
      )
      .option('--name <name>', 'name of the rollout')
      .option('--wave <spec...>', 'wave, like 5, 10% or 5,soak=300,approval; see below', collectWave)
      .option('--soak <seconds>', 'soak time: how long the programs of a wave are measured after its last load (default: 60)', (text) =>
        readInteger('soak', text, 0, maxSoakSeconds),
      )
      .option('--failed-loads <percent>', 'maximum percentage of unsuccessful loads in a wave, or off (default: 0)', (text) =>
        readThreshold('failed-loads', text, 100),
      )
      .option(
        '--failed-calls <percent>',
        'maximum increase of failed calls over the previous version, in percentage points, or off (default: 1)',
        (text) => readThreshold('failed-calls', text, 100),
      )
      .option('--interrupted-accesses <count>', 'maximum average of interrupted accesses per device, or off (default: off)', (text) =>
        readThreshold('interrupted-accesses', text),
      )
      .option(
        '--abi-violations <count>',
        'maximum number of ABI violations in a wave (programs that call removed code), or off (default: 0)',
        (text) => readThreshold('abi-violations', text),
      )
      .option(
        '--latency-increase <percent>',
        'maximum increase of the p99 latency of calls over the previous version, or off (default: off)',
        (text) => readThreshold('latency-increase', text),
      )
      .option('--minimum-calls <count>', 'minimum number of calls to evaluate failed calls and latency (default: 20)', (text) =>
        readInteger('minimum-calls', text, 0, Number.MAX_SAFE_INTEGER),
      )
      .option('--require-calls', 'fail a wave with fewer calls')
      .addOption(new Option('--on-failure <reaction>', 'reaction to a failed wave (default: pause)').choices(failureReactions))
      .option('--in-flight <count>', 'maximum number of loads in progress (default: 100)', (text) =>
        readInteger('in-flight', text, 1, 10_000),
      )
      .option('--rate <count>', 'maximum number of loads requested per minute (default: unlimited)', (text) =>
        readInteger('rate', text, 1, 1_000_000),
      )
      .option('--start-at <time>', 'start time, like 2026-11-24T09:30:00Z (default: now)', (text) => readTime('start-at', text))
      .option('--window <window>', 'request loads only in this weekly window, like "sat,sun 22:00-04:00 Europe/Berlin"', readWindow)
      .option('--dynamic', 'devices that match later join the last wave, until the rollout is closed')
      .option('--dynamic-until <time>', 'with --dynamic: time after which no more devices join', (text) => readTime('dynamic-until', text))
      .addOption(
        new Option(
          '--on-conflict <reaction>',
          'reaction if open rollouts of the same modules include some of the devices: reject the request, or queue the rollout (default: reject)',
        ).choices(['reject', 'queue']),
      ),
    'require',
  )
    .addOption(versionPolicyOption())
    .option('--reason <text>', 'reason for --version-policy downgrade')
    .addOption(deadlineOption(600))
    .option('--rollback-deadline <seconds>', 'deadline of the loads of a rollback (default: 86400)', (text) =>
      readInteger('rollback-deadline', text, 1, 2_592_000),
    )
    .addOption(supersedeOption())
    .addOption(unreachableOption())
    .option('--dry-run', 'only preview the rollout')
    .addOption(yesOption())
    .option('--no-wait', 'do not watch the rollout')
    .addHelpText('after', `${wavesText}\n${rolloutExitCodesText}`)
    .action((options, command) =>
      runOperatorCommand(command, async (context) => {
        const { device, label, selector, group, runningVersion, name, wave, soak, onFailure, inFlight, rate } = options;
        const { startAt, window, dynamic, dynamicUntil, onConflict, versionPolicy, reason, rollbackDeadline, dryRun } = options;
        const isSelected = [device, label, selector, group].some((one) => one !== undefined);
        if (!isSelected && runningVersion === undefined)
          throw new UsageError('select devices with --device, --label, --selector, --group or --running-version');
        const content = readContent(options);
        const body: Schemas['NewRollout'] = {
          ...content.request,
          ...toVersionRequest(versionPolicy, reason),
          ...(isSelected ? await resolveSelection(context.client, { device, label, selector, group }) : {}),
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
          ...(dynamicUntil && { dynamicUntil }),
          ...(onConflict && { onConflict }),
          ...toLoadRequest(options),
          ...(rollbackDeadline && { rollbackDeadlineSeconds: rollbackDeadline }),
        };
        const choice = dryRun ? options.unreachable : await chooseUnreachable(context, options, () => previewDevices(context, body));
        const request = { ...body, ...(choice && { unreachable: choice }), ...(dryRun && { dryRun }) };
        return requestRollout(context, content, request, options.wait);
      }),
    );
  addExamples(
    create,
    'patchbay rollout create --module tcp --version 1.1.0 --label zone=north --dry-run',
    'patchbay rollout create --module tcp --version 1.1.0 --label zone=north --wave 1,soak=300 --wave 20% --wave 100%,approval --on-failure rollback',
    'patchbay rollout create --module tcp --version 1.1.0 --selector "tier,zone notin (north,south)" --dynamic --no-wait',
    'patchbay rollout create --module tcp --version 1.1.0 --label zone=north --unreachable skip --no-wait',
    'patchbay rollout create --patch-set net-2026-11@1.0.0 --label zone=north --on-failure rollback',
    'patchbay rollout create --module tcp --version 1.1.0 --running-version "<1.1.0" --window "sat,sun 22:00-04:00 Europe/Berlin" --rate 60 --no-wait',
  );
}

const collectWave = (text: string, before: readonly Schemas['NewWave'][] = []): readonly Schemas['NewWave'][] => [
  ...before,
  readWave(text),
];

async function previewDevices({ client }: CommandContext, body: Schemas['NewRollout']): Promise<Preview['items']> {
  const preview = unwrapResponse(await client.POST('/v1/rollouts', { body: { ...body, dryRun: true } }));
  return 'items' in preview ? preview.items : [];
}

/** Requests the rollout or its preview, and prints the result. */
async function requestRollout(
  context: CommandContext,
  content: NamedContent,
  body: Schemas['NewRollout'],
  isWatching: boolean,
): Promise<ExitCode> {
  let created: Schemas['Rollout'] | Preview;
  try {
    created = unwrapResponse(await context.client.POST('/v1/rollouts', { body }));
  } catch (error) {
    if (!(error instanceof ResponseError) || error.problem?.type !== 'urn:patchbay:problem:already-installed') throw error;
    const { detail } = error.problem;
    printResult(context, { rollout: null, detail }, () => [detail]);
    return exitCodes.success;
  }
  if ('items' in created) {
    const preview = created;
    printResult(context, preview, () => formatPreview(preview, content, body));
    return preview.refused > 0 ? exitCodes.loadsRefused : exitCodes.success;
  }
  const rollout = created;
  noteUnreachable(context, rollout.unreachableDevices, body.unreachable);
  if (isWatching) return watchRollout(context, rollout.id, { known: rollout });
  printResult(context, rollout, () => [describeRollout(rollout), `to watch it: patchbay rollout watch ${rollout.id}`]);
  return exitCodes.success;
}

function formatPreview(preview: Preview, { name, version }: NamedContent, body: Schemas['NewRollout']) {
  const { devices, alreadyInstalled, skipped, refused, held, waves, conflicts, items } = preview;
  const loaded = items.filter(({ wave }) => wave !== null);
  const others = conflicts.map(
    ({ rollout, devices: count }) => `the open rollout ${rollout} includes ${formatDeviceCount(count)} of these`,
  );
  const reaction =
    body.onConflict === 'queue' ? 'this rollout would wait for it' : 'the request would be rejected without --on-conflict queue';
  return [
    `${name}@${version} would go to ${formatDeviceCount(devices - alreadyInstalled - skipped)}`,
    ...(alreadyInstalled === 0 ? [] : [`skipped, because they have it: ${alreadyInstalled}`]),
    ...formatUnreachable(preview),
    ...others.map((other) => `${other}: ${reaction}`),
    ...formatHeld(held, loaded),
    ...(refused === 0 ? [] : [`would refuse it: ${refused}`]),
    '',
    ...formatTable(
      ['WAVE', 'DEVICES'],
      waves.map((wave) => [wave.number, wave.devices]),
    ),
    ...formatRefusals(loaded, [{ heading: 'WAVE', cell: ({ wave }) => wave ?? '-' }]),
    ...formatWarnings(loaded),
  ];
}
