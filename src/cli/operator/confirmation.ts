// Asks people for confirmation before a command does what cannot be undone.

import { createInterface } from 'node:readline/promises';
import { Option } from '@commander-js/extra-typings';
import { CommandError } from '../errors.ts';

export const yesOption = () => new Option('-y, --yes', 'do not ask for confirmation');

/** The terminal, or other streams in tests. */
type Terminal = {
  readonly input: NodeJS.ReadableStream & { readonly isTTY?: boolean };
  readonly output: NodeJS.WritableStream & { readonly isTTY?: boolean };
};

/**
 * Asks a question on a terminal, and returns if the response is yes. Does not ask without a terminal: a script cannot respond.
 * @throws {CommandError} for any other response.
 */
export async function confirm(
  question: () => Promise<string>,
  signal: AbortSignal,
  terminal: Terminal = { input: process.stdin, output: process.stderr },
): Promise<void> {
  const { input, output } = terminal;
  if (input.isTTY !== true || output.isTTY !== true) return;
  const text = await question();
  const lines = createInterface({ input, output });
  try {
    // The end of the input is no response.
    const ended = new Promise<string>((resolve) => lines.once('close', () => resolve('')));
    const response = await Promise.race([lines.question(`${text} [y/N] `, { signal }), ended]);
    if (!/^y(es)?$/i.test(response.trim())) throw new CommandError('not confirmed: nothing was changed');
  } finally {
    lines.close();
  }
}
