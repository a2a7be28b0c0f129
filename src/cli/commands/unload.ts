// `patchbay unload`: unloads a module from devices and waits for the outcomes.

import type { Command } from '@commander-js/extra-typings';
import { type Schemas, unwrapAccepted, unwrapResponse } from '../../client/client.ts';
import { CommandError, UsageError } from '../errors.ts';
import { exitCodes } from '../exit-codes.ts';
import { yesOption } from '../operator/confirmation.ts';
import {
  addUnloadOptions,
  deadlineOption,
  groupOption,
  resolveSelection,
  selectorOption,
  supersedeOption,
  toLoadRequest,
} from '../operator/load-options.ts';
import { formatRefusals, formatUnreachable, formatWarnings } from '../operator/load-preview.ts';
import { requestLoads } from '../operator/load-requests.ts';
import { formatHeld } from '../operator/maintenance-windows.ts';
import { type CommandContext, printResult, runOperatorCommand } from '../operator/operator.ts';
import { chooseUnreachable, noteUnreachable, unreachableOption } from '../operator/unreachable-choice.ts';
import { collectValues } from '../option-values.ts';
import { formatDeviceCount } from '../terminal/device-count.ts';
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
    .addOption(unreachableOption())
    .option('--dry-run', 'only show the expected outcomes')
    .addOption(yesOption())
    .option('--no-wait', 'do not wait for the outcomes')
    .addHelpText('after', loadExitCodesText)
    .action((module, { device, label, selector, group, force, reason, wait, dryRun, unreachable: given, yes, ...terms }, command) =>
      runOperatorCommand(command, async (context) => {
        if ((force === true) !== (reason !== undefined)) throw new UsageError('--force and --reason require each other');
        const body = {
          module,
          ...(await resolveSelection(context.client, { device, label, selector, group })),
          ...(reason && { forceReason: reason }),
          ...toLoadRequest(terms),
        };
        if (dryRun) {
          const preview = await readPreview(context, { ...body, ...(given && { unreachable: given }) });
          printResult(context, preview, () => formatPreview(module, preview));
          return preview.refused > 0 ? exitCodes.loadsRefused : exitCodes.success;
        }
        const unreachable = await chooseUnreachable(
          context,
          { unreachable: given, yes },
          async () => (await readPreview(context, body)).items,
        );
        const request = async () => {
          const accepted = unwrapAccepted(
            await context.client.POST('/v1/unloads', { body: { ...body, ...(unreachable && { unreachable }) } }),
          );
          noteUnreachable(context, accepted.unreachableDevices, unreachable);
          return accepted;
        };
        return requestLoads(context, module, request, { isWaiting: wait, action: 'unload' });
      }),
    );
  addExamples(
    complete,
    'patchbay unload tcp --device rack-1-3',
    'patchbay unload tcp --label zone=north --dry-run',
    'patchbay unload tcp --label zone=north --unreachable skip',
    'patchbay unload tcp --label zone=north --strategy drain-then-inject --drain-milliseconds 5000 --invalidation delete',
    'patchbay unload tcp --selector "zone notin (north,south)"',
    'patchbay unload tcp --device rack-1-3 --force --reason "udp is unloaded next"',
  );
}

type Preview = Schemas['UnloadPreview'];

async function readPreview({ client }: CommandContext, body: Schemas['NewUnloads']): Promise<Preview> {
  const preview = unwrapResponse(await client.POST('/v1/unloads', { body: { ...body, dryRun: true } }));
  if (!('items' in preview)) throw new CommandError('the service created loads instead of a preview');
  return preview;
}

function formatPreview(module: string, preview: Preview): string[] {
  const { devices, withoutModule, skipped, refused, held, items } = preview;
  const unloaded = items.filter((item) => !item.skipped);
  return [
    `${module} would be unloaded from ${formatDeviceCount(devices - skipped)}`,
    ...(withoutModule === 0 ? [] : [`do not have it: ${withoutModule}`]),
    ...formatUnreachable(preview),
    ...formatHeld(held, unloaded),
    ...(refused === 0 ? [] : [`would refuse it: ${refused}`]),
    ...formatRefusals(unloaded),
    ...formatWarnings(unloaded),
  ];
}
