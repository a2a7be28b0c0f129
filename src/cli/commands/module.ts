// `patchbay module`: shows which modules of a device depend on which.

import { type Command, Option } from '@commander-js/extra-typings';
import { unwrapResponse } from '../../client/client.ts';
import { exitCodes } from '../exit-codes.ts';
import { resolveDeviceId } from '../operator/device-names.ts';
import { formatModuleDot, formatModuleTree } from '../operator/module-tree.ts';
import { printResult, runOperatorCommand } from '../operator/operator.ts';
import { addExamples } from './examples.ts';

export function addModuleCommands(module: Command): void {
  const graph = module
    .command('graph <device>')
    .description('Show what the modules of a device import, the declared ranges of versions, and unresolved links.')
    .addOption(new Option('--format <format>', 'text tree, or the DOT language of Graphviz').choices(['tree', 'dot']).default('tree'))
    .action((nameOrId, { format }, command) =>
      runOperatorCommand(command, async (context) => {
        const path = { device: await resolveDeviceId(context.client, nameOrId) };
        const found = unwrapResponse(await context.client.GET('/v1/devices/{device}/module-graph', { params: { path } }));
        printResult(context, found, () => (format === 'dot' ? formatModuleDot(found) : formatModuleTree(found)));
        return exitCodes.success;
      }),
    );
  addExamples(
    graph,
    'patchbay module graph rack-1-3',
    'patchbay module graph rack-1-3 --json',
    'patchbay module graph rack-1-3 --format dot > modules.dot',
  );
}
