// `patchbay history`: lists the module versions that were installed on a device, when, and why they were removed.

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
    .argument('[module]', 'the module (default: all modules)')
    .option('--at <time>', 'only versions installed at this time, like 2026-11-24T09:30:00Z', (text) => readTime('at', text))
    .addOption(limitOption())
    .addOption(allOption())
    .action((nameOrId, module, { at, ...options }, command) =>
      runOperatorCommand(command, async (context) => {
        const { client } = context;
        const device = await resolveDeviceId(client, nameOrId);
        const entries =
          at === undefined
            ? await readHistory(client, device, module, options)
            : await readModulesAt(client, device, module, at, module === undefined ? options : allItems);
        printList(context, entries, {
          headings: [
            'MODULE',
            'VERSION',
            'INSTALLED',
            'REMOVED',
            'REMOVAL CAUSE',
            'INTERRUPTED',
            'INVALIDATION',
            'ADDRESSES',
            'REQUESTER',
            'LOAD',
          ],
          row: (entry) => [
            entry.module,
            entry.version,
            formatTime(entry.installedAt),
            entry.removedAt === null ? 'installed' : formatTime(entry.removedAt),
            entry.removalCause ?? '-',
            entry.interrupted ?? '-',
            entry.invalidation ?? '-',
            `${entry.address}-${entry.lastAddress}`,
            entry.requestedBy ?? '-',
            entry.load ?? (entry.source === 'observed' ? 'observed, no known load' : 'restored after a restart'),
          ],
          empty: `no ${module === undefined ? 'module' : `version of ${module}`} ${at === undefined ? 'was ever' : 'was'} installed on ${nameOrId}${at === undefined ? '' : ' at that time'}`,
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
