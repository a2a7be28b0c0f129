// The command line: runs one command, and tells by the exit code what came of it.

import console from 'node:console';
import { CommanderError } from '@commander-js/extra-typings';
import { exitCodes } from './exit-codes.ts';
import { CommandError, UsageError } from './option-values.ts';
import { createProgram } from './program.ts';

// Who reads the output may have seen enough, like `head`.
process.stdout.on('error', (error) => {
  if ('code' in error && error.code === 'EPIPE') process.exit(exitCodes.success);
  throw error;
});

const [first = '--help', ...others] = process.argv.slice(2);
const args = first === 'help' ? [...others, '--help'] : [first, ...others];
try {
  const program = await createProgram(args);
  await program.parseAsync(args, { from: 'user' });
} catch (error) {
  process.exitCode = report(error);
}

/** Says what went wrong and answers the exit code. */
function report(error: unknown): number {
  // It has said so already: that the command line is wrong, or the help that was asked for.
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.success : exitCodes.usageError;
  const isUsage = error instanceof UsageError;
  if (isUsage) console.error(`${error.message}\nSee --help.`);
  else console.error(error instanceof CommandError ? error.message : error);
  return isUsage ? exitCodes.usageError : exitCodes.failed;
}
