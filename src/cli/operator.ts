// What every operator's command is given: the service's client, and how to answer people or machines.

import console from 'node:console';
import { type CommandUnknownOpts, Option } from '@commander-js/extra-typings';
import { type Client, createPatchbayClient } from './client.ts';
import { type ExitCode, exitCodes } from './exit-codes.ts';
import { defaultKeyFile, defaultService, operatorVariables, readOperatorSettings } from './operator-settings.ts';
import { repeatingFetch } from './repeating-fetch.ts';
import { untilStopped } from './stopping.ts';
import { forbidColours } from './terminal/colours.ts';
import { explain } from './terminal/failure.ts';

export type Operator = {
  readonly client: Client;
  /** Whether answers are for machines, in JSON. */
  readonly isJson: boolean;
  /** Aborted when the command is to end, by Ctrl-C. */
  readonly stopped: AbortSignal;
};

/** Adds the options that every operator's command has. */
export function addOperatorOptions(command: CommandUnknownOpts): void {
  const options = [
    new Option('--service <url>', `the service (${operatorVariables.service}, ${defaultService})`),
    new Option('--key-file <file>', `file with the key to show it (${operatorVariables['key-file']}, ${defaultKeyFile} if it is there)`),
    new Option('--key <key>', `the key itself; others on this machine can see it here, so prefer a file or ${operatorVariables.key}`),
    new Option('--config <file>', 'JSON file with any of "service", "key-file", "key" (PATCHBAY_CONFIG, ~/.config/patchbay/config.json)'),
    new Option('--json', 'answer in JSON, for machines'),
    new Option('--no-color', 'no colours (NO_COLOR=1); there are none either where the output is no terminal'),
  ];
  for (const option of options)
    command.addOption(option.helpGroup('Options of every command; flags count before the environment, and that before the file:'));
}

/**
 * Does an operator's work with the settings of its command, and sets the exit code: what the work answers, or `failed` where the service does
 * not answer as it should, which is explained. @throws {UsageError} {StartError}
 */
export async function operate(command: CommandUnknownOpts, work: (operator: Operator) => Promise<ExitCode>): Promise<void> {
  const given = optionsOf(command);
  const text = (name: string) => (typeof given[name] === 'string' ? { [name]: given[name] } : {});
  if (given['color'] === false) forbidColours();
  const flags = {
    ...text('service'),
    ...text('key'),
    ...text('config'),
    ...('keyFile' in given ? { 'key-file': String(given['keyFile']) } : {}),
  };
  const settings = await readOperatorSettings(flags, process.env);
  const stopped = untilStopped();
  const client = createPatchbayClient(settings.service, {
    fetch: (request) => repeatingFetch(request, stopped),
    ...(settings.key === null ? {} : { headers: { authorization: `Bearer ${settings.key}` } }),
  });
  try {
    process.exitCode = await work({ client, isJson: given['json'] === true, stopped });
  } catch (error) {
    if (stopped.aborted) process.exitCode = exitCodes.interrupted;
    else if (explain(error, settings)) process.exitCode = exitCodes.failed;
    else throw error;
  }
}

/** Prints what a machine or a person asked for. */
export function answer({ isJson }: Operator, value: unknown, lines: () => readonly string[]): void {
  console.log(isJson ? JSON.stringify(value, null, 2) : lines().join('\n'));
}

/** The options given to a command or before it: what is nearer to its end counts. */
function optionsOf(command: CommandUnknownOpts): Record<string, unknown> {
  return { ...(command.parent === null ? {} : optionsOf(command.parent)), ...command.opts() };
}
