// `patchbay history`: which versions of a module were in the memory of a device, and when.

import type { Command } from '@commander-js/extra-typings';
import { exitCodes } from '../exit-codes.ts';
import { deviceId } from '../operator/device-names.ts';
import { readHistory } from '../operator/module-history.ts';
import { operate } from '../operator/operator.ts';
import { allOption, answerList, limitOption } from '../operator/pages.ts';
import { timeText } from '../terminal/times.ts';
import { addExamples } from './examples.ts';

export function addHistoryCommand(history: Command): void {
  const complete = history
    .argument('<device>', 'the device, by name or identifier')
    .argument('<module>', 'the module')
    .addOption(limitOption())
    .addOption(allOption())
    .action((given, module, options, command) =>
      operate(command, async (operator) => {
        const stays = await readHistory(operator.client, await deviceId(operator.client, given), module, options);
        answerList(operator, stays, {
          headings: ['VERSION', 'ENTERED', 'LEFT', 'LEFT BY', 'INTERRUPTED', 'ADDRESS', 'LOAD'],
          row: (stay) => [
            stay.version,
            timeText(stay.enteredAt),
            stay.leftAt === null ? 'in memory' : timeText(stay.leftAt),
            stay.leftBy ?? '-',
            stay.interrupted ?? '-',
            stay.address,
            stay.load ?? 'put back after a restart',
          ],
          none: `${module} has not been in the memory of ${given}`,
        });
        return exitCodes.done;
      }),
    );
  addExamples(complete, 'patchbay history rack-1-3 tcp', 'patchbay history rack-1-3 tcp --all --json');
}
