// `patchbay unload`: unloads a module from devices and waits for the outcomes.

import type { Command } from '@commander-js/extra-typings';
import { unwrapResponse } from '../../client/client.ts';
import { UsageError } from '../errors.ts';
import {
  addUnloadOptions,
  deadlineOption,
  groupOption,
  resolveSelection,
  selectorOption,
  supersedeOption,
  toLoadRequest,
} from '../operator/load-options.ts';
import { requestLoads } from '../operator/load-requests.ts';
import { runOperatorCommand } from '../operator/operator.ts';
import { collectValues } from '../option-values.ts';
import { addExamples } from './examples.ts';
import { loadExitCodesText } from './load.ts';

export function addUnloadCommand(unload: Command): void {
  const complete = addUnloadOptions(
    unload
      .argument('<module>', 'the module')
      .option('--device <device>', 'device, by name or identifier; may be repeated', collectValues)
      .option('--label <key=value>', 'every device with this label that has the module; repeat it to require several labels', collectValues)
      .addOption(selectorOption('every device with the module'))
      .addOption(groupOption('every device with the module')),
  )
    .option('--force', 'unload the module although modules in memory import it; requires --reason')
    .option('--reason <text>', 'reason for --force, recorded with each load')
    .addOption(deadlineOption())
    .addOption(supersedeOption())
    .option('--no-wait', 'do not wait for the outcomes')
    .addHelpText('after', loadExitCodesText)
    .action((module, { device, label, selector, group, force, reason, wait, ...terms }, command) =>
      runOperatorCommand(command, async (context) => {
        if ((force === true) !== (reason !== undefined)) throw new UsageError('--force and --reason require each other');
        const body = {
          module,
          ...(await resolveSelection(context.client, { device, label, selector, group })),
          ...(reason && { forceReason: reason }),
          ...toLoadRequest(terms),
        };
        const request = async () => unwrapResponse(await context.client.POST('/v1/unloads', { body }));
        return requestLoads(context, module, request, { isWaiting: wait, action: 'unload' });
      }),
    );
  addExamples(
    complete,
    'patchbay unload tcp --device rack-1-3',
    'patchbay unload tcp --label zone=north --strategy drain-then-inject --drain-milliseconds 5000 --invalidation delete',
    'patchbay unload tcp --selector "zone notin (north,south)"',
    'patchbay unload tcp --device rack-1-3 --force --reason "udp is unloaded next"',
  );
}
