// `patchbay rollout approve, pause, resume, abort, retry-failed, rollback, close`: what operators decide about a rollout.

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

/** Waves that a rollout may have. */
export const waveLimit = 50;

export function addDecisionCommands(rollout: Command): void {
  const approve = rollout
    .command('approve <rollout>')
    .description('Let a wave begin that waits for approval.')
    .requiredOption('--wave <number>', 'the wave, so that nobody approves another than they have seen', (text) =>
      readInteger('wave', text, 1, waveLimit),
    )
    .action((given, { wave }, command) =>
      runOperatorCommand(command, async (operator) => {
        const params = { path: { rollout: await resolveRolloutId(operator.client, given) } };
        return tell(operator, unwrapResponse(await operator.client.POST('/v1/rollouts/{rollout}/approve', { params, body: { wave } })));
      }),
    );
  addExamples(approve, 'patchbay rollout approve tcp-1.1 --wave 2');

  const pause = rollout
    .command('pause <rollout>')
    .description('Request no more loads and let no wave pass; loads that are under way go on.')
    .option('--reason <text>', 'why')
    .action((given, { reason }, command) =>
      runOperatorCommand(command, async (operator) => {
        const params = { path: { rollout: await resolveRolloutId(operator.client, given) } };
        const body = reason === undefined ? {} : { reason };
        return tell(operator, unwrapResponse(await operator.client.POST('/v1/rollouts/{rollout}/pause', { params, body })));
      }),
    );
  addExamples(pause, 'patchbay rollout pause tcp-1.1 --reason "looking at the logs"');

  const resume = rollout
    .command('resume <rollout>')
    .description('Go on with a paused rollout from where it was. A wave that has failed is not judged any more, and the next follows.')
    .action((given, _options, command) =>
      runOperatorCommand(command, async (operator) => {
        const params = { path: { rollout: await resolveRolloutId(operator.client, given) } };
        return tell(operator, unwrapResponse(await operator.client.POST('/v1/rollouts/{rollout}/resume', { params })));
      }),
    );
  addExamples(resume, 'patchbay rollout resume tcp-1.1');

  const abort = rollout
    .command('abort <rollout>')
    .description('End a rollout: devices that have the build keep it. To have them go back, roll it back instead, or afterwards.')
    .option('--reason <text>', 'why')
    .action((given, { reason }, command) =>
      runOperatorCommand(command, async (operator) => {
        const params = { path: { rollout: await resolveRolloutId(operator.client, given) } };
        const body = reason === undefined ? {} : { reason };
        return tell(operator, unwrapResponse(await operator.client.POST('/v1/rollouts/{rollout}/abort', { params, body })));
      }),
    );
  addExamples(abort, 'patchbay rollout abort tcp-1.1 --reason "1.1.1 follows"');

  const retryFailed = rollout
    .command('retry-failed <rollout>')
    .description('Try the loads again that did not succeed, and judge their waves anew.')
    .action((given, _options, command) =>
      runOperatorCommand(command, async (operator) => {
        const params = { path: { rollout: await resolveRolloutId(operator.client, given) } };
        return tell(operator, unwrapResponse(await operator.client.POST('/v1/rollouts/{rollout}/retry-failed', { params })));
      }),
    );
  addExamples(retryFailed, 'patchbay rollout retry-failed tcp-1.1');

  const rollback = rollout
    .command('rollback <rollout>')
    .description('Have every device that has got the build go back to the version that it had, and watch that until it ends.')
    .requiredOption('--reason <text>', 'why; it is kept with each load')
    .option('--no-wait', 'do not watch it')
    .addHelpText('after', rolloutExitCodesText)
    .action((given, { reason, wait }, command) =>
      runOperatorCommand(command, async (operator) => {
        const params = { path: { rollout: await resolveRolloutId(operator.client, given) } };
        const back = unwrapResponse(await operator.client.POST('/v1/rollouts/{rollout}/rollback', { params, body: { reason } }));
        return wait ? watchRollout(operator, back.id, { known: back }) : tell(operator, back);
      }),
    );
  addExamples(rollback, 'patchbay rollout rollback tcp-1.1 --reason "1.1.0 drops packets"');

  const close = rollout
    .command('close <rollout>')
    .description('Let no more devices join a dynamic rollout: it ends when those that it has are done.')
    .action((given, _options, command) =>
      runOperatorCommand(command, async (operator) => {
        const params = { path: { rollout: await resolveRolloutId(operator.client, given) } };
        return tell(operator, unwrapResponse(await operator.client.POST('/v1/rollouts/{rollout}/close', { params })));
      }),
    );
  addExamples(close, 'patchbay rollout close tcp-1.1');
}

/** Tells how a rollout is now. */
function tell(operator: CommandContext, rollout: Schemas['Rollout']): ExitCode {
  const waiting = describeWait(rollout);
  printResult(operator, rollout, () => [describeRollout(rollout), ...(waiting === null ? [] : [`it waits for ${waiting}`])]);
  return exitCodes.success;
}
