// `patchbay rollout`: builds are rolled out in waves, and rollouts are listed, shown, watched, reported and decided about.

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
import { colourOutcome } from '../terminal/colours.ts';
import { formatTime } from '../terminal/times.ts';
import { addExamples } from './examples.ts';
import { addDecisionCommands, waveLimit } from './rollout-control.ts';
import { addCreateCommand, rolloutExitCodesText } from './rollout-create.ts';

export function addRolloutCommands(rollout: Command): void {
  rollout.addHelpText(
    'after',
    '\nA rollout is named by its identifier, or by its name: that is the one of the name that has not ended, or else the newest.',
  );
  addCreateCommand(rollout);
  addListCommand(rollout);
  addShowCommand(rollout);
  addWatchCommand(rollout);
  addDevicesCommand(rollout);
  addReportCommand(rollout);
  addDecisionCommands(rollout);
}

function addListCommand(rollout: Command): void {
  const list = rollout
    .command('list')
    .description('List rollouts, the newest first.')
    .addOption(new Option('--state <state>', 'only rollouts in this state').choices(rolloutStates))
    .option('--module <name>', 'only rollouts of this module')
    .addOption(limitOption())
    .addOption(allOption())
    .action(({ state, module, ...options }, command) =>
      runOperatorCommand(command, async (operator) => {
        const filter = { ...(state && { state }), ...(module && { module }) };
        const rollouts = await readPages(options, async (page) =>
          unwrapResponse(await operator.client.GET('/v1/rollouts', { params: { query: { ...page, ...filter } } })),
        );
        printList(operator, rollouts, {
          headings: ['ROLLOUT', 'NAME', 'BUILD', 'STATE', 'WAVE', 'LOADED', 'FAILED', 'TO COME', 'REQUESTED'],
          row: (one) => [
            one.id,
            one.name ?? '-',
            one.rollbackOf === null ? formatBuild(one) : `${one.module}, back`,
            colourRolloutState(one.state),
            `${one.wave ?? '-'} of ${one.waves.length}`,
            one.deviceCounts.loaded,
            one.deviceCounts.failed,
            one.deviceCounts.waiting + one.deviceCounts.loading,
            formatTime(one.requestedAt),
          ],
          none: 'there are no such rollouts',
        });
        return exitCodes.success;
      }),
    );
  addExamples(list, 'patchbay rollout list --state running', 'patchbay rollout list --module tcp --all --json');
}

function addShowCommand(rollout: Command): void {
  const show = rollout
    .command('show <rollout>')
    .description('Show a rollout with its waves, what is measured of them and by what they are judged.')
    .action((given, _options, command) =>
      runOperatorCommand(command, async (operator) => {
        const path = { rollout: await resolveRolloutId(operator.client, given) };
        const found = unwrapResponse(await operator.client.GET('/v1/rollouts/{rollout}', { params: { path } }));
        printResult(operator, found, () => formatRollout(found));
        return exitCodes.success;
      }),
    );
  addExamples(show, 'patchbay rollout show tcp-1.1', 'patchbay rollout show rol_019365a1c0de7b1e9d2f4c6a8b0d1e2f --json');
}

function addWatchCommand(rollout: Command): void {
  const watch = rollout
    .command('watch <rollout>')
    .description('Watch a rollout until it ends. With --json, one JSON document a line for each change.')
    .addHelpText('after', rolloutExitCodesText)
    .action((given, _options, command) =>
      runOperatorCommand(command, async (operator) =>
        watchRollout(operator, await resolveRolloutId(operator.client, given), { isEachPrinted: operator.isJson }),
      ),
    );
  addExamples(watch, 'patchbay rollout watch tcp-1.1', 'patchbay rollout watch tcp-1.1 --json');
}

function addDevicesCommand(rollout: Command): void {
  const devices = rollout
    .command('devices <rollout>')
    .description('List the devices of a rollout, in the order in which they get the build, with what has become of each.')
    .option('--wave <number>', 'only devices of this wave', (text) => readInteger('wave', text, 1, waveLimit))
    .addOption(new Option('--state <state>', 'only devices in this state').choices(rolloutDeviceStates))
    .addOption(limitOption())
    .addOption(allOption())
    .action((given, { wave, state, ...options }, command) =>
      runOperatorCommand(command, async (operator) => {
        const path = { rollout: await resolveRolloutId(operator.client, given) };
        const filter = { order: 'asc' as const, ...(wave && { wave }), ...(state && { state }) };
        const found = await readPages(options, async (page) =>
          unwrapResponse(await operator.client.GET('/v1/rollouts/{rollout}/devices', { params: { path, query: { ...page, ...filter } } })),
        );
        printList(operator, found, {
          headings: ['WAVE', 'DEVICE', 'STATE', 'VERSION', 'BEFORE', 'OUTCOME', 'TRIES', 'CALLS', 'FAILED CALLS', 'REASON'],
          row: deviceRow,
          none: 'it has no such devices',
        });
        return exitCodes.success;
      }),
    );
  addExamples(devices, 'patchbay rollout devices tcp-1.1 --wave 1', 'patchbay rollout devices tcp-1.1 --state failed --all --json');
}

function deviceRow(device: Schemas['RolloutDevice']): (string | number)[] {
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
    .description('Write what has become of every device of a rollout, as JSON or CSV; final when the rollout has ended.')
    .option('--csv', 'as CSV, a line for each device')
    .option('--output <file>', 'where to write it; it must not be there (standard output)')
    .action((given, { csv = false, output }, command) =>
      runOperatorCommand(command, async (operator) => {
        const { client } = operator;
        const path = { rollout: await resolveRolloutId(client, given) };
        const query = { format: csv ? ('csv' as const) : ('json' as const) };
        const stream = unwrapResponse(await client.GET('/v1/rollouts/{rollout}/report', { params: { path, query }, parseAs: 'stream' }));
        await pipeline(stream, output === undefined ? process.stdout : createOutputFile(output), { end: output !== undefined });
        if (output !== undefined) printResult(operator, { file: output, format: query.format }, () => [`written to ${output}`]);
        return exitCodes.success;
      }),
    );
  addExamples(report, 'patchbay rollout report tcp-1.1 --csv --output tcp-1.1.csv', 'patchbay rollout report tcp-1.1 > tcp-1.1.json');
}
