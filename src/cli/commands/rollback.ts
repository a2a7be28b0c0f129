// `patchbay rollback`: devices go back to a version that they had.

import console from 'node:console';
import type { Command } from '@commander-js/extra-typings';
import { AnswerError, answerOf, type Client, type Schemas } from '../../client/client.ts';
import { collect } from '../command-line.ts';
import { exitCodes } from '../exit-codes.ts';
import { addTermOptions, deadlineOption, selectionOf, supersedeOption, termsOf } from '../operator/load-terms.ts';
import { carryOut } from '../operator/loading.ts';
import { operate } from '../operator/operator.ts';
import { addExamples } from './examples.ts';
import { loadExitCodesText } from './load.ts';

export function addRollbackCommand(rollback: Command): void {
  const complete = addTermOptions(
    rollback
      .option('--device <device>', 'a device, by name or identifier; may be repeated', collect)
      .option('--label <key=value>', 'every device with this label, and with all where it is repeated', collect)
      .requiredOption('--module <name>', 'the module')
      .option('--to <version>', 'a version that each device has had (the one before what is there now)')
      .requiredOption('--reason <text>', 'why; it is kept with each load')
      .option('--skip-others', 'leave devices alone that have no version to go back to'),
    'warn',
  )
    .addOption(deadlineOption())
    .addOption(supersedeOption())
    .option('--no-wait', 'do not wait for the outcomes')
    .addHelpText('after', loadExitCodesText)
    .action(({ device, label, module, to, reason, skipOthers, wait, ...terms }, command) =>
      operate(command, async (operator) => {
        const { client } = operator;
        const body = {
          module,
          reason,
          ...(await selectionOf(client, device, label)),
          ...(to && { to }),
          ...(skipOthers && { onMissingVersion: 'skip' as const }),
          ...termsOf(terms),
        };
        try {
          return await carryOut(operator, module, () => request(client, body), wait);
        } catch (error) {
          if (!(error instanceof AnswerError) || error.problem?.type !== 'urn:patchbay:problem:already-installed') throw error;
          console.error(error.problem.detail);
          return exitCodes.done;
        }
      }),
    );
  addExamples(
    complete,
    'patchbay rollback --label zone=north --module tcp --reason "1.1.0 drops packets"',
    'patchbay rollback --device rack-1-3 --module tcp --to 1.0.0 --reason "comparing both versions"',
    'patchbay rollback --label zone=north --module tcp --reason "1.1.0 drops packets" --skip-others --invalidation delete',
  );
}

async function request(client: Client, body: Schemas['NewRollback']): Promise<Schemas['AcceptedRollback']> {
  const accepted = answerOf(await client.POST('/v1/rollbacks', { body }));
  const { unchanged, skipped } = accepted;
  if (unchanged.length > 0) console.error(`left alone, for they have the version: ${unchanged.length}`);
  if (skipped.length > 0) console.error(`left alone, for they have no version to go back to: ${skipped.length}`);
  return accepted;
}
