// The examples at the end of a command's help.

import type { CommandUnknownOpts } from '@commander-js/extra-typings';

/** Shows command lines, each of one line and complete, at the end of the help. */
export function addExamples(command: CommandUnknownOpts, ...examples: readonly string[]): void {
  command.addHelpText('after', `\nExamples:\n${examples.map((example) => `  ${example}`).join('\n')}`);
}
