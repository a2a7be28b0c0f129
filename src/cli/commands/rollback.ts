// `patchbay rollback`: devices go back to a version that they had.

import console from 'node:console';
import type { Command } from '@commander-js/extra-typings';
import { type Client, ResponseError, type Schemas, unwrapResponse } from '../../client/client.ts';
import { exitCodes } from '../exit-codes.ts';
import { addLoadOptions, deadlineOption, resolveSelection, supersedeOption, toLoadRequest } from '../operator/load-options.ts';
import { requestLoads } from '../operator/load-requests.ts';
import { runOperatorCommand } from '../operator/operator.ts';
import { collectValues } from '../option-values.ts';
import { addExamples } from './examples.ts';
import { loadExitCodesText } from './load.ts';

export function addRollbackCommand(rollback: Command): void {
  const complete = addLoadOptions(
    rollback
      .option('--device <device>', 'a device, by name or identifier; may be repeated', collectValues)
      .option('--label <key=value>', 'every device with this label, and with all where it is repeated', collectValues)
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
      runOperatorCommand(command, async (operator) => {
        const { client } = operator;
        const body = {
          module,
          reason,
          ...(await resolveSelection(client, device, label)),
          ...(to && { to }),
          ...(skipOthers && { onMissingVersion: 'skip' as const }),
          ...toLoadRequest(terms),
        };
        try {
          return await requestLoads(operator, module, () => request(client, body), wait);
        } catch (error) {
          if (!(error instanceof ResponseError) || error.problem?.type !== 'urn:patchbay:problem:already-installed') throw error;
          console.error(error.problem.detail);
          return exitCodes.success;
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
  const accepted = unwrapResponse(await client.POST('/v1/rollbacks', { body }));
  const { unchanged, skipped } = accepted;
  if (unchanged.length > 0) console.error(`left alone, for they have the version: ${unchanged.length}`);
  if (skipped.length > 0) console.error(`left alone, for they have no version to go back to: ${skipped.length}`);
  return accepted;
}
