// `patchbay history`: which versions were in the module table of a device, when, and how they came and left.

import type { Command } from '@commander-js/extra-typings';
import { exitCodes } from '../exit-codes.ts';
import { resolveDeviceId } from '../operator/device-names.ts';
import { readHistory, readModulesAt } from '../operator/module-history.ts';
import { runOperatorCommand } from '../operator/operator.ts';
import { allItems, allOption, limitOption, printList } from '../operator/pages.ts';
import { readTime } from '../option-values.ts';
import { formatTime } from '../terminal/times.ts';
import { addExamples } from './examples.ts';

export function addHistoryCommand(history: Command): void {
  const complete = history
    .argument('<device>', 'the device, by name or identifier')
    .argument('[module]', 'the module (all)')
    .option('--at <time>', 'only what was there at that time, like 2026-11-24T09:30:00Z', (text) => readTime('at', text))
    .addOption(limitOption())
    .addOption(allOption())
    .action((given, module, { at, ...options }, command) =>
      runOperatorCommand(command, async (operator) => {
        const { client } = operator;
        const device = await resolveDeviceId(client, given);
        const stays =
          at === undefined
            ? await readHistory(client, device, module, options)
            : await readModulesAt(client, device, module, at, module === undefined ? options : allItems);
        printList(operator, stays, {
          headings: ['MODULE', 'VERSION', 'ENTERED', 'LEFT', 'LEFT BY', 'INTERRUPTED', 'INVALIDATED', 'ADDRESSES', 'BY', 'LOAD'],
          row: (stay) => [
            stay.module,
            stay.version,
            formatTime(stay.installedAt),
            stay.removedAt === null ? 'in memory' : formatTime(stay.removedAt),
            stay.removalCause ?? '-',
            stay.interrupted ?? '-',
            stay.invalidation ?? '-',
            `${stay.address}-${stay.lastAddress}`,
            stay.requestedBy ?? '-',
            stay.load ?? (stay.source === 'observed' ? 'observed, no load known' : 'put back after a restart'),
          ],
          none: `${given} ${at === undefined ? 'has had' : 'had'} ${module === undefined ? 'no module' : `no version of ${module}`} in memory`,
        });
        return exitCodes.success;
      }),
    );
  addExamples(
    complete,
    'patchbay history rack-1-3 tcp',
    'patchbay history rack-1-3 --all --json',
    'patchbay history rack-1-3 --at 2026-11-24T09:30:00Z',
  );
}
