// Colours for output to a terminal, unless they are disabled. Every command loads this file: it must not need generated files.

import { styleText } from 'node:util';

type Format = Parameters<typeof styleText>[0];

/** Returns the text in a colour if the stream is a terminal; otherwise unchanged. */
export function colour(format: Format, text: string, stream: NodeJS.WriteStream = process.stdout): string {
  return styleText(format, text, { stream });
}

/** Disables colours for the rest of the process: `--no-color` overrides the environment. */
export function disableColours(): void {
  delete process.env['FORCE_COLOR'];
  process.env['NO_COLOR'] = '1';
}
