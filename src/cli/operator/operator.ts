// What every operator's command is given: the service's client, and how to answer people or machines.

import console from 'node:console';
import type { CommandUnknownOpts } from '@commander-js/extra-typings';
import { type Client, createPatchbayClient } from '../../client/client.ts';
import { fetchWithRetries } from '../../client/fetch-with-retries.ts';
import { type ExitCode, exitCodes } from '../exit-codes.ts';
import { shutdownSignal } from '../shutdown.ts';
import { disableColours } from '../terminal/colours.ts';
import { explain } from '../terminal/failure.ts';
import { readOperatorOptions } from './options.ts';
import { readOperatorSettings } from './settings.ts';

export type CommandContext = {
  readonly client: Client;
  /** Whether answers are for machines, in JSON. */
  readonly isJson: boolean;
  /** Aborted when the command is to end, by Ctrl-C. */
  readonly signal: AbortSignal;
};

/**
 * Does an operator's work with the settings of its command, and sets the exit code: what the work answers, or `failed` where the service does
 * not answer as it should, which is explained. @throws {UsageError} {StartError}
 */
export async function runOperatorCommand(
  command: CommandUnknownOpts,
  work: (operator: CommandContext) => Promise<ExitCode>,
): Promise<void> {
  const { flags, isJson, mayColour } = readOperatorOptions(command);
  if (!mayColour) disableColours();
  const settings = await readOperatorSettings(flags, process.env);
  const stopped = shutdownSignal();
  const client = createPatchbayClient(settings.service, settings.key, (request) => fetchWithRetries(request, stopped));
  try {
    process.exitCode = await work({ client, isJson, signal: stopped });
  } catch (error) {
    if (stopped.aborted) process.exitCode = exitCodes.interrupted;
    else if (explain(error, settings)) process.exitCode = exitCodes.failed;
    else throw error;
  }
}

/** Prints what a machine or a person asked for. */
export function printResult({ isJson }: Pick<CommandContext, 'isJson'>, value: unknown, lines: () => readonly string[]): void {
  console.log(isJson ? JSON.stringify(value, null, 2) : lines().join('\n'));
}
