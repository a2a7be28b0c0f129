// Asks people for confirmation before a command does what cannot be undone.

import { createInterface } from 'node:readline/promises';
import { Option } from '@commander-js/extra-typings';
import { CommandError } from '../errors.ts';

export const yesOption = () => new Option('-y, --yes', 'do not ask for confirmation');

/** The terminal, or other streams in tests. */
export type Terminal = {
  readonly input: NodeJS.ReadableStream & { readonly isTTY?: boolean };
  readonly output: NodeJS.WritableStream & { readonly isTTY?: boolean };
};

export const standardTerminal: Terminal = { input: process.stdin, output: process.stderr };

/** Returns whether a person can respond to a question. */
export const isTerminal = ({ input, output }: Terminal): boolean => input.isTTY === true && output.isTTY === true;

/** Asks a question on a terminal. Returns the response without blanks around it, or an empty text if the input ends without one. */
export async function ask(question: string, signal: AbortSignal, { input, output }: Terminal): Promise<string> {
  const lines = createInterface({ input, output });
  try {
    const ended = new Promise<string>((resolve) => lines.once('close', () => resolve('')));
    const response = await Promise.race([lines.question(`${question} `, { signal }), ended]);
    return response.trim();
  } finally {
    lines.close();
  }
}

/**
 * Asks a question on a terminal, and returns if the response is yes. Does not ask without a terminal: a script cannot respond.
 * @throws {CommandError} for any other response.
 */
export async function confirm(question: () => Promise<string>, signal: AbortSignal, terminal = standardTerminal): Promise<void> {
  if (!isTerminal(terminal)) return;
  const response = await ask(`${await question()} [y/N]`, signal, terminal);
  if (!/^y(es)?$/i.test(response)) throw notConfirmed();
}

export const notConfirmed = () => new CommandError('not confirmed: nothing was changed');
