// The entry point of the command line: runs one command, prints its error if it fails, and sets the exit code.

import { CommanderError } from '@commander-js/extra-typings';
import { toReportedError, UsageError } from './errors.ts';
import { exitCodes } from './exit-codes.ts';
import { createProgram, findCommand } from './program.ts';
import { printError } from './terminal/error-output.ts';

// The reader of the output may close it early, like `head`.
process.stdout.on('error', (error) => {
  if ('code' in error && error.code === 'EPIPE') process.exit(exitCodes.success);
  throw error;
});

const [first = '--help', ...others] = process.argv.slice(2);
const args = first === 'help' ? [...others, '--help'] : [first, ...others];
const program = await createProgram(args);
try {
  await program.parseAsync(args, { from: 'user' });
} catch (error) {
  const command = findCommand(program, args);
  if (error instanceof CommanderError && error.exitCode === 0) process.exitCode = exitCodes.success;
  else {
    const { report, exitCode } = toReportedError(toUsageError(error, command), command.path);
    printError(report, wantsJson(args));
    process.exitCode = exitCode;
  }
}

/** Returns the command line's own error for an error of the parser. */
function toUsageError(error: unknown, { path, subcommands }: ReturnType<typeof findCommand>): unknown {
  if (!(error instanceof CommanderError)) return error;
  if (error.code === 'commander.help') return new UsageError(`"${path}" requires a subcommand: ${subcommands.join(', ')}`);
  return new UsageError(error.message.replace(/^error: /, '').replaceAll('\n', ' '));
}

/** Returns whether `--json` was given, also on a command line that cannot be parsed. */
function wantsJson(words: readonly string[]): boolean {
  const end = words.indexOf('--');
  return words.slice(0, end === -1 ? undefined : end).includes('--json');
}
