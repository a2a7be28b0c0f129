import type { CommandUnknownOpts } from '@commander-js/extra-typings';

/** Adds complete command lines, each on one line, to the end of the help. */
export function addExamples(command: CommandUnknownOpts, ...examples: readonly string[]): void {
  command.addHelpText('after', `\nExamples:\n${examples.map((example) => `  ${example}`).join('\n')}`);
}
