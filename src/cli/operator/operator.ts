// Runs operator commands: gives them a client of the service, and reports its errors in the terms of the command line.

import console from 'node:console';
import type { CommandUnknownOpts } from '@commander-js/extra-typings';
import { type Client, createPatchbayClient } from '../../client/client.ts';
import { fetchWithRetries } from '../../client/fetch-with-retries.ts';
import { errorTypes, ReportedError, WaitError } from '../errors.ts';
import { type ExitCode, exitCodes } from '../exit-codes.ts';
import { shutdownSignal } from '../shutdown.ts';
import { disableColours } from '../terminal/colours.ts';
import { readOperatorOptions } from './options.ts';
import { reportServiceError } from './service-errors.ts';
import { readOperatorSettings } from './settings.ts';

export type CommandContext = {
  readonly client: Client;
  /** Whether results are printed as JSON. */
  readonly isJson: boolean;
  /** Aborted when the command must end, for example by Ctrl-C. */
  readonly signal: AbortSignal;
};

/**
 * Runs the action of an operator command, and sets the exit code that the action returns.
 * @throws {UsageError} {CommandError} {ReportedError} if the service does not respond as expected, or the command is interrupted.
 */
export async function runOperatorCommand(
  command: CommandUnknownOpts,
  action: (context: CommandContext) => Promise<ExitCode>,
): Promise<void> {
  const { flags, isJson, mayColour } = readOperatorOptions(command);
  if (!mayColour) disableColours();
  const settings = await readOperatorSettings(flags, process.env);
  const signal = shutdownSignal();
  const client = createPatchbayClient(settings.service, settings.key, (request) => fetchWithRetries(request, signal));
  try {
    process.exitCode = await action({ client, isJson, signal });
  } catch (error) {
    const [cause, hints] = error instanceof WaitError ? [error.cause, [error.hint]] : [error, []];
    if (signal.aborted) throw interrupted(cause, hints);
    throw reportServiceError(cause, { command, settings, hints }) ?? cause;
  }
}

function interrupted(cause: unknown, hints: readonly string[]): ReportedError {
  const report = { type: errorTypes.interrupted, title: 'Interrupted', detail: 'interrupted', hints };
  return new ReportedError(report, exitCodes.interrupted, cause);
}

/** Prints a result to standard output: lines for people, or the value as JSON. */
export function printResult({ isJson }: Pick<CommandContext, 'isJson'>, value: unknown, lines: () => readonly string[]): void {
  console.log(isJson ? JSON.stringify(value, null, 2) : lines().join('\n'));
}

/** Prints a remark for people to standard error. With `--json`, standard error has errors only. */
export function printNote({ isJson }: Pick<CommandContext, 'isJson'>, text: string): void {
  if (!isJson) console.error(text);
}
