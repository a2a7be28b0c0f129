// `patchbay rollout approve, pause, resume, abort, retry-failed, rollback, close`: controls rollouts.

import type { Command } from '@commander-js/extra-typings';
import { type Schemas, unwrapResponse } from '../../client/client.ts';
import { type ExitCode, exitCodes } from '../exit-codes.ts';
import { type CommandContext, printResult, runOperatorCommand } from '../operator/operator.ts';
import { resolveRolloutId } from '../operator/rollout-names.ts';
import { describeRollout, describeWait } from '../operator/rollout-output.ts';
import { watchRollout } from '../operator/rollout-progress.ts';
import { readInteger } from '../option-values.ts';
import { addExamples } from './examples.ts';
import { rolloutExitCodesText } from './rollout-create.ts';

/** Maximum number of waves per rollout. */
export const waveLimit = 50;

export function addControlCommands(rollout: Command): void {
  const approve = rollout
    .command('approve <rollout>')
    .description('Approve a wave that waits for approval.')
    .requiredOption('--wave <number>', 'number of the wave; the request fails if another wave waits', (text) =>
      readInteger('wave', text, 1, waveLimit),
    )
    .action((nameOrId, { wave }, command) =>
      runOperatorCommand(command, async (context) => {
        const params = { path: { rollout: await resolveRolloutId(context.client, nameOrId) } };
        return printRollout(
          context,
          unwrapResponse(await context.client.POST('/v1/rollouts/{rollout}/approve', { params, body: { wave } })),
        );
      }),
    );
  addExamples(approve, 'patchbay rollout approve tcp-1.1 --wave 2');

  const pause = rollout
    .command('pause <rollout>')
    .description('Pause a rollout: no more loads are requested, and no wave passes. Loads in progress continue.')
    .option('--reason <text>', 'reason')
    .action((nameOrId, { reason }, command) =>
      runOperatorCommand(command, async (context) => {
        const params = { path: { rollout: await resolveRolloutId(context.client, nameOrId) } };
        const body = reason === undefined ? {} : { reason };
        return printRollout(context, unwrapResponse(await context.client.POST('/v1/rollouts/{rollout}/pause', { params, body })));
      }),
    );
  addExamples(pause, 'patchbay rollout pause tcp-1.1 --reason "looking at the logs"');

  const resume = rollout
    .command('resume <rollout>')
    .description('Resume a paused rollout. The failure of a failed wave is ignored, and the next wave follows.')
    .action((nameOrId, _options, command) =>
      runOperatorCommand(command, async (context) => {
        const params = { path: { rollout: await resolveRolloutId(context.client, nameOrId) } };
        return printRollout(context, unwrapResponse(await context.client.POST('/v1/rollouts/{rollout}/resume', { params })));
      }),
    );
  addExamples(resume, 'patchbay rollout resume tcp-1.1');

  const abort = rollout
    .command('abort <rollout>')
    .description('End a rollout. Devices that have the build keep it; to roll them back, use "rollout rollback" instead or afterwards.')
    .option('--reason <text>', 'reason')
    .action((nameOrId, { reason }, command) =>
      runOperatorCommand(command, async (context) => {
        const params = { path: { rollout: await resolveRolloutId(context.client, nameOrId) } };
        const body = reason === undefined ? {} : { reason };
        return printRollout(context, unwrapResponse(await context.client.POST('/v1/rollouts/{rollout}/abort', { params, body })));
      }),
    );
  addExamples(abort, 'patchbay rollout abort tcp-1.1 --reason "1.1.1 follows"');

  const retryFailed = rollout
    .command('retry-failed <rollout>')
    .description('Retry unsuccessful loads, and evaluate their waves again.')
    .action((nameOrId, _options, command) =>
      runOperatorCommand(command, async (context) => {
        const params = { path: { rollout: await resolveRolloutId(context.client, nameOrId) } };
        return printRollout(context, unwrapResponse(await context.client.POST('/v1/rollouts/{rollout}/retry-failed', { params })));
      }),
    );
  addExamples(retryFailed, 'patchbay rollout retry-failed tcp-1.1');

  const rollback = rollout
    .command('rollback <rollout>')
    .description('Roll every device that received the build back to its previous version, and watch the rollback until it ends.')
    .requiredOption('--reason <text>', 'reason, recorded with each load')
    .option('--no-wait', 'do not watch the rollback')
    .addHelpText('after', rolloutExitCodesText)
    .action((nameOrId, { reason, wait }, command) =>
      runOperatorCommand(command, async (context) => {
        const params = { path: { rollout: await resolveRolloutId(context.client, nameOrId) } };
        const created = unwrapResponse(await context.client.POST('/v1/rollouts/{rollout}/rollback', { params, body: { reason } }));
        return wait ? watchRollout(context, created.id, { known: created }) : printRollout(context, created);
      }),
    );
  addExamples(rollback, 'patchbay rollout rollback tcp-1.1 --reason "1.1.0 drops packets"');

  const close = rollout
    .command('close <rollout>')
    .description('Close a dynamic rollout: no more devices join, and it ends when its devices are done.')
    .action((nameOrId, _options, command) =>
      runOperatorCommand(command, async (context) => {
        const params = { path: { rollout: await resolveRolloutId(context.client, nameOrId) } };
        return printRollout(context, unwrapResponse(await context.client.POST('/v1/rollouts/{rollout}/close', { params })));
      }),
    );
  addExamples(close, 'patchbay rollout close tcp-1.1');
}

/** Prints the current state of a rollout. */
function printRollout(context: CommandContext, rollout: Schemas['Rollout']): ExitCode {
  const wait = describeWait(rollout);
  printResult(context, rollout, () => [describeRollout(rollout), ...(wait === null ? [] : [`waiting for ${wait}`])]);
  return exitCodes.success;
}
