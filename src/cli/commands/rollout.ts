// `patchbay rollout`: creates, lists, shows, watches, reports and controls rollouts.

import { pipeline } from 'node:stream/promises';
import { type Command, Option } from '@commander-js/extra-typings';
import { type Schemas, unwrapResponse } from '../../client/client.ts';
import { rolloutDeviceStates, rolloutStates } from '../../client/enum-values.ts';
import { exitCodes } from '../exit-codes.ts';
import { printResult, runOperatorCommand } from '../operator/operator.ts';
import { createOutputFile } from '../operator/output-file.ts';
import { allOption, limitOption, printList, readPages } from '../operator/pages.ts';
import { resolveRolloutId } from '../operator/rollout-names.ts';
import { colourRolloutState, formatBuild, formatRollout } from '../operator/rollout-output.ts';
import { watchRollout } from '../operator/rollout-progress.ts';
import { readInteger } from '../option-values.ts';
import { colourOutcome } from '../terminal/outcome-colours.ts';
import { formatTime } from '../terminal/times.ts';
import { addExamples } from './examples.ts';
import { addControlCommands, waveLimit } from './rollout-control.ts';
import { addCreateCommand, rolloutExitCodesText } from './rollout-create.ts';

export function addRolloutCommands(rollout: Command): void {
  rollout.addHelpText(
    'after',
    '\nGive a rollout by its identifier or its name. A name means the open rollout of that name; if all have ended, the newest.',
  );
  addCreateCommand(rollout);
  addListCommand(rollout);
  addShowCommand(rollout);
  addWatchCommand(rollout);
  addDevicesCommand(rollout);
  addReportCommand(rollout);
  addControlCommands(rollout);
}

function addListCommand(rollout: Command): void {
  const list = rollout
    .command('list')
    .description('List rollouts, newest first.')
    .addOption(new Option('--state <state>', 'only rollouts in this state').choices(rolloutStates))
    .option('--module <name>', 'only rollouts of this module, or of the patch set with this name')
    .addOption(limitOption())
    .addOption(allOption())
    .action(({ state, module, ...options }, command) =>
      runOperatorCommand(command, async (context) => {
        const filter = { ...(state && { state }), ...(module && { module }) };
        const rollouts = await readPages(options, async (page) =>
          unwrapResponse(await context.client.GET('/v1/rollouts', { params: { query: { ...page, ...filter } } })),
        );
        printList(context, rollouts, {
          headings: ['ROLLOUT', 'NAME', 'BUILD', 'STATE', 'WAVE', 'LOADED', 'FAILED', 'REMAINING', 'REQUESTED'],
          row: (item) => [
            item.id,
            item.name ?? '-',
            item.rollbackOf === null ? formatBuild(item) : `${item.module} (rollback)`,
            colourRolloutState(item.state),
            `${item.wave ?? '-'} of ${item.waves.length}`,
            item.deviceCounts.loaded,
            item.deviceCounts.failed,
            item.deviceCounts.waiting + item.deviceCounts.loading,
            formatTime(item.requestedAt),
          ],
          empty: 'no rollouts found',
        });
        return exitCodes.success;
      }),
    );
  addExamples(list, 'patchbay rollout list --state running', 'patchbay rollout list --module tcp --all --json');
}

function addShowCommand(rollout: Command): void {
  const show = rollout
    .command('show <rollout>')
    .description('Show a rollout with its waves, measurements and thresholds.')
    .action((nameOrId, _options, command) =>
      runOperatorCommand(command, async (context) => {
        const path = { rollout: await resolveRolloutId(context.client, nameOrId) };
        const found = unwrapResponse(await context.client.GET('/v1/rollouts/{rollout}', { params: { path } }));
        printResult(context, found, () => formatRollout(found));
        return exitCodes.success;
      }),
    );
  addExamples(show, 'patchbay rollout show tcp-1.1', 'patchbay rollout show rol_019365a1c0de7b1e9d2f4c6a8b0d1e2f --json');
}

function addWatchCommand(rollout: Command): void {
  const watch = rollout
    .command('watch <rollout>')
    .description('Watch a rollout until it ends. With --json, print one JSON document per line for each change.')
    .addHelpText('after', rolloutExitCodesText)
    .action((nameOrId, _options, command) =>
      runOperatorCommand(command, async (context) =>
        watchRollout(context, await resolveRolloutId(context.client, nameOrId), { isEachPrinted: context.isJson }),
      ),
    );
  addExamples(watch, 'patchbay rollout watch tcp-1.1', 'patchbay rollout watch tcp-1.1 --json');
}

function addDevicesCommand(rollout: Command): void {
  const devices = rollout
    .command('devices <rollout>')
    .description('List the devices of a rollout with their states, in rollout order.')
    .option('--wave <number>', 'only devices of this wave', (text) => readInteger('wave', text, 1, waveLimit))
    .addOption(new Option('--state <state>', 'only devices in this state').choices(rolloutDeviceStates))
    .addOption(limitOption())
    .addOption(allOption())
    .action((nameOrId, { wave, state, ...options }, command) =>
      runOperatorCommand(command, async (context) => {
        const path = { rollout: await resolveRolloutId(context.client, nameOrId) };
        const filter = { order: 'asc' as const, ...(wave && { wave }), ...(state && { state }) };
        const found = await readPages(options, async (page) =>
          unwrapResponse(await context.client.GET('/v1/rollouts/{rollout}/devices', { params: { path, query: { ...page, ...filter } } })),
        );
        printList(context, found, {
          headings: ['WAVE', 'DEVICE', 'STATE', 'VERSION', 'PREVIOUS', 'OUTCOME', 'ATTEMPTS', 'CALLS', 'FAILED CALLS', 'REASON'],
          row: formatDeviceRow,
          empty: 'no devices found',
        });
        return exitCodes.success;
      }),
    );
  addExamples(devices, 'patchbay rollout devices tcp-1.1 --wave 1', 'patchbay rollout devices tcp-1.1 --state failed --all --json');
}

function formatDeviceRow(device: Schemas['RolloutDevice']): (string | number)[] {
  const { wave, deviceName, state, version, previousVersion, outcome, attempts, measured, reason } = device;
  return [
    wave,
    deviceName,
    state,
    version || '-',
    previousVersion ?? '-',
    outcome === null ? '-' : colourOutcome(outcome),
    attempts,
    measured?.calls ?? '-',
    measured?.failedCalls ?? '-',
    reason ?? '',
  ];
}

function addReportCommand(rollout: Command): void {
  const report = rollout
    .command('report <rollout>')
    .description('Export the result for every device of a rollout as JSON or CSV; final when the rollout has ended.')
    .option('--csv', 'as CSV, one line per device')
    .option('--output <file>', 'new file for the report (default: standard output)')
    .action((nameOrId, { csv = false, output }, command) =>
      runOperatorCommand(command, async (context) => {
        const { client } = context;
        const path = { rollout: await resolveRolloutId(client, nameOrId) };
        const query = { format: csv ? ('csv' as const) : ('json' as const) };
        const stream = unwrapResponse(await client.GET('/v1/rollouts/{rollout}/report', { params: { path, query }, parseAs: 'stream' }));
        await pipeline(stream, output === undefined ? process.stdout : createOutputFile(output), { end: output !== undefined });
        if (output !== undefined) printResult(context, { file: output, format: query.format }, () => [`exported to ${output}`]);
        return exitCodes.success;
      }),
    );
  addExamples(report, 'patchbay rollout report tcp-1.1 --csv --output tcp-1.1.csv', 'patchbay rollout report tcp-1.1 > tcp-1.1.json');
}
