// Colours for output to a terminal, unless they are disabled.

import { styleText } from 'node:util';
import type { Schemas } from '../../client/client.ts';
import { outcomeCategories } from '../../client/enum-values.ts';

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

const categoryFormats = { loaded: 'green', refused: 'yellow', failed: 'red' } as const;

/** Returns an outcome in the colour of its category. */
export function colourOutcome(outcome: Schemas['LoadOutcome'], stream: NodeJS.WriteStream = process.stdout): string {
  return colour(categoryFormats[outcomeCategories[outcome]], outcome, stream);
}
