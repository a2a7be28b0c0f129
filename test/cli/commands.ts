// The commands of the command line, with their help and examples.

import type { CommandUnknownOpts } from '@commander-js/extra-typings';
import { createWholeProgram } from '../../src/cli/program.ts';

/** Commands that do not connect to a service. */
export const serviceCommands = ['patchbay completion', 'patchbay serve', 'patchbay host', 'patchbay db copy'];

/** Returns the commands with an action, each with its path like `patchbay load list`. */
export function listCommands(command: CommandUnknownOpts, parents: readonly string[] = []): [path: string, CommandUnknownOpts][] {
  const words = [...parents, command.name()];
  const subcommands = command.commands.flatMap((subcommand) => listCommands(subcommand, words));
  return subcommands.length > 0 && command.name() !== 'load' ? subcommands : [[words.join(' '), command], ...subcommands];
}

/** Returns a command of a new tree, because parsing changes a tree. */
export async function createCommand(path: string): Promise<CommandUnknownOpts> {
  const command = new Map(listCommands(await createWholeProgram())).get(path);
  if (command === undefined) throw new Error(`there is no command ${path}`);
  return command;
}

export function readHelp(command: CommandUnknownOpts): string {
  const help: string[] = [];
  command.configureOutput({ writeOut: (text) => void help.push(text) }).outputHelp();
  return help.join('');
}

/** Returns the command lines at the end of a help text. */
export function readExamples(help: string): string[] {
  const [, examples = ''] = help.split('\nExamples:\n');
  return examples
    .trimEnd()
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
}

/** Returns the words of a command line, without the redirection of its output. */
export function splitWords(line: string): string[] {
  return [...line.replace(/ >.*/, '').matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare ?? '');
}
