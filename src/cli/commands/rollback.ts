// `patchbay rollback`: rolls devices back to a version that they had before.

import { type Command, Option } from '@commander-js/extra-typings';
import { ResponseError, type Schemas, unwrapResponse } from '../../client/client.ts';
import { exitCodes } from '../exit-codes.ts';
import {
  addLoadOptions,
  deadlineOption,
  resolveSelection,
  selectorOption,
  supersedeOption,
  toLoadRequest,
} from '../operator/load-options.ts';
import { requestLoads } from '../operator/load-requests.ts';
import { type CommandContext, printNote, printResult, runOperatorCommand } from '../operator/operator.ts';
import { formatDeviceCount } from '../operator/rollout-output.ts';
import { collectValues } from '../option-values.ts';
import { addExamples } from './examples.ts';
import { loadExitCodesText } from './load.ts';

export function addRollbackCommand(rollback: Command): void {
  const complete = addLoadOptions(
    rollback
      .option('--device <device>', 'device, by name or identifier; may be repeated', collectValues)
      .option('--label <key=value>', 'every device with this label; repeat it to require several labels', collectValues)
      .addOption(selectorOption())
      .requiredOption('--module <name>', 'the module')
      .option('--to <version>', 'version to roll back to (default: the previous version of each device)')
      .requiredOption('--reason <text>', 'reason, recorded with each load')
      .addOption(
        new Option(
          '--on-missing-version <action>',
          'what to do if some devices have no version to roll back to: reject the request, or skip these devices (default: reject)',
        ).choices(['reject', 'skip']),
      ),
    'warn',
  )
    .addOption(deadlineOption())
    .addOption(supersedeOption())
    .option('--no-wait', 'do not wait for the outcomes')
    .addHelpText('after', loadExitCodesText)
    .action(({ device, label, selector, module, to, reason, onMissingVersion, wait, ...terms }, command) =>
      runOperatorCommand(command, async (context) => {
        const { client } = context;
        const body = {
          module,
          reason,
          ...(await resolveSelection(client, { device, label, selector })),
          ...(to && { to }),
          ...(onMissingVersion && { onMissingVersion }),
          ...toLoadRequest(terms),
        };
        try {
          return await requestLoads(context, module, () => requestRollback(context, body), { isWaiting: wait });
        } catch (error) {
          if (!(error instanceof ResponseError) || error.problem?.type !== 'urn:patchbay:problem:already-installed') throw error;
          const { detail } = error.problem;
          printResult(context, { batch: null, loads: [], detail }, () => [detail]);
          return exitCodes.success;
        }
      }),
    );
  addExamples(
    complete,
    'patchbay rollback --label zone=north --module tcp --reason "1.1.0 drops packets"',
    'patchbay rollback --device rack-1-3 --module tcp --to 1.0.0 --reason "comparing both versions"',
    'patchbay rollback --label zone=north --module tcp --reason "1.1.0 drops packets" --on-missing-version skip --invalidation delete',
  );
}

async function requestRollback(context: CommandContext, body: Schemas['NewRollback']): Promise<Schemas['AcceptedRollback']> {
  const accepted = unwrapResponse(await context.client.POST('/v1/rollbacks', { body }));
  const { unchanged, skipped } = accepted;
  if (unchanged.length > 0) printNote(context, `skipped, because they have the version: ${formatDeviceCount(unchanged.length)}`);
  if (skipped.length > 0) printNote(context, `skipped, because they have no version to roll back to: ${formatDeviceCount(skipped.length)}`);
  return accepted;
}
